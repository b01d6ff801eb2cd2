"""Connecting a driver to a Ray cluster."""

import json
import logging
import os
import socket
from pathlib import Path
from typing import Any

from stillery.cluster.worker_output import read_workers
from stillery.config import ClusterConfig
from stillery.errors import UserError
from stillery.telemetry import logs
from stillery.telemetry.marked import VARIABLE as LINES_VARIABLE

CONNECT_TIMEOUT_S = 10
# The number of attempts to start our own Ray on a machine that is too busy.
_STARTS = 3
_TORCH_LOG = "TORCH_CPP_LOG_LEVEL"


def connect(config: ClusterConfig, *, dashboard: bool = True) -> None:
    """Connect to Ray, once per process: the configured cluster, $RAY_ADDRESS, a head on this machine, or a new one.

    `dashboard`: whether a new one gets a dashboard, which takes seconds to start.

    Raises UserError if a cluster is set, by config or $RAY_ADDRESS, and does not answer.
    """
    # A head with a token refuses clients that send none, and a client sends it only if configured to, before ray loads.
    if (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray
    import ray.data

    if config.address not in (None, "auto", "local"):
        _check_answers(config.address)
    if ray.is_initialized():
        return
    reads = read_workers()
    address = config.address or os.environ.get("RAY_ADDRESS") or ("auto" if _running_head() else "local")
    if address not in ("auto", "local"):
        _check_answers(address)
    options: dict[str, Any] = {
        "log_to_driver": True,
        "logging_level": "warning",
        "runtime_env": runtime_env(is_read=reads),
    }
    if address == "local":
        # Ray Train queries the dashboard's state service for its workers' state, and complains every second without it.
        options |= {"num_cpus": config.num_cpus or max(4, os.cpu_count() or 1), "include_dashboard": dashboard}
    _init(address, options)
    # Our own lines report progress; Ray Data's plans and executor states would bury them. (It is imported above because
    # it sets its level on import.)
    logging.getLogger(ray.data.__name__).setLevel(logging.ERROR)
    # Errors that it logs with a traceback are raised too, and the code that catches them decides what the user sees.
    logging.getLogger("ray.data.exceptions").setLevel(logging.CRITICAL)


def _init(address: str, options: dict[str, Any]) -> None:
    import ray

    for _ in range(_STARTS):
        try:
            ray.init(address=address, **options)
            return
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"Ray at {address} is not reachable ({reason}); start one with `stillery head`") from None
        except Exception as error:
            # Ray raises a bare exception if one of its own processes takes longer than 30 s, which cannot be
            # configured; it leaves behind those that it has started.
            if type(error) is not Exception:
                raise
            ray.shutdown()
    raise UserError(
        f"Ray did not start on this machine in time, {_STARTS} times over: it is busy with other work; wait for that, "
        "or start a head beforehand with `stillery head`"
    )


def runtime_env(*, is_read: bool = False) -> dict[str, Any]:
    """The settings that let workers import this very code (a submitted job's uploaded folder, else its location here),
    and print in this process's format, or as marked lines where it reads their output. Settings that the job was
    submitted with already apply, and Ray refuses duplicates."""
    submitted: dict[str, Any] | None = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "null"))
    source_root = Path(__file__).parents[2]
    inside = submitted is not None and source_root.is_relative_to(Path.cwd())
    # The paths of the user's own code stay: this process's path, then the worker's, which Ray inserts there.
    paths = [str(source_root.relative_to(Path.cwd()) if inside else source_root), os.environ.get("PYTHONPATH")]
    variables = {
        "PYTHONPATH": os.pathsep.join([*filter(None, paths), "${PYTHONPATH}"]),
        # PyTorch's own warnings, such as each engine's on memory placement; shown only on request.
        _TORCH_LOG: os.environ.get(_TORCH_LOG, "ERROR"),
    }
    if is_read:
        variables[LINES_VARIABLE] = "driver"
    if logs.is_json():
        variables[logs.VARIABLE] = os.environ[logs.VARIABLE]
    told: dict[str, str] = ((submitted or {}).get("runtime_env") or {}).get("env_vars") or {}
    return {"env_vars": {name: value for name, value in variables.items() if name not in told}}


def _running_head() -> bool:
    from ray._private.services import find_gcs_addresses  # the call that ray.init(address="auto") itself makes

    return bool(find_gcs_addresses())


def _check_answers(address: str) -> None:
    """Raise UserError unless something listens at host:port; Ray itself would retry for two minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        raise UserError(f"Ray at {address} is not reachable ({error}); start one with `stillery head`") from None
