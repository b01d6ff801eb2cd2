"""`stillery serve`: the endpoint in the foreground, until Ctrl-C."""

import contextlib
import logging
import os
import time
from collections.abc import Sequence
from typing import Any

from stillery.config import ClusterConfig
from stillery.errors import UserError
from stillery.registry.resolve import NoSuchVersionError, find_version
from stillery.serving import proxy
from stillery.serving.backend import MODEL_APPLICATION
from stillery.serving.gateway import check_binding
from stillery.serving.settings import APPLICATION, Endpoint, ServeSettings, load_endpoint, served_name, to_yaml

_POLL_S = 0.5


def serve_endpoint(config: str | None, overrides: Sequence[str], *, show_config: bool) -> None:
    """Serve until Ctrl-C. Raises UserError for settings that cannot work, before anything starts."""
    endpoint = load_endpoint(config, overrides)
    if show_config:
        print(to_yaml(endpoint), end="")
        return
    check_binding(endpoint.host, endpoint.settings.gateway)
    _say_what_is_served(endpoint.settings)
    _run(endpoint)


def _say_what_is_served(settings: ServeSettings) -> None:
    try:
        found = find_version(settings.model, tracking_uri=settings.tracking_uri)
    except NoSuchVersionError as error:
        if settings.fallback is None:
            raise
        find_version(settings.fallback, tracking_uri=settings.tracking_uri)
        print(f"{error}\nserving {settings.fallback} until there is such a version", flush=True)
        return
    print(f"serving {found.source} as {served_name(settings)}", flush=True)


def _run(endpoint: Endpoint) -> None:
    from stillery.cluster.connect import connect

    started = time.monotonic()
    # Takes effect if this starts Ray: its proxies read it when they start.
    os.environ.setdefault(proxy.VARIABLE, proxy.CALLBACK)
    connect(ClusterConfig(), dashboard=False)
    import ray
    from ray import serve

    from stillery.serving.application import build_application

    # Serve's own lines name deployments and replicas; ours report what a person waits for.
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start(http_options={"host": endpoint.host, "port": endpoint.port})
    try:
        serve.run(build_application(endpoint.settings), name=APPLICATION, route_prefix="/")
        state = _wait_until_ready()
        name = served_name(endpoint.settings)
        url = f"http://{endpoint.host}:{endpoint.port}"
        version = state["serving"]["version"]
        print(f"ready after {time.monotonic() - started:.0f} s: {name} ({version}) at {url}/v1, for people at {url}/")
        print("Ctrl-C stops it", flush=True)
        _follow()
    except KeyboardInterrupt:
        print("\nstopping; requests that are under way are finished first (Ctrl-C again: not)", flush=True)
    finally:
        # Only our own applications: the cluster may serve others. The follower goes first, as it deploys.
        with contextlib.suppress(KeyboardInterrupt):
            for name in (APPLICATION, MODEL_APPLICATION):
                serve.delete(name)
            ray.shutdown()


def _wait_until_ready() -> dict[str, Any]:
    """The follower's state once a version serves. Raises UserError if the first one was rejected."""
    while True:
        state = _state()
        if state is not None and state["serving"] and state["num_replicas"]:
            return state
        if state is not None and state["failed"]:
            version, reason = next(iter(state["failed"].items()))
            raise UserError(f"version {version} of the model did not come up: {reason}")
        time.sleep(_POLL_S)


def _follow() -> None:
    """Report which version serves, whenever that changes; until Ctrl-C."""
    said = _state()
    while True:
        time.sleep(2)
        state = _state()
        for line in changes(said, state) if said is not None and state is not None else []:
            print(line, flush=True)
        said = state or said


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The changes of the follower's state worth reporting, a line each."""
    lines: list[str] = []
    if after["starting"] and after["starting"] != before["starting"]:
        lines.append(f"version {after['starting']['version']} is coming up")
    if after["serving"] and after["serving"] != before["serving"]:
        lines.append(f"version {after['serving']['version']} is serving")
    new = set(after["failed"]) - set(before["failed"])
    lines += [f"version {version} was refused: {after['failed'][version]}" for version in sorted(new)]
    if after["registry"] != before["registry"]:
        lines.append(f"registry: {after['registry'] or 'answers again'}")
    return lines


def _state() -> dict[str, Any] | None:
    """The follower's state; None if it does not answer, for example while it is being replaced."""
    from ray import serve
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    handle: Any = serve.get_deployment_handle("follower", app_name=APPLICATION)
    try:
        return handle.state.remote().result(timeout_s=30)
    except (RayError, RayServeException, TimeoutError):
        return None
