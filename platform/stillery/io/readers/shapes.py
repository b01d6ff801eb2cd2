"""Common row formats, converted to columns under our names. Pure functions, one per format.

A format's columns are used only where a row has no column of that name and the config maps none to it. A conversation
(OpenAI's `messages`, ShareGPT's `conversations`) is accepted wherever a question or a completion is expected.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, cast

from stillery.io.readers.json_rows import decode

_ASKING = ("user", "human", "prompter")
_ANSWERING = ("assistant", "gpt", "model", "bot", "chatgpt")
_INSTRUCTING = ("system", "developer")

# OpenThoughts ends thinking and solution with its own markers.
_THOUGHT = re.compile(r"<\|begin_of_thought\|>(.*?)(?:<\|end_of_thought\|>|\Z)", re.DOTALL)
_SOLUTION = re.compile(r"<\|begin_of_solution\|>(.*?)(?:<\|end_of_solution\|>|\Z)", re.DOTALL)
_MARKER = re.compile(r"<\|(?:begin|end)_of_(?:thought|solution)\|>")


@dataclass(frozen=True, slots=True)
class Turns:
    """A conversation of one question and at most one answer. `thinking` is the answer's reasoning_content."""

    question: str
    completion: Any = None
    thinking: Any = None
    system: Any = None


def conversation_of(cell: Any) -> list[Mapping[str, Any]] | None:
    """The turns of a cell that is a list of them, each with its role and its text, or JSON of such a list."""
    if isinstance(cell, str) and cell.lstrip().startswith("[{"):
        try:
            cell = decode(cell)
        except (ValueError, RecursionError):
            return None
    if not isinstance(cell, list) or not cell:
        return None
    turns = cast(list[Any], cell)
    return turns if all(isinstance(turn, Mapping) and _role(turn) is not None for turn in turns) else None


def read_turns(cell: Sequence[Mapping[str, Any]]) -> Turns:
    """The parts of a conversation. Raises ValueError, with the reason, for one that is not a question and its
    answer."""
    system: list[str] = []
    asked: list[Any] = []
    answers: list[Mapping[str, Any]] = []
    for turn in cell:
        role = str(_role(turn)).lower()
        if role in _INSTRUCTING and not asked:
            system.append(str(_content(turn)))
        elif role in _ASKING and not answers:
            asked.append(_content(turn))
        elif role in _ANSWERING and asked:
            answers.append(turn)
        elif role in _ASKING:
            raise ValueError("the conversation has several questions; keep the first with its answer")
        else:
            raise ValueError(f"the conversation has a turn of {role[:20]!r}; keep one of user and one of assistant")
    if len(asked) != 1 or len(answers) > 1:
        raise ValueError(f"the conversation has {len(asked)} questions and {len(answers)} answers; keep one of each")
    if not isinstance(asked[0], str):
        raise ValueError("the question of the conversation is not text")
    told = "\n".join(system) or None
    if not answers:
        return Turns(asked[0], system=told)
    thinking = answers[0].get("reasoning_content") or answers[0].get("reasoning")
    return Turns(asked[0], _content(answers[0]), thinking, told)


def _role(turn: Mapping[str, Any]) -> Any:
    has_content = "content" in turn or "value" in turn
    return turn.get("role", turn.get("from")) if has_content else None


def _content(turn: Mapping[str, Any]) -> Any:
    """The text of a turn; for one in parts, as in the OpenAI API, the parts' texts."""
    content = turn["content"] if "content" in turn else turn.get("value")
    if isinstance(content, list):
        parts = cast(list[Any], content)
        if not all(isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in parts):
            raise ValueError("a turn of the conversation has a part that is not text")
        return "".join(part["text"] for part in parts)
    return content


def unmark(completion: str) -> tuple[str | None, str] | None:
    """(thinking, answer) of a completion in OpenThoughts' markers; None without such markers."""
    if "<|begin_of_thought|>" not in completion and "<|begin_of_solution|>" not in completion:
        return None
    thought, solution = _THOUGHT.search(completion), _SOLUTION.search(completion)
    thinking = thought[1].strip("\n") if thought else None
    rest = completion[thought.end() :] if thought else completion
    answer = solution[1] if solution else _MARKER.sub("", rest)
    return thinking, answer.strip("\n")


def columns_of(values: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The format of a row and its columns; None for a row of no known format. Raises ValueError, with the reason, for
    an unusable row of a known format."""
    for name, recognize, read in SHAPES:
        if recognize(values):
            try:
                return name, read(values)
            except (AttributeError, LookupError, TypeError):
                raise ValueError(f"the row looks like {name}, but does not hold what that has") from None
    return None


def _is_batch(values: Mapping[str, Any]) -> bool:
    return "custom_id" in values and "response" in values


def _read_batch(values: Mapping[str, Any]) -> dict[str, Any]:
    """One line of an OpenAI batch's output, or of its error file: a failed request has an `error` and no text."""
    response: Any = values["response"] or {}
    body: Any = response.get("body") or {}
    found: dict[str, Any] = {"prompt_id": values["custom_id"], "model": body.get("model")}
    error: Any = values.get("error") or body.get("error")
    choices: list[Any] = body.get("choices") or _outputs(body)
    if error or response.get("status_code", 200) != 200 or not choices:
        status = response.get("status_code", "none")
        return found | {"completion": None, "error": error or f"a response without a completion (status {status})"}
    messages = [choice.get("message") or {"content": choice.get("text")} for choice in choices]
    thinking = [m.get("reasoning_content") or m.get("reasoning") for m in messages]
    found["completion"] = [_content(m) or m.get("refusal") for m in messages]
    found["finish_reason"] = [choice.get("finish_reason") for choice in choices]
    if any(thinking):
        found |= {"thinking": thinking, "answer": found["completion"]}
    usage: Any = body.get("usage") or {}
    found["num_prompt_tokens"] = usage.get("prompt_tokens", usage.get("input_tokens"))
    if len(choices) == 1:
        found["num_tokens"] = [usage.get("completion_tokens", usage.get("output_tokens"))]
    return found


def _outputs(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A message of the Responses API, in the format of the chat API's choices; its reasoning alone if it was cut off
    before the message."""
    items: list[Any] = body.get("output") or []
    parts = [part for item in items if item.get("type", "message") == "message" for part in item.get("content") or []]
    reasoning = [item for item in items if item.get("type") == "reasoning"]
    thoughts = [part for item in reasoning for part in (item.get("content") or item.get("summary") or [])]
    message = {"content": "".join(part.get("text") or "" for part in parts)}
    if thinking := "\n".join(part.get("text") or "" for part in thoughts):
        message["reasoning_content"] = thinking
    reason = "length" if body.get("status") == "incomplete" else "stop"
    return [{"message": message, "finish_reason": reason}] if parts or thinking else []


def _is_openr1(values: Mapping[str, Any]) -> bool:
    return isinstance(values.get("generations"), list) and (
        "correctness_math_verify" in values or "is_reasoning_complete" in values
    )


def _read_openr1(values: Mapping[str, Any]) -> dict[str, Any]:
    """Several generations of a problem, each with its own flags: whether it is right, whether it is complete."""
    found: dict[str, Any] = {"question": values.get("problem"), "completion": values["generations"]}
    complete, reasons = values.get("is_reasoning_complete"), values.get("finish_reasons")
    if isinstance(reasons, list) or isinstance(complete, list):
        each = zip_longest(_listed(reasons), _listed(complete))
        found["finish_reason"] = [_ended(reason, is_whole) for reason, is_whole in each]
    flags = values.get("correctness_math_verify") or values.get("correctness_llama")
    if flags:
        found["is_correct"] = flags
    return found


def _listed(cell: Any) -> list[Any]:
    return cast(list[Any], cell) if isinstance(cell, list) else []


def _ended(reason: Any, is_whole: Any) -> Any:
    """Why a generation ended: reasoning that is not complete was cut off, whatever is said beside it."""
    if is_whole is False:
        return "length"
    return reason or ("stop" if is_whole else None)


def _is_chat(values: Mapping[str, Any]) -> bool:
    return conversation_of(values.get("messages")) is not None


def _is_sharegpt(values: Mapping[str, Any]) -> bool:
    return conversation_of(values.get("conversations")) is not None


def _read_chat(values: Mapping[str, Any]) -> dict[str, Any]:
    turns = read_turns(conversation_of(values.get("messages")) or conversation_of(values["conversations"]) or [])
    found: dict[str, Any] = {"question": turns.question}
    if turns.thinking:
        found |= {"thinking": turns.thinking, "answer": turns.completion}
    if turns.completion is not None:
        found["completion"] = turns.completion
    return found


Shape = tuple[str, Callable[[Mapping[str, Any]], bool], Callable[[Mapping[str, Any]], dict[str, Any]]]

SHAPES: tuple[Shape, ...] = (
    ("OpenAI batch output", _is_batch, _read_batch),
    ("OpenR1-Math", _is_openr1, _read_openr1),
    ("OpenAI messages", _is_chat, _read_chat),
    ("ShareGPT conversations", _is_sharegpt, _read_chat),
)
