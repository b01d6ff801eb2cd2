"""The gateway of an endpoint: middleware that checks each request before it reaches a model, and each response on its
way out.

`install_gateway` puts it in front of any ASGI application. It is independent of Ray and vLLM; only `shared_limiter`
uses Ray, to share one set of limits between replicas.
"""

from stillery.serving.gateway.errors import ApiError
from stillery.serving.gateway.install import check_binding, install_gateway
from stillery.serving.gateway.limits import LimitDecision, Limiter, LocalLimiter
from stillery.serving.gateway.settings import GatewaySettings, KeyLimits, ParameterBounds

__all__ = [
    "ApiError",
    "GatewaySettings",
    "KeyLimits",
    "LimitDecision",
    "Limiter",
    "LocalLimiter",
    "ParameterBounds",
    "check_binding",
    "install_gateway",
]
