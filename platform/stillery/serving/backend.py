"""The model behind the routes: in another process through Serve's handle, or in the replica itself.

A call by handle that fails before its first token, because its replica died or was replaced, is retried once; later
errors are sent in the stream. A request that the replicas cannot take becomes a `ModelRefusedError` with a status and a
time to wait.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from stillery.serving.gateway.errors import error_body
from stillery.serving.openai_shape import error_event

if TYPE_CHECKING:
    from prometheus_client import Metric

log = logging.getLogger("ray.serve")

MODEL_APPLICATION = "stillery-model"
MODEL_DEPLOYMENT = "model"
# The route that the model's replicas answer themselves; all others are the ingress's.
MODEL_ROUTE = "/v1/chat"
_ATTEMPTS = 2
_METRICS_WITHIN_S = 2.0


class ModelRefusedError(Exception):
    """A request that is answered with `status` and, if given, a Retry-After."""

    def __init__(self, status: int, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, Any]:
        return error_body(self.status, str(self))


@dataclass(frozen=True)
class Opening:
    """A replica's first message: the HTTP status, the version that answers, the body where it does not stream, and for
    a 503 the seconds until a retry."""

    status: int
    version: str
    body: dict[str, Any] | None = None
    retry_after_s: float | None = None


class EventSource(Protocol):
    """The events of a stream, for one reader, who closes it."""

    def __aiter__(self) -> AsyncIterator[str]: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True)
class ModelReply:
    """A response that has begun: its opening, and the events of a stream (None if the opening is the whole
    response)."""

    opening: Opening
    events: EventSource | None


class ModelBackend(Protocol):
    """The interface that the routes call; `method` is chat or completions. Raises ModelRefusedError."""

    async def ask(self, method: str, body: dict[str, Any]) -> ModelReply: ...


def find_model() -> Any:
    """The handle of the model application. Raises LookupError while there is none."""
    from ray import serve
    from ray.serve.exceptions import RayServeException

    try:
        handle = serve.get_deployment_handle(MODEL_DEPLOYMENT, app_name=MODEL_APPLICATION)
    except RayServeException as error:
        raise LookupError(str(error)) from None
    return handle.options(stream=True)


class ModelClient:
    """Calls to the model's replicas, through the handle that `find` returns once there is one."""

    def __init__(self, *, retry_after_s: float, find: Callable[[], Any] = find_model) -> None:
        self._retry_after_s = retry_after_s
        self._find = find
        self._handle: Any = None

    async def ask(self, method: str, body: dict[str, Any]) -> ModelReply:
        """Send a request; `method` is chat or completions. Raises ModelRefusedError."""
        from ray.exceptions import RayError, RayTaskError
        from ray.serve.exceptions import BackPressureError, RayServeException

        for attempt in range(1, _ATTEMPTS + 1):
            pieces = self._model().answer.remote(method, body)
            try:
                opening = await anext(pieces)
                break
            except BackPressureError:
                raise self._refuse("the model is busy; try again soon") from None
            except RayTaskError as error:
                # The replica lives and its model failed: a retry could take the next one down too.
                log.warning("the model failed (%s)", type(error.cause or error).__name__)
                raise self._refuse("the model failed; try again soon") from None
            except (RayError, RayServeException, StopAsyncIteration) as error:
                log.warning("a replica was lost before its first token (%s)", type(error).__name__)
                if attempt == _ATTEMPTS:
                    raise self._refuse("the model is being replaced; try again soon") from None
            except BaseException:
                pieces.cancel()
                raise
        else:
            raise AssertionError("every attempt returns or raises")
        assert isinstance(opening, Opening)
        return ModelReply(opening, Events(pieces) if opening.body is None else None)

    async def metrics(self) -> "list[Metric]":
        """The gateway's metrics from one of the model's replicas; none if none answers."""
        from ray.exceptions import RayError
        from ray.serve.exceptions import RayServeException

        try:
            handle = self._model().options(stream=False)
            return await asyncio.wait_for(handle.gateway_metrics.remote(), timeout=_METRICS_WITHIN_S)
        except (ModelRefusedError, RayError, RayServeException, TimeoutError):
            return []

    def _refuse(self, message: str) -> ModelRefusedError:
        return ModelRefusedError(503, message, retry_after_s=self._retry_after_s)

    def _model(self) -> Any:
        if self._handle is None:
            try:
                self._handle = self._find()
            except LookupError:
                raise self._refuse("no model is up yet; see /ready") from None
        return self._handle


class Events:
    """The events of a stream, for one reader, who closes it."""

    def __init__(self, pieces: Any) -> None:
        self._pieces = pieces
        self._over = False

    async def __aiter__(self) -> AsyncGenerator[str]:
        from ray.exceptions import RayError
        from ray.serve.exceptions import RayServeException

        try:
            async for piece in self._pieces:
                yield piece
        except (RayError, RayServeException) as error:
            log.warning("a stream broke off (%s)", type(error).__name__)
            yield error_event(503, "the model's replica was lost in mid-stream; ask again")
        self._over = True

    async def aclose(self) -> None:
        """Stop the model's work on a stream that was not read to its end, or not at all."""
        if not self._over:
            with contextlib.suppress(RuntimeError):
                self._pieces.cancel()


class LocalModel:
    """The model of this replica; calls its server's `answer` directly."""

    def __init__(
        self, answer: Callable[[str, dict[str, Any]], AsyncGenerator[Opening | str]], *, retry_after_s: float
    ) -> None:
        self._answer = answer
        self._retry_after_s = retry_after_s

    async def ask(self, method: str, body: dict[str, Any]) -> ModelReply:
        pieces: Any = self._answer(method, body)
        try:
            opening = await anext(pieces)
        except Exception as error:
            # Boundary: Serve replaces a replica whose engine has died, and its clients are told to retry.
            log.warning("the model failed (%s)", type(error).__name__)
            raise ModelRefusedError(
                503, "the model failed; try again soon", retry_after_s=self._retry_after_s
            ) from None
        if opening.body is None:
            return ModelReply(opening, pieces)
        await pieces.aclose()
        return ModelReply(opening, None)
