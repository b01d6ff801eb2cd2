"""The response side of the gateway: every message of a response passes through an Exchange.

It adds the security headers, converts errors to OpenAI's shape, and records status, time to the first byte and tokens.
Bodies of successful responses are passed on piece by piece as they come.
"""

import time
from collections.abc import Iterable

from stillery.serving.gateway.asgi import Message, Scope, Send
from stillery.serving.gateway.errors import ApiError, reshape_error
from stillery.serving.gateway.settings import GatewaySettings
from stillery.serving.gateway.usage import Usage, UsageReader

# A browser must neither guess a response's type, frame it nor cache it.
SECURITY_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
    b"cross-origin-resource-policy": b"same-origin",
}
# A page may use its own content and what its own origin serves, and nothing else; other responses must not be executed.
PAGE_POLICY = (
    b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DATA_POLICY = b"default-src 'none'; frame-ancestors 'none'"

# A longer error is not a message for a person.
_LONGEST_ERROR = 64 * 1024

Headers = Iterable[tuple[bytes, bytes]]


class Exchange:
    """One request's response. `status` is 0 until it starts; `finished` once its last piece was passed on.

    `keep_errors` leaves the application's errors unchanged: a 503 of /ready says what is missing.
    """

    def __init__(
        self, scope: Scope, send: Send, *, request_id: str, settings: GatewaySettings, keep_errors: bool = False
    ) -> None:
        self._send = send
        self.request_id = request_id
        self._settings = settings
        self._keep_errors = keep_errors
        self._is_head = scope["method"] == "HEAD"
        self._started_at = time.monotonic()
        self._held: Message | None = None
        self._error = bytearray()
        self._usage = UsageReader("")
        self._is_stream = False
        self.status = 0
        self.finished = False
        self.first_byte_seconds: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds since the request arrived."""
        return time.monotonic() - self._started_at

    @property
    def usage(self) -> Usage:
        return self._usage.usage

    async def send(self, message: Message) -> None:
        """The application's `send`."""
        if message["type"] == "http.response.start":
            if message["status"] >= 400 and not self._keep_errors:
                self._held = message
            else:
                await self._start(message["status"], message.get("headers", []))
        elif message["type"] == "http.response.body":
            piece, last = message.get("body", b""), not message.get("more_body", False)
            if self._held is not None:
                await self._hold(self._held, piece, last=last)
            else:
                await self._pass(piece, last=last)
        else:
            await self._send(message)

    async def refuse(self, error: ApiError) -> None:
        """Respond with an error, unless a response has begun."""
        headers = [(b"content-type", b"application/json")]
        if error.retry_after_s is not None:
            # In whole seconds, rounded up: a client that waits that long is admitted.
            headers.append((b"retry-after", str(max(1, -int(-error.retry_after_s // 1))).encode()))
        if error.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if error.status == 408:
            # The rest of the body, if it ever comes, must not be parsed as a request.
            headers.append((b"connection", b"close"))
        await self._whole(error.status, headers, error.body())

    async def fail(self, error: ApiError) -> None:
        """End a response that cannot continue: an error if it has not begun, an error event in a stream of events.

        Any other response is left unfinished, which the server turns into a broken connection.
        """
        if self.finished:
            return
        if not self.status:
            self._held = None
            await self.refuse(error)
        elif self._is_stream:
            await self._pass(b"data: " + error.body() + b"\n\n", last=True)

    async def _hold(self, start: Message, piece: bytes, *, last: bool) -> None:
        """Collect an application's error until it can be reshaped."""
        if len(self._error) <= _LONGEST_ERROR:
            self._error += piece
        if not last:
            return
        status, body = reshape_error(start["status"], bytes(self._error))
        replaced = (b"content-type", b"content-length", b"content-encoding", b"transfer-encoding")
        headers = [(k, v) for k, v in start.get("headers", []) if k.lower() not in replaced]
        headers.append((b"content-type", b"application/json"))
        if status == 503 and not any(k.lower() == b"retry-after" for k, _ in headers):
            headers.append((b"retry-after", str(self._settings.retry_after_s).encode()))
        self._held = None
        await self._whole(status, headers, body)

    async def _whole(self, status: int, headers: Headers, body: bytes) -> None:
        await self._start(status, [*headers, (b"content-length", str(len(body)).encode())])
        await self._pass(b"" if self._is_head else body, last=True)

    async def _start(self, status: int, headers: Headers) -> None:
        kept = [(k.lower(), v) for k, v in headers if self._may_pass(k.lower())]
        given = {name for name, _ in kept}
        kept += [(name, value) for name, value in SECURITY_HEADERS.items() if name not in given]
        if self._settings.hsts:
            kept.append((b"strict-transport-security", b"max-age=31536000"))
        kept.append((b"x-request-id", self.request_id.encode()))
        content_type = next((v.decode("latin-1") for k, v in kept if k == b"content-type"), "").lower()
        if b"content-security-policy" not in given:
            policy = PAGE_POLICY if content_type.startswith("text/html") else DATA_POLICY
            kept.append((b"content-security-policy", policy))
        self._is_stream = content_type.startswith("text/event-stream")
        if self._is_stream:
            # Without this header nginx would buffer the events.
            kept.append((b"x-accel-buffering", b"no"))
        self._usage = UsageReader(content_type)
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": kept})

    async def _pass(self, piece: bytes, *, last: bool) -> None:
        if self.first_byte_seconds is None:
            self.first_byte_seconds = self.seconds
        self._usage.feed(piece, last=last)
        self.finished = self.finished or last
        await self._send({"type": "http.response.body", "body": piece, "more_body": not last})

    def _may_pass(self, name: bytes) -> bool:
        """An application's own cross-origin headers are dropped: the gateway's setting decides."""
        return name not in (b"x-request-id", b"server") and not name.startswith(b"access-control-")
