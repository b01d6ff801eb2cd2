"""A request's body as JSON, or an ApiError of status 400.

An accepted body is read the same way by every JSON reader behind the gateway: UTF-8 only, no duplicate keys, no NaN, no
lone surrogates, finite numbers and bounded nesting.
"""

import json
import math
from collections.abc import Iterable
from typing import Any, cast

from stillery.serving.gateway.errors import ApiError


def parse_body(body: bytes, *, max_depth: int) -> dict[str, Any]:
    """The JSON object in a body, nested at most `max_depth` deep."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(f"The body is not valid UTF-8: byte {error.start}.") from None
    try:
        found = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep(max_depth) from None
    except json.JSONDecodeError as error:
        raise _malformed(f"The body is not valid JSON: {error.msg} at character {error.pos}.") from None
    except ValueError:
        # An integer with thousands of digits.
        raise _malformed("The body holds a number that is too long.") from None
    if not isinstance(found, dict):
        raise _malformed("The body must be a JSON object.")
    _check_values(found, max_depth)
    return cast(dict[str, Any], found)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _malformed("The body holds an object in which a key occurs twice.")
    return found


def _refuse_constant(name: str) -> None:
    raise _malformed(f"The body holds {name}, which is not JSON.")


def _check_values(root: Any, max_depth: int) -> None:
    """Depth, finite numbers and encodable strings, without recursion."""
    level: list[Any] = [root]
    for _ in range(max_depth):
        below: list[Any] = []
        for value in level:
            inner: Iterable[Any] = ()
            if isinstance(value, dict):
                inner = [*value.keys(), *value.values()]
            elif isinstance(value, list):
                inner = cast(list[Any], value)
            for item in inner:
                if isinstance(item, dict | list):
                    below.append(item)
                elif isinstance(item, str):
                    _check_text(item)
                elif isinstance(item, float) and not math.isfinite(item):
                    raise _malformed("The body holds a number that is too large.")
        if not below:
            return
        level = below
    raise _too_deep(max_depth)


def _check_text(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _malformed("The body holds half of a surrogate pair.") from None


def _malformed(message: str) -> ApiError:
    return ApiError(400, message, reason="malformed", code="invalid_json")


def _too_deep(max_depth: int) -> ApiError:
    return _malformed(f"The body is nested more than {max_depth} levels deep.")
