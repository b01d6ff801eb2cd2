"""The ASGI application inside a model's replica: the chat route behind the gateway.

Serve's proxy sends it every request under MODEL_ROUTE, so that a chat's tokens leave directly from the process that
generates them, without passing the ingress.
"""

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from stillery.serving.backend import ModelBackend
from stillery.serving.gateway import Limiter, install_gateway
from stillery.serving.gateway.metrics import Metrics
from stillery.serving.routes import add_chat_route
from stillery.serving.settings import ServeSettings


def chat_application(settings: ServeSettings, model: ModelBackend, *, limiter: Limiter, metrics: Metrics) -> FastAPI:
    """The chat route with the same keys, limits, checks and log as the ingress; it counts in `metrics`."""
    app = FastAPI(title="stillery", openapi_url=None)
    add_chat_route(app, settings, backend=model)
    install_gateway(app, settings.gateway, limiter, metrics=metrics)
    app.add_middleware(WholePaths)
    return app


class WholePaths:
    """ASGI middleware for an application whose routes are absolute paths, wherever Serve mounts it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "root_path": ""}, receive, send)
