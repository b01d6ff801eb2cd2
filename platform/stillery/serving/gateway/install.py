"""Installs the gateway in front of an application, and restricts an endpoint without keys to loopback."""

import ipaddress
import time
from pathlib import Path
from typing import TYPE_CHECKING

from stillery.errors import UserError
from stillery.serving.gateway.access_log import AccessLog
from stillery.serving.gateway.keys import read_keys
from stillery.serving.gateway.limits import Limiter
from stillery.serving.gateway.settings import GatewaySettings, check_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from prometheus_client import Metric
    from starlette.applications import Starlette

    from stillery.serving.gateway.metrics import Metrics


def install_gateway(
    app: "Starlette",
    settings: GatewaySettings,
    limiter: Limiter,
    *,
    keep_errors: bool = False,
    metrics: "Metrics | None" = None,
    other_metrics: "Callable[[], Awaitable[list[Metric]]] | None" = None,
) -> None:
    """Put the gateway in front of `app`. Call it last: middleware that is added later is outside it.

    An application for people may `keep_errors`: its own pages for errors, where an API has one error format. It counts
    in `metrics` (null: its own), and shows `other_metrics`, from another process, beside them. Nothing is opened before
    the application's first request, so an application installed without `metrics` can be pickled. Raises UserError for
    settings that cannot work, a key file that is missing or broken, or a log that cannot be written.
    """
    from starlette.middleware.cors import CORSMiddleware

    from stillery.serving.gateway.middleware import Gateway

    check_settings(settings)
    if settings.key_file is not None:
        read_keys(Path(settings.key_file))
    AccessLog(settings.access_log)
    app.add_middleware(
        Gateway,
        settings=settings,
        limiter=limiter,
        keep_errors=keep_errors,
        metrics=metrics,
        other_metrics=other_metrics,
    )
    if settings.cors_origins:
        # Outside the gateway: a browser's preflight carries no key, and the browser must be able to read errors.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=["x-request-id", "retry-after"],
        )


def check_binding(host: str, settings: GatewaySettings, *, set_by: str = "gateway.key_file") -> None:
    """Raise UserError if `host` is reachable from outside this machine and the endpoint has no active key. `set_by`
    tells the user how to set the key file."""
    if _is_loopback(host):
        return
    if settings.key_file is None:
        raise UserError(
            f"host {host} is reachable from other machines, but {set_by} is unset; make a key with "
            f"`stillery serve keys add NAME --file keys.jsonl` and set {set_by}, or bind to 127.0.0.1"
        )
    if not has_active_key(Path(settings.key_file)):
        raise UserError(
            f"host {host} is reachable from other machines, but key file {settings.key_file} holds no active key; "
            f"make one with `stillery serve keys add NAME --file {settings.key_file}`, or bind to 127.0.0.1"
        )


def has_active_key(path: Path) -> bool:
    """Whether a key file holds a key that is valid for the endpoint now. Raises UserError if it is missing or
    broken."""
    now = time.time()
    return any(record.state(now) == "active" and record.scope == "api" for record in read_keys(path).values())


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        # Another name may resolve to any address.
        return False
    return address.is_loopback
