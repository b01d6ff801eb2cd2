"""Bounds on a request's content: messages, prompts, and the tokens of all its samples together."""

from typing import Any, cast

from stillery.serving.gateway.field_checks import are_token_ids, invalid
from stillery.serving.gateway.settings import ParameterBounds


def check_messages(messages: Any, bounds: ParameterBounds) -> None:
    if not isinstance(messages, list) or not messages:
        raise invalid("messages", "must be a list of at least one message")
    if len(cast(list[Any], messages)) > bounds.max_messages:
        raise invalid("messages", f"must be at most {bounds.max_messages} messages")
    for index, message in enumerate(cast(list[Any], messages)):
        if not isinstance(message, dict):
            raise invalid(f"messages[{index}]", "must be an object with role and content")
        role = cast(dict[str, Any], message).get("role")
        if not isinstance(role, str) or len(role) > 64:
            raise invalid(f"messages[{index}].role", "must be a role, such as user")
        content: Any = cast(dict[str, Any], message).get("content")
        if not (content is None or isinstance(content, str | list)):
            raise invalid(f"messages[{index}].content", "must be text or a list of parts")
        if isinstance(content, list) and not all(_is_part(part, bounds) for part in cast(list[Any], content)):
            raise invalid(f"messages[{index}].content", "must consist of parts of type text")


def _is_part(part: Any, bounds: ParameterBounds) -> bool:
    if isinstance(part, str):
        return True
    if not isinstance(part, dict):
        return False
    if not bounds.text_only:
        return True
    inner = cast(dict[str, Any], part)
    return inner.get("type") == "text" and isinstance(inner.get("text"), str) and set(inner) <= {"type", "text"}


def check_prompt(prompt: Any, bounds: ParameterBounds) -> None:
    prompts = _prompts(prompt)
    if not prompts:
        raise invalid("prompt", "must be text, a list of texts, token ids, or a list of lists of token ids")
    if len(prompts) > bounds.max_prompts:
        raise invalid("prompt", f"must be at most {bounds.max_prompts} prompts")
    for item in prompts:
        if isinstance(item, str):
            continue
        if not isinstance(item, list) or not item or not are_token_ids(cast(list[Any], item)):
            raise invalid("prompt", "must be text, a list of texts, token ids, or a list of lists of token ids")
        if len(cast(list[Any], item)) > bounds.max_prompt_token_ids:
            raise invalid("prompt", f"must be at most {bounds.max_prompt_token_ids} token ids")


def _prompts(prompt: Any) -> list[Any]:
    if isinstance(prompt, str):
        return [prompt]
    if not isinstance(prompt, list):
        return []
    items = cast(list[Any], prompt)
    return [items] if items and isinstance(items[0], int) else items


def check_total(given: dict[str, Any], bounds: ParameterBounds) -> None:
    samples = max(given.get("n", 1), given.get("best_of", 1)) * max(1, len(_prompts(given.get("prompt", ""))))
    field = "max_completion_tokens" if "max_completion_tokens" in given else "max_tokens"
    stated = [given[name] for name in ("max_tokens", "max_completion_tokens") if name in given]
    if not stated and "messages" in given and samples * bounds.max_tokens > bounds.max_total_tokens:
        # vLLM then lets a chat run until its context is full.
        most = bounds.max_total_tokens
        raise invalid("max_tokens", f"must be given with {samples} samples, which may have {most} tokens together")
    tokens = max(stated, default=1)
    if samples * tokens > bounds.max_total_tokens:
        raise invalid(field, f"times the {samples} samples asked for is above {bounds.max_total_tokens}")
