"""The route template of a request, for logs and metrics."""

from typing import Any

from stillery.serving.gateway.asgi import Scope

UNMATCHED = "unmatched"


def route_of(scope: Scope) -> str:
    """The path template of the first route that matches, such as `/v1/models/{model:path}`; `unmatched` for none.

    The path itself may contain anything that a client sends, and must not reach a log or a label.
    """
    application: Any = scope.get("app")
    for route in getattr(application, "routes", ()):
        match, _ = route.matches(scope)
        # starlette.routing.Match: NONE is 0; PARTIAL is the right path with another method.
        if match.value:
            return str(getattr(route, "path", UNMATCHED))
    return UNMATCHED
