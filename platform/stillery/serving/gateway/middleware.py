"""The gateway as ASGI middleware: the checks that a request passes, in order.

1. its head: size, path, content type, declared length (431, 414, 400, 415, 413)
2. its key (401, 403)
3. room in this replica (503), and in the key's limits (429)
4. its body: size, speed, form, parameters (413, 408, 400)
5. the application, until it has answered, the client leaves, or the time is up (504)
"""

import asyncio
import contextlib
import logging
import re
import secrets
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from prometheus_client import Metric

from stillery.serving.gateway.access_log import AccessLog
from stillery.serving.gateway.asgi import App, Receive, Scope, Send, header_values
from stillery.serving.gateway.bodies import BodyReader, ClientLeftError
from stillery.serving.gateway.errors import ApiError, server_error
from stillery.serving.gateway.exchange import Exchange
from stillery.serving.gateway.heads import check_head
from stillery.serving.gateway.json_body import parse_body
from stillery.serving.gateway.keyring import Keyring
from stillery.serving.gateway.limits import LimitDecision, Limiter
from stillery.serving.gateway.metrics import CONTENT_TYPE, Metrics, exposition, method_label
from stillery.serving.gateway.parameters import check_parameters
from stillery.serving.gateway.routes import route_of
from stillery.serving.gateway.running import run_application
from stillery.serving.gateway.settings import GatewaySettings

logger = logging.getLogger(__name__)

# The key name where the endpoint has no keys.
ANYBODY = "anybody"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_-]{1,64}")
# The status in log and metrics of a request whose client disconnected before the response began; nginx's number.
CLIENT_LEFT = 499
# The time that a client that does not read has to take the end of its response.
_LAST_WORD_S = 2.0


class Gateway:
    """ASGI middleware. Starlette creates it at an application's first request, so in the serving process."""

    def __init__(
        self,
        app: App,
        *,
        settings: GatewaySettings,
        limiter: Limiter,
        keep_errors: bool = False,
        metrics: Metrics | None = None,
        other_metrics: Callable[[], Awaitable[list[Metric]]] | None = None,
    ) -> None:
        self._app = app
        self._keep_errors = keep_errors
        self._settings = settings
        self._limiter = limiter
        self._keyring = Keyring(Path(settings.key_file)) if settings.key_file is not None else None
        self._log = AccessLog(settings.access_log)
        self._metrics = metrics or Metrics()
        self._other_metrics = other_metrics
        self._num_in_flight = 0
        self._num_draining = 0
        # Tasks that return slots, referenced so that none is garbage-collected while running.
        self._releases: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # Closing before accepting makes the server answer 403.
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        is_open = scope["path"] in self._settings.open_paths and scope["method"] in ("GET", "HEAD")
        keep_errors = is_open or self._keep_errors
        exchange = Exchange(scope, send, request_id=request_id, settings=self._settings, keep_errors=keep_errors)
        scope.setdefault("state", {}).update(request_id=request_id, key_name=None)
        route = self._route(scope)
        refused: str | None = None
        self._metrics.in_flight.inc()
        try:
            refused = await self._answer(scope, receive, exchange, route, is_open=is_open)
        except asyncio.CancelledError:
            # The server ends it, as Ray Serve's proxy does when the client has disconnected.
            refused = "cancelled"
            raise
        finally:
            self._metrics.in_flight.dec()
            self._note(scope, exchange, route, refused)

    async def _answer(
        self, scope: Scope, receive: Receive, exchange: Exchange, route: str, *, is_open: bool
    ) -> str | None:
        """Serve one request; return the reason if it was refused. Exceptions end here, except a cancellation."""
        body = BodyReader(receive, self._settings)
        try:
            await self._serve(scope, receive, body, exchange, route, is_open=is_open)
        except ClientLeftError:
            return "client_left"
        except ApiError as error:
            with contextlib.suppress(ClientLeftError):
                if not (error.status == 408 or _waits_for_continue(scope, body)):
                    await self._drain(body)
                await _say(exchange, error)
            return error.reason
        except Exception as error:
            # The exception's text may quote the prompt; its type and the lines of code cannot.
            frames = "".join(traceback.format_tb(error.__traceback__))
            logger.error("request %s: %s at\n%s", exchange.request_id, type(error).__name__, frames)
            await _say(exchange, server_error(500, reason="error"))
            return "error"
        return None

    async def _serve(
        self, scope: Scope, receive: Receive, body: BodyReader, exchange: Exchange, route: str, *, is_open: bool
    ) -> None:
        settings = self._settings
        check_head(scope, settings)
        is_metrics = route == settings.metrics_path
        if not is_open:
            scope["state"]["key_name"] = self._key_name(scope, is_metrics=is_metrics)
        if is_metrics:
            await self._send_metrics(exchange)
            return
        async with contextlib.AsyncExitStack() as held:
            if not is_open:
                held.enter_context(self._room())
                await held.enter_async_context(self._slot(scope["state"]["key_name"]))
            content = await body.read()
            if content and not is_open:
                check_parameters(parse_body(content, max_depth=settings.max_json_depth), settings.bounds)
            inner = {**scope, "headers": _inner_headers(scope, exchange.request_id)}
            await run_application(self._app, inner, content, receive, exchange, timeout_s=settings.request_timeout_s)

    async def _drain(self, body: BodyReader) -> None:
        """Read the rest of a refused body, so that its client reaches the response; skipped if too many are drained at
        once."""
        if self._num_draining >= self._settings.max_in_flight:
            return
        self._num_draining += 1
        try:
            await body.drain()
        finally:
            self._num_draining -= 1

    def _key_name(self, scope: Scope, *, is_metrics: bool) -> str:
        if self._keyring is None:
            return ANYBODY
        return self._keyring.check(scope, "metrics" if is_metrics else "api")

    @contextmanager
    def _room(self) -> Generator[None]:
        """One of this replica's places, or an ApiError."""
        if self._num_in_flight >= self._settings.max_in_flight:
            raise server_error(503, reason="busy", retry_after_s=self._settings.retry_after_s)
        self._num_in_flight += 1
        try:
            yield
        finally:
            self._num_in_flight -= 1

    @asynccontextmanager
    async def _slot(self, key_name: str) -> AsyncGenerator[None]:
        """One of the key's slots, or an ApiError. It is returned even if the request is cancelled."""
        decision = await self._limiter.acquire(key_name)
        if not decision.allowed:
            raise _over_limit(decision)
        try:
            yield
        finally:
            release = asyncio.create_task(self._limiter.release(key_name))
            self._releases.add(release)
            release.add_done_callback(self._releases.discard)

    async def _send_metrics(self, exchange: Exchange) -> None:
        others = await self._other_metrics() if self._other_metrics is not None else []
        headers = [(b"content-type", CONTENT_TYPE.encode())]
        await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
        await exchange.send({"type": "http.response.body", "body": exposition([*self._metrics.families(), *others])})

    def _route(self, scope: Scope) -> str:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        return path if path == self._settings.metrics_path else route_of(scope)

    def _note(self, scope: Scope, exchange: Exchange, route: str, refused: str | None) -> None:
        """Count and log a request that is over."""
        status, usage = exchange.status or CLIENT_LEFT, exchange.usage
        if refused is not None:
            self._metrics.refuse(refused)
        self._metrics.count(
            route=route,
            method=scope["method"],
            status=status,
            seconds=exchange.seconds,
            first_byte_seconds=exchange.first_byte_seconds,
            usage=usage,
        )
        self._log.write(
            request_id=exchange.request_id,
            key=scope["state"]["key_name"],
            method=method_label(scope["method"]),
            route=route,
            status=status,
            refused=refused,
            complete=exchange.finished,
            ms=round(exchange.seconds * 1000, 1),
            first_byte_ms=exchange.first_byte_seconds and round(exchange.first_byte_seconds * 1000, 1),
            prompt_tokens=usage.prompt_tokens if usage.known else None,
            completion_tokens=usage.completion_tokens if usage.known else None,
        )


async def _say(exchange: Exchange, error: ApiError) -> None:
    """End the response with an error, without waiting for a client that no longer reads."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORD_S):
            await exchange.fail(error)


def _over_limit(decision: LimitDecision) -> ApiError:
    what = {"rate": "too many requests a minute", "concurrency": "too many requests at once"}
    return ApiError(
        429,
        f"This API key makes {what[decision.reason or 'rate']}; try again later.",
        reason=decision.reason or "rate",
        code="rate_limit_exceeded",
        retry_after_s=decision.retry_after_s,
    )


def _request_id(scope: Scope) -> str:
    """The client's X-Request-ID if it is harmless, else a new one."""
    values = header_values(scope, b"x-request-id")
    if len(values) == 1 and _REQUEST_ID.fullmatch(values[0]):
        return values[0].decode()
    return secrets.token_hex(16)


def _inner_headers(scope: Scope, request_id: str) -> list[tuple[bytes, bytes]]:
    """The request's headers as the application sees them: without the key, and with the request's id."""
    dropped = (b"authorization", b"x-request-id")
    kept = [(name, value) for name, value in scope["headers"] if name.lower() not in dropped]
    return [*kept, (b"x-request-id", request_id.encode())]


def _waits_for_continue(scope: Scope, body: BodyReader) -> bool:
    """Whether the client holds its body back until it is told to send it: then there is nothing to drain."""
    return not body.begun and any(v.lower() == b"100-continue" for v in header_values(scope, b"expect"))
