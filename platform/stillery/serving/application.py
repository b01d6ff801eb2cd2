"""The endpoint as a Ray Serve application, built by `serve run`, `serve deploy` and `stillery serve`."""

from collections.abc import Mapping
from typing import Any

from stillery.serving.follower import Follower
from stillery.serving.ingress import Ingress
from stillery.serving.replicas import QUIET, actor_options
from stillery.serving.settings import ServeSettings, load_settings, to_args


def build(args: Mapping[str, Any]) -> Any:
    """The application of a Serve config file's `args` (see stillery.serving.settings). Raises UserError."""
    return build_application(load_settings(args))


def build_application(settings: ServeSettings) -> Any:
    """The HTTP side and the follower, which deploys the model as a separate application beside this one."""
    from ray import serve

    args = to_args(settings)
    follower: Any = serve.deployment(
        Follower,
        name="follower",
        num_replicas=1,
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=5,
        logging_config=QUIET,
    )
    ingress: Any = serve.deployment(
        serve.ingress()(Ingress),
        name="ingress",
        num_replicas=settings.ingress.replicas,
        max_ongoing_requests=settings.ingress.max_ongoing_requests,
        max_queued_requests=settings.ingress.max_ongoing_requests,
        max_surge_percent=100,
        graceful_shutdown_timeout_s=settings.follow.drain_timeout_s,
        ray_actor_options=actor_options(num_cpus=settings.ingress.num_cpus),
        logging_config=QUIET,
        backpressure_config={"status_code": 503, "retry_after_s": settings.engine.retry_after_s},
    )
    return ingress.bind(args, follower.bind(args))
