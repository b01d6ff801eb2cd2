"""The doors of an endpoint: what a request passes before it reaches a model, and what it passes on its way out.

`install_doors` puts them in front of any ASGI application. They know nothing of Ray or vLLM; only
`shared_limiter` uses Ray, to share one set of limits between replicas.
"""

from stillery.serving.gateway.errors import RefusalError
from stillery.serving.gateway.install import check_binding, install_doors
from stillery.serving.gateway.limits import Decision, Limiter, LocalLimiter
from stillery.serving.gateway.settings import DoorSettings, KeyLimits, ParameterBounds

__all__ = [
    "Decision",
    "DoorSettings",
    "KeyLimits",
    "Limiter",
    "LocalLimiter",
    "ParameterBounds",
    "RefusalError",
    "check_binding",
    "install_doors",
]
