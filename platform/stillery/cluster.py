"""The Ray cluster: connect a driver to it, or start a local head that jobs can be submitted to."""

import logging
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from stillery.config import ClusterConfig
from stillery.errors import UserError

DASHBOARD_PORT = 8265
GCS_PORT = 6379
CONNECT_TIMEOUT_S = 10

# Ray 2.60 turns token authentication on by itself for clusters, but not for the clients that submit to them.
AUTH = {"RAY_AUTH_MODE": "token"}


def connect(config: ClusterConfig) -> None:
    """Connect to Ray, once a process: the configured cluster, $RAY_ADDRESS, a head on this machine, or a new one.

    Raises UserError if a cluster is named, by config or $RAY_ADDRESS, and does not answer.
    """
    # A head with a token refuses clients that send none, and a client sends it only if told to, before ray loads.
    if (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray
    import ray.data

    if ray.is_initialized():
        return
    address = config.address or os.environ.get("RAY_ADDRESS") or ("auto" if _running_head() else "local")
    if address not in ("auto", "local"):
        _check_answers(address)
    options: dict[str, Any] = {"log_to_driver": True, "logging_level": "warning", "runtime_env": runtime_env()}
    if address == "local":
        # Ray Train asks the dashboard's state service how its workers are, and complains every second without it.
        options |= {"num_cpus": config.num_cpus or max(4, os.cpu_count() or 1), "include_dashboard": True}
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"Ray at {address} is not reachable ({reason}); start one with `stillery head`") from None
    # Our own lines say what is going on; Ray Data's plans and executor states would bury them. (It is imported
    # above because it sets its level when it is.)
    logging.getLogger(ray.data.__name__).setLevel(logging.ERROR)


def runtime_env() -> dict[str, Any]:
    """What workers need to import this very code: a submitted job's uploaded folder, else where it lies here."""
    submitted = os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") is not None
    source_root = Path(__file__).parent.parent
    inside = submitted and source_root.is_relative_to(Path.cwd())
    return {"env_vars": {"PYTHONPATH": str(source_root.relative_to(Path.cwd()) if inside else source_root)}}


def _running_head() -> bool:
    from ray._private.services import find_gcs_addresses  # what ray.init(address="auto") itself asks

    return bool(find_gcs_addresses())


def start_head(*, num_cpus: int | None = None) -> str:
    """Start a Ray head on loopback unless one runs already. Returns a line that says which.

    Raises UserError if a port that the head needs is taken by something else, or Ray does not start.
    """
    if _running_head():
        return f"Ray head runs already; jobs go to http://127.0.0.1:{DASHBOARD_PORT}"
    for port, what in ((GCS_PORT, "Ray"), (DASHBOARD_PORT, "Ray's dashboard")):
        if _taken(port):
            raise UserError(f"port {port}, which {what} needs, is taken by another program; stop it and try again")
    # Jobs run with the head's PATH: the interpreter of this environment must come first in it.
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    environment = {**os.environ, **AUTH, "PATH": path}
    # Makes ~/.ray/auth_token unless there is one; it prints the token, which must not get into a log.
    _ray("get-auth-token", "--generate", environment=environment)
    _ray(
        *("start", "--head", "--node-ip-address", "127.0.0.1", "--port", str(GCS_PORT)),
        *("--dashboard-host", "127.0.0.1", "--dashboard-port", str(DASHBOARD_PORT), "--disable-usage-stats"),
        *("--num-cpus", str(num_cpus or max(4, os.cpu_count() or 1))),
        environment=environment,
    )
    return f"started a Ray head on this machine; jobs go to http://127.0.0.1:{DASHBOARD_PORT}"


def _ray(*arguments: str, environment: dict[str, str]) -> None:
    command = [shutil.which("ray", path=environment["PATH"]) or "ray", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise UserError(f"`ray {arguments[0]}` failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}")


def _check_answers(address: str) -> None:
    """Raise UserError unless something listens at host:port; Ray itself would try for two minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        raise UserError(f"Ray at {address} is not reachable ({error}); start one with `stillery head`") from None


def _taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
