"""OpenAI's formats in streams and replies: errors, and `reasoning_content` as its clients expect it."""

import json
from collections.abc import Mapping
from typing import Any, cast

from stillery.serving.gateway.errors import error_body


def error_event(status: int, message: str) -> str:
    """An error in the middle of a stream, as a server-sent event."""
    return f"data: {json.dumps(error_body(status, message))}\n\n"


def first_complaint(error: Any) -> str:
    """The first of pydantic's errors as one line, without the client's input."""
    complaint = error.errors()[0]
    place = ".".join(str(part) for part in complaint["loc"]) or "body"
    return f"{place}: {complaint['msg']}"[:300]


def engine_error(event: str) -> dict[str, Any] | None:
    """The error in one of vLLM's events in its own format, with `code` (an HTTP status) and `message`; None if there is
    none."""
    if not event.startswith('data: {"error"'):
        return None
    error = json.loads(event.removeprefix("data: ").split("\n", 1)[0])["error"]
    code = error.get("code")
    return {"code": code if isinstance(code, int) else 500, "message": str(error.get("message"))}


def rename_reasoning(events: str) -> str:
    """Rename vLLM's `reasoning` to `reasoning_content`, in server-sent events.

    Inside a JSON string a quote is escaped, so `"reasoning":` can only be a key.
    """
    return events.replace('"reasoning":', '"reasoning_content":')


def finish_response(response: Mapping[str, Any], *, version: str) -> dict[str, Any]:
    """A whole response in the clients' format: reasoning under `reasoning_content`, the version that answered, no nulls
    of vLLM's own fields."""
    body = {key: value for key, value in response.items() if value is not None or key in ("id", "usage")}
    for choice in cast(list[dict[str, Any]], body.get("choices", [])):
        message = choice.get("message")
        if isinstance(message, dict):
            fields = cast(dict[str, Any], message)
            choice["message"] = {
                ("reasoning_content" if key == "reasoning" else key): value
                for key, value in fields.items()
                if value or key in ("role", "content")
            }
    return body | {"model_version": version}
