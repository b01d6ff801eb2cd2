"""Checks of single fields: functions from a value to its error, or None."""

import re
from collections.abc import Callable
from typing import Any, cast

from stillery.serving.gateway.errors import ApiError

MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:/@+-]{0,199}")

Check = Callable[[Any], str | None]


def integer(lowest: int, highest: int) -> Check:
    def check(value: Any) -> str | None:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return None if whole and lowest <= value <= highest else f"must be a whole number from {lowest} to {highest}"

    return check


def number(lowest: float, highest: float) -> Check:
    def check(value: Any) -> str | None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return None if number and lowest <= value <= highest else f"must be a number from {lowest:g} to {highest:g}"

    return check


def boolean(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def model_name(value: Any) -> str | None:
    if not isinstance(value, str) or not MODEL_NAME.fullmatch(value) or ".." in value or "//" in value:
        return "must be a model's name: letters, digits and ._:/@+- only, no .. or //, at most 200 characters"
    return None


def strings(most: int, longest: int, *, alone: bool) -> Check:
    def check(value: Any) -> str | None:
        texts: Any = [value] if alone and isinstance(value, str) else value
        if (
            isinstance(texts, list)
            and len(cast(list[Any], texts)) <= most
            and all(isinstance(text, str) and len(text) <= longest for text in cast(list[Any], texts))
        ):
            return None
        return f"must be at most {most} string{'s' * (most > 1)} of at most {longest} characters"

    return check


def token_ids(most: int) -> Check:
    def check(value: Any) -> str | None:
        fine = isinstance(value, list) and len(cast(list[Any], value)) <= most and are_token_ids(cast(list[Any], value))
        return None if fine else f"must be a list of at most {most} token ids"

    return check


def are_token_ids(values: list[Any]) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 for value in values)


def logit_bias(most: int) -> Check:
    within = number(-100, 100)

    def check(value: Any) -> str | None:
        if not isinstance(value, dict) or len(cast(dict[str, Any], value)) > most:
            return f"must be an object of at most {most} token ids"
        for key, bias in cast(dict[str, Any], value).items():
            if not re.fullmatch(r"[0-9]{1,9}", key) or within(bias):
                return "must map token ids to numbers from -100 to 100"
        return None

    return check


def invalid(field: str, fault: str) -> ApiError:
    return ApiError(400, f"{field} {fault}.", reason="parameter", code="invalid_value", param=field)
