"""Middleware in front of Ray Serve's HTTP proxy, named by `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`."""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
CALLBACK = "stillery.serving.proxy_headers:middlewares"


class TextHeaders:
    """ASGI middleware that leaves out headers which are no UTF-8: the proxy reads some of them as text before the
    gateway see a request, and would answer 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            kept = [(name, value) for name, value in scope["headers"] if _is_text(name) and _is_text(value)]
            scope = {**scope, "headers": kept}
        await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """Called by each of Serve's proxies when it starts."""
    return [Middleware(TextHeaders)]


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
