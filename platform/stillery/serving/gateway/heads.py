"""Checks of a request before its body is read: size of the headers, the path, content type and declared length."""

from urllib.parse import unquote

from stillery.serving.gateway.asgi import Scope, header_values
from stillery.serving.gateway.errors import ApiError
from stillery.serving.gateway.field_checks import model_name
from stillery.serving.gateway.settings import GatewaySettings

MODELS_PREFIX = "/v1/models/"


def check_head(scope: Scope, settings: GatewaySettings) -> None:
    """Raise an ApiError for too many headers, a long or malicious path, or a body of an unsupported type."""
    headers = scope["headers"]
    size = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > settings.max_headers or size > settings.max_header_bytes:
        raise ApiError(
            431,
            f"The request's headers are too many or too long: at most {settings.max_headers} with "
            f"{settings.max_header_bytes} bytes together.",
            reason="headers",
        )
    if len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"]) > settings.max_target_bytes:
        raise ApiError(
            414, f"The request's path and query are above {settings.max_target_bytes} bytes.", reason="target"
        )
    _check_path(scope["path"])
    if scope["method"] in ("POST", "PUT", "PATCH"):
        _check_body_headers(scope, settings)


def _check_path(path: str) -> None:
    # Decoded twice: once by the server, and once more against %252e%252e.
    decoded = unquote(path)
    tricky = any(part in (".", "..") for part in decoded.split("/")) or "\\" in decoded or "//" in decoded
    if tricky or not decoded.isprintable() or "\N{REPLACEMENT CHARACTER}" in decoded:
        raise ApiError(400, "The request's path is not a plain path.", reason="path", code="invalid_path")
    _, found, name = path.partition(MODELS_PREFIX)
    if found and name and (fault := model_name(name)):
        raise ApiError(400, f"model {fault}.", reason="path", code="invalid_value", param="model")


def _check_body_headers(scope: Scope, settings: GatewaySettings) -> None:
    encodings = header_values(scope, b"content-encoding")
    if any(value.strip().lower() not in (b"", b"identity") for value in encodings):
        raise ApiError(415, "A compressed body is not read; send it plain.", reason="content_type")
    lengths = header_values(scope, b"content-length")
    if lengths and not all(value.isdigit() and len(value) < 16 for value in lengths):
        raise ApiError(400, "Content-Length is not a number.", reason="headers")
    if any(int(value) > settings.max_body_bytes for value in lengths):
        raise too_large(settings.max_body_bytes)
    has_body = any(int(value) for value in lengths) or bool(header_values(scope, b"transfer-encoding"))
    types = header_values(scope, b"content-type")
    if (has_body or types) and [kind.split(b";")[0].strip().lower() for kind in types] != [b"application/json"]:
        raise ApiError(415, "Content-Type must be application/json.", reason="content_type")


def too_large(most: int) -> ApiError:
    """The error for a body above `most` bytes."""
    return ApiError(413, f"The body is above {most} bytes.", reason="body_size", code="request_too_large")
