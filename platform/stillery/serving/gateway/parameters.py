"""Bounds on a request's parameters: a value outside them is an ApiError of status 400 that names the field."""

from typing import Any

from stillery.serving.gateway import field_checks as fields
from stillery.serving.gateway.field_checks import Check, invalid
from stillery.serving.gateway.prompt_checks import check_messages, check_prompt, check_total
from stillery.serving.gateway.settings import ParameterBounds

_INT64 = 2**63


def check_parameters(request: dict[str, Any], bounds: ParameterBounds) -> None:
    """Raise an ApiError that names the first field outside `bounds`. Null stands for the default everywhere."""
    given = {name: value for name, value in request.items() if value is not None}
    for name in bounds.refused_fields:
        if name in given and not _harmless(name, given[name]):
            raise invalid(name, "this endpoint does not take it")
    for name, check in _checks(bounds).items():
        if name in given and (fault := check(given[name])):
            raise invalid(name, fault)
    if "messages" in given:
        check_messages(given["messages"], bounds)
    if "prompt" in given:
        check_prompt(given["prompt"], bounds)
    check_total(given, bounds)


def _harmless(name: str, value: Any) -> bool:
    """The values of refused fields that have no effect; clients send them."""
    return value in ([], {}, False) or (name == "response_format" and value == {"type": "text"})


def _checks(bounds: ParameterBounds) -> dict[str, Check]:
    tokens = fields.integer(1, bounds.max_tokens)
    logprobs = fields.integer(0, bounds.max_logprobs)
    token_ids = fields.token_ids(bounds.max_token_ids)
    return {
        "model": fields.model_name,
        "n": fields.integer(1, bounds.max_n),
        "best_of": fields.integer(1, bounds.max_n),
        "max_tokens": tokens,
        "max_completion_tokens": tokens,
        "min_tokens": fields.integer(0, bounds.max_tokens),
        "thinking_token_budget": fields.integer(-1, bounds.max_tokens),
        "logprobs": lambda value: None if isinstance(value, bool) else logprobs(value),
        "top_logprobs": logprobs,
        "prompt_logprobs": logprobs,
        "temperature": fields.number(0, 2),
        "top_p": fields.number(1e-6, 1),
        "min_p": fields.number(0, 1),
        "top_k": fields.integer(-1, _INT64 - 1),
        "presence_penalty": fields.number(-2, 2),
        "frequency_penalty": fields.number(-2, 2),
        "repetition_penalty": fields.number(0.01, 2),
        "length_penalty": fields.number(-2, 2),
        "seed": fields.integer(-_INT64, _INT64 - 1),
        "truncate_prompt_tokens": fields.integer(-1, bounds.max_prompt_token_ids),
        "stop": fields.strings(bounds.max_stop_strings, bounds.max_stop_length, alone=True),
        "bad_words": fields.strings(bounds.max_stop_strings, bounds.max_stop_length, alone=False),
        "stop_token_ids": token_ids,
        "allowed_token_ids": token_ids,
        "logprob_token_ids": token_ids,
        "logit_bias": fields.logit_bias(bounds.max_logit_bias),
        "stream": fields.boolean,
        "echo": fields.boolean,
        "ignore_eos": fields.boolean,
        "stream_options": lambda value: None if isinstance(value, dict) else "must be an object",
        "user": fields.strings(1, 512, alone=True),
    }
