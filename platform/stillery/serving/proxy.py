"""Middleware in front of Ray Serve's HTTP proxy, named by `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`."""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stillery.serving.backend import MODEL_ROUTE
from stillery.serving.gateway.errors import reshape_error
from stillery.serving.openai_shape import error_event

VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
CALLBACK = "stillery.serving.proxy:middlewares"
_ATTEMPTS = 2
_RETRY_AFTER_S = 2
# A longer body is not kept for a retry.
_LONGEST_BODY = 1024 * 1024


class TextHeaders:
    """ASGI middleware that drops non-UTF-8 headers: the proxy decodes some of them before the gateway sees a request,
    and would answer 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            kept = [(name, value) for name, value in scope["headers"] if _is_text(name) and _is_text(value)]
            scope = {**scope, "headers": kept}
        await self._app(scope, receive, send)


class LostReplicas:
    """ASGI middleware for a chat whose replica is lost, when no code of ours is left behind it to respond.

    Before its response begins the request goes to another replica, once, and else gets a 503 with Retry-After; a stream
    that has begun ends with an error event. The proxy's own errors (a full queue) are converted to OpenAI's format.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(MODEL_ROUTE):
            await self._app(scope, receive, send)
            return
        request, answer = _Request(receive), _Answer(send)
        for _ in range(_ATTEMPTS):
            await self._app(scope, request.receive, answer.send)
            if answer.status or not request.rewind():
                break
        if not request.client_left:
            await answer.finish()


class _Request:
    """A client's messages, kept for a retry."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: list[Message] = []
        self._num_read = self._num_bytes = 0
        self.client_left = False

    async def receive(self) -> Message:
        if self._num_read < len(self._kept):
            self._num_read += 1
            return self._kept[self._num_read - 1]
        message = await self._receive()
        self.client_left = message["type"] == "http.disconnect"
        self._num_bytes += len(message.get("body", b""))
        if self._num_bytes <= _LONGEST_BODY:
            self._kept.append(message)
            self._num_read += 1
        else:
            self._kept.clear()
        return message

    def rewind(self) -> bool:
        """Start over at the first message. Returns whether that is possible: all of it was kept, and the client is
        connected."""
        self._num_read = 0
        return self._num_bytes <= _LONGEST_BODY and not self.client_left


class _Answer:
    """The response of a replica, or of the proxy in its place. `status` is 0 until it begins."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_stream = self._is_proxys = self._is_whole = False
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            content_type = dict(message.get("headers", [])).get(b"content-type", b"")
            self._is_stream = content_type.startswith(b"text/event-stream")
            # The gateway's errors are JSON.
            self._is_proxys = self.status >= 400 and content_type.startswith(b"text/plain")
        if self._is_proxys:
            return
        if message["type"] == "http.response.body":
            self._is_whole = not message.get("more_body", False)
        await self._send(message)

    async def finish(self) -> None:
        """Complete a truncated response. Any other broken response is left unfinished, which the server shows to the
        client."""
        if not self.status or self._is_proxys:
            status, body = reshape_error(self.status or 503, b"")
            headers = [(b"content-type", b"application/json")]
            headers += [(b"retry-after", str(_RETRY_AFTER_S).encode())] if status == 503 else []
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
            await self._send({"type": "http.response.body", "body": body})
        elif self._is_stream and not self._is_whole:
            event = error_event(503, "the model's replica was lost in mid-stream; ask again")
            await self._send({"type": "http.response.body", "body": event.encode()})


def middlewares() -> list[Middleware]:
    """Called by each of Serve's proxies when it starts."""
    return [Middleware(LostReplicas), Middleware(TextHeaders)]


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
