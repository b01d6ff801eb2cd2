"""The application: routes, the content security policy of every page, and the gateway in front."""

from collections.abc import Sequence
from importlib.resources import files

import duckdb
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stillery.serving.gateway import GatewaySettings, LocalLimiter, install_gateway
from stillery.serving.gateway.asgi import App, Message, Receive, Scope, Send
from stillery.ui.filters import BadQueryError
from stillery.ui.pages import overview, problems, samples
from stillery.ui.runs import RunList
from stillery.ui.sessions import LOGIN, SESSION, Sessions
from stillery.ui.site import Site, site_of

# Nothing external, nothing inline: no script or style inside a trace could take effect.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_STATIC = {
    "report.css": (files("stillery.report") / "style.css", "text/css"),
    "ui.css": (files("stillery.ui") / "static" / "ui.css", "text/css"),
    "ui.js": (files("stillery.ui") / "static" / "ui.js", "text/javascript"),
    "icon.svg": (files("stillery.ui") / "static" / "icon.svg", "image/svg+xml"),
}
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def make_app(runs: RunList, *, key_file: str | None = None, hosts: Sequence[str] = _LOOPBACK) -> Starlette:
    """The application for some runs. With a key file every page except the login needs a key; without one it answers
    only to `hosts`, so that no other site's name can be pointed at it. Raises UserError for a broken key file."""
    site = Site(runs, has_keys=key_file is not None)
    app = Starlette(
        routes=[
            Route("/", overview.all_runs),
            Route("/compare", problems.compare),
            Route("/compare/{problem}", problems.compare_problem),
            Route("/runs/{run}", overview.overview),
            Route("/runs/{run}/report", overview.report),
            Route("/runs/{run}/samples", samples.table),
            Route("/runs/{run}/samples/{sample}", samples.sample),
            Route("/runs/{run}/samples/{sample}/molecule", samples.molecule),
            Route("/runs/{run}/samples/{sample}/molecule.svg", samples.drawing),
            Route("/runs/{run}/problems", problems.problems),
            Route("/runs/{run}/problems/{problem}", problems.problem),
            Route("/runs/{run}/problems/{problem}/{role}/{index:int}/molecule.svg", problems.drawing),
            Route("/static/{name}", _static),
            Route(LOGIN, _login),
            Route(SESSION, lambda _: Response(status_code=204)),
        ],
        exception_handlers={
            HTTPException: _refused,
            BadQueryError: _bad_query,
            duckdb.Error: _unreadable,
            OSError: _unreadable,
        },
    )
    app.state.site = site
    open_paths = [LOGIN, *(f"/static/{name}" for name in _STATIC)]
    # Accesses are worth logging only if there can be more than one user.
    log = "off" if key_file is None else "stderr"
    settings = GatewaySettings(key_file=key_file, open_paths=open_paths, access_log=log, metrics_path=None)
    settings.limits.requests_per_minute, settings.limits.burst = 6000.0, 600
    app.add_middleware(_Policy)
    install_gateway(app, settings, LocalLimiter(settings), keep_errors=True)
    if key_file is not None:
        app.add_middleware(Sessions)
    else:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    return app


class _Policy:
    """Sets the policy on every page that has none of its own, as the report and the molecule do."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.setdefault("headers", [])
                if not any(name == b"content-security-policy" for name, _ in headers):
                    headers.append((b"content-security-policy", POLICY.encode()))
            await send(message)

        await self._app(scope, receive, send_with)


def _static(request: Request) -> Response:
    if request.path_params["name"] not in _STATIC:
        raise HTTPException(404, "There is no such file.")
    file, kind = _STATIC[request.path_params["name"]]
    return Response(file.read_bytes(), media_type=kind, headers={"cache-control": "no-cache"})


def _login(request: Request) -> Response:
    return site_of(request).page(request, "login.html")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return site_of(request).page(
        request, "error.html", status=error.status_code, code=error.status_code, text=error.detail
    )


async def _bad_query(request: Request, error: Exception) -> Response:
    return site_of(request).page(request, "error.html", status=400, code=400, text=str(error))


async def _unreadable(request: Request, error: Exception) -> Response:
    """A run's file that has gone, or is of another version."""
    text = f"A file of this run cannot be read: {str(error).splitlines()[0]}"
    return site_of(request).page(request, "error.html", status=503, code=503, text=text)
