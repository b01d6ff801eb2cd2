"""Deploys the model application and waits until it serves or has failed."""

import time
from typing import Any

from stillery.registry.resolve import ServedModel
from stillery.serving.backend import MODEL_APPLICATION, MODEL_DEPLOYMENT, MODEL_ROUTE
from stillery.serving.following import RolloutFailedError
from stillery.serving.model_server import ModelServer, placement_bundles, settings_digest
from stillery.serving.replicas import QUIET, actor_options
from stillery.serving.settings import ServeSettings, to_args

_POLL_S = 0.5
_ASK_TIMEOUT_S = 10.0
# A version that cannot start fails in the same way each time; the second try covers external failures.
_START_ATTEMPTS = 2


def model_application(served: ServedModel, settings: ServeSettings) -> Any:
    """The Serve application of one version, which answers chats directly and serves the ingress's calls."""
    from ray import serve

    engine, ingress = settings.engine, settings.ingress
    # The replica itself decides which admitted requests run, wait or are refused: Serve's own limit must not let
    # unauthenticated clients take the places of authenticated ones.
    max_inside = engine.max_ongoing_requests + engine.max_queued_requests + ingress.max_ongoing_requests
    scaling: dict[str, Any] = {"num_replicas": engine.replicas}
    if engine.autoscaling is not None:
        scaling = {
            "autoscaling_config": {"target_ongoing_requests": engine.max_ongoing_requests / 2} | engine.autoscaling
        }
    deployment: Any = serve.deployment(
        serve.ingress()(ModelServer),
        name=MODEL_DEPLOYMENT,
        max_ongoing_requests=max_inside,
        max_queued_requests=ingress.max_ongoing_requests,
        max_surge_percent=settings.follow.surge_percent,
        max_constructor_retry_count=_START_ATTEMPTS,
        graceful_shutdown_timeout_s=settings.follow.drain_timeout_s,
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=2,
        health_check_timeout_s=30,
        ray_actor_options=actor_options(num_cpus=engine.num_cpus),
        placement_group_bundles=placement_bundles(engine),
        placement_group_strategy="PACK",
        logging_config=QUIET,
        backpressure_config={"status_code": 503, "retry_after_s": engine.retry_after_s},
        **scaling,
    )
    return deployment.bind(served, to_args(settings))


def roll_out(served: ServedModel, settings: ServeSettings) -> None:
    """Bring a version into service over the current one. Returns once it alone takes new requests.

    Raises RolloutFailedError, with the old one still serving, if its replicas do not come up within
    `follow.start_timeout_s` or fail.
    """
    from ray import serve
    from ray.serve.schema import ApplicationStatus

    target = serve.RunTarget(
        target=model_application(served, settings), name=MODEL_APPLICATION, route_prefix=MODEL_ROUTE
    )
    serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
    deadline = time.monotonic() + settings.follow.start_timeout_s
    while time.monotonic() < deadline:
        time.sleep(_POLL_S)
        application = serve.status().applications.get(MODEL_APPLICATION)
        if application is None:
            continue
        if application.status == ApplicationStatus.RUNNING:
            return
        if application.status == ApplicationStatus.DEPLOY_FAILED:
            raise RolloutFailedError(_reason(application))
    raise RolloutFailedError(
        f"it was not up within {settings.follow.start_timeout_s:g} s; is there room for its replicas beside the old "
        f"ones? (follow.surge_percent={settings.follow.surge_percent})"
    )


def _reason(application: Any) -> str:
    """Serve's message on the failed deployment: the last line of the replica's error."""
    messages = [d.message for d in application.deployments.values() if d.message] or [application.message]
    lines = [line.strip() for line in "\n".join(messages).splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line]
    return (telling[-1] if telling else lines[-1] if lines else "no reason was given")[:500]


def is_deployed() -> bool:
    """Whether the model's application exists, in whatever state."""
    from ray import serve

    return MODEL_APPLICATION in serve.status().applications


def count_replicas() -> int:
    """The number of the model's replicas that take requests."""
    from ray import serve
    from ray.serve.schema import ReplicaState

    application = serve.status().applications.get(MODEL_APPLICATION)
    deployment = application and application.deployments.get(MODEL_DEPLOYMENT)
    return deployment.replica_states.get(ReplicaState.RUNNING, 0) if deployment else 0


def running_version(settings: ServeSettings) -> ServedModel | None:
    """The version that already runs with these settings, for a restarted follower."""
    from ray import serve
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException
    from ray.serve.schema import ApplicationStatus

    application = serve.status().applications.get(MODEL_APPLICATION)
    if application is None or application.status != ApplicationStatus.RUNNING:
        return None
    handle: Any = serve.get_deployment_handle(MODEL_DEPLOYMENT, app_name=MODEL_APPLICATION)
    try:
        served, digest = handle.served.remote().result(timeout_s=_ASK_TIMEOUT_S)
    except (RayError, RayServeException, TimeoutError):
        return None
    return served if digest == settings_digest(settings) else None
