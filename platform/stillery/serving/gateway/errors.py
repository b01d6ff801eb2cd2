"""Errors as clients see them: `{"error": {"message", "type", "param", "code"}}`, the shape of OpenAI's API."""

import json
from typing import Any

# The message for an error inside the server, in place of the application's own, whose text can hold anything.
SERVER_MESSAGES = {
    500: "The server failed to answer this request.",
    501: "The server does not do this.",
    502: "The model's server gave no proper answer; try again.",
    503: "The server is busy or starting; try again later.",
    504: "The request took too long and was stopped.",
}

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class ApiError(Exception):
    """A request that is refused. The gateway raises it, and so may the application, before its response has started.

    `reason` is one word for the metrics. `param` names the field at fault. `retry_after_s` becomes Retry-After.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        reason: str,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s

    def body(self) -> bytes:
        """The JSON that the client gets."""
        return _json(error_body(self.status, self.message, code=self.code, param=self.param))


def error_body(status: int, message: str, *, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """The body of an error response; `type` follows from the status."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def reshape_error(status: int, body: bytes) -> tuple[int, bytes]:
    """An application's error response as status and body in OpenAI's shape.

    A status of 500 or above gets a fixed message, except a 503, which code raises on purpose. FastAPI's 422, for a body
    of the wrong form, becomes 400.
    """
    if status >= 500 and status != 503:
        return status, _json(error_body(status, SERVER_MESSAGES.get(status, SERVER_MESSAGES[500])))
    new_status = 400 if status == 422 else status
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return new_status, _json(error_body(new_status, _default_message(status)))
    error = found.get("error") if isinstance(found, dict) else None
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        code = error.get("code")
        param = error.get("param")
        body_fields = {
            "code": code if isinstance(code, str) else None,
            "param": param if isinstance(param, str) and status != 422 and _names_a_field(param) else None,
        }
        return new_status, _json(error_body(new_status, error["message"], **body_fields))
    message, param = _fastapi_detail(found)
    return new_status, _json(error_body(new_status, message or _default_message(status), param=param))


def _fastapi_detail(found: Any) -> tuple[str | None, str | None]:
    """Message and field of FastAPI's `{"detail": ...}`, without the input that it quotes."""
    detail = found.get("detail") if isinstance(found, dict) else None
    if isinstance(detail, str):
        return detail, None
    first = detail[0] if isinstance(detail, list) and detail else None
    if not isinstance(first, dict):
        return None, None
    place = [str(part) for part in first.get("loc", []) if part != "body"]
    field = ".".join(place) or None
    return f"{field or 'body'}: {first.get('msg', 'not valid')}", field


def _names_a_field(param: str) -> bool:
    # Ray Serve LLM puts the invalid input where the field's name belongs.
    return len(param) <= 64 and all(letter.isalnum() or letter in "._[]-" for letter in param)


def _default_message(status: int) -> str:
    known = SERVER_MESSAGES | {404: "There is nothing here.", 405: "This path does not take that method."}
    return known.get(status, "The request was not accepted.")


def server_error(status: int, *, reason: str, retry_after_s: float | None = None) -> ApiError:
    """An error inside the server; the client learns only its kind."""
    return ApiError(status, SERVER_MESSAGES[status], reason=reason, retry_after_s=retry_after_s)
