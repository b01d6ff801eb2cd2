"""The HTTP side: gateway, the OpenAI routes, health, the web page, the bonds service.

Nothing of vLLM is imported here: bodies go to the model's replicas unchanged, and replies come back as text. It answers
/health while a model is still loading, and takes no GPU. Once a model's application exists, Serve's proxy sends chats
directly to the model's replicas (`model_server`).
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from fastapi import FastAPI

from stillery.serving.backend import ModelClient
from stillery.serving.gateway import check_binding, install_gateway
from stillery.serving.gateway.shared_limiter import SharedLimiter
from stillery.serving.listening import listening_host
from stillery.serving.routes import add_routes
from stillery.serving.settings import load_settings

_STATE_TTL_S = 1.0
_STATE_TIMEOUT_S = 3.0
# A follower that is being replaced is back within this time.
_STATE_HOLDS_S = 60.0


class Ingress:
    """The Serve deployment behind the route prefix."""

    def __init__(self, args: Mapping[str, Any], follower: Any) -> None:
        self._settings = load_settings(args)
        check_binding(listening_host(), self._settings.gateway)
        self._readiness = Readiness(follower)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Serve once the constructor is done."""
        limiter = SharedLimiter(self._settings.gateway)

        @contextlib.asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
            await limiter.prepare()
            yield

        # Swagger's own pages load their scripts from elsewhere; the schema is enough.
        app = FastAPI(title="stillery", docs_url=None, redoc_url=None, lifespan=lifespan)
        backend = ModelClient(retry_after_s=self._settings.engine.retry_after_s)
        add_routes(app, self._settings, backend=backend, readiness=self._readiness)
        install_gateway(app, self._settings.gateway, limiter, other_metrics=backend.metrics)
        return app

    def check_health(self) -> None:
        """A replica that answers is healthy; `/ready` covers whether a model is up."""


class Readiness:
    """The follower's state, requested at most once a second; if it does not answer, its last state for a minute."""

    def __init__(self, follower: Any) -> None:
        self._follower = follower
        self._asked_at = float("-inf")
        self._answered_at = float("-inf")
        self._state: dict[str, Any] = {}
        self._lock = asyncio.Lock()

    async def state(self) -> dict[str, Any]:
        """FollowState as plain data; empty before the follower's first answer."""
        async with self._lock:
            if time.monotonic() - self._asked_at > _STATE_TTL_S:
                await self._ask()
            return self._state

    async def _ask(self) -> None:
        from ray.exceptions import RayError
        from ray.serve.exceptions import RayServeException

        with contextlib.suppress(RayError, RayServeException, TimeoutError):
            self._state = await asyncio.wait_for(self._follower.state.remote(), timeout=_STATE_TIMEOUT_S)
            self._answered_at = time.monotonic()
        self._asked_at = time.monotonic()
        if self._asked_at - self._answered_at > _STATE_HOLDS_S:
            self._state = {}
