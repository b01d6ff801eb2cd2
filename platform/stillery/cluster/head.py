"""A local Ray head for submitted jobs, started as a daemon and stopped without touching other Ray processes.

Every process of a head is a daemon whose command line names the head's session folder, or a descendant of one; Ray's
own `ray stop` matches program names instead and stops every Ray on the machine.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from stillery.errors import UserError

# Ray 2.60 enables token authentication by default for clusters, but not for the clients that submit to them.
AUTH = {"RAY_AUTH_MODE": "token"}
CLIENT_PORT = 10001
GRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class Ports:
    """A head's ports: `gcs` for Ray's own processes, `dashboard` for jobs, `agent` for the dashboard's helper that
    starts them."""

    gcs: int = 6379
    dashboard: int = 8265
    agent: int = 52365


def start_head(ports: Ports, *, num_cpus: int | None = None, temp_dir: str | None = None) -> str:
    """Start a Ray head on loopback unless one already runs at this port. Returns a line that says which.

    `temp_dir` is the folder of its logs and sockets (Ray's default: /tmp/ray). Raises UserError if a port that the head
    needs is taken by another program, or Ray does not start.
    """
    address = f"http://127.0.0.1:{ports.dashboard}"
    if _gcs_server(ports.gcs) is not None:
        if not _taken(ports.dashboard):
            raise UserError(
                f"a Ray head runs at port {ports.gcs}, but its dashboard is not at port {ports.dashboard}; give the "
                f"right one with --dashboard-port, or another --port for a head of your own"
            )
        return f"Ray head runs already; jobs go to {address}"
    needed = (("--port", ports.gcs, "Ray"), ("--dashboard-port", ports.dashboard, "Ray's dashboard"),
              ("--agent-port", ports.agent, "Ray's job agent"))  # fmt: skip
    for option, port, what in needed:
        if not 1024 <= port <= 65535:
            raise UserError(f"{option} {port}: a port must lie between 1024 and 65535")
        if _taken(port):
            raise UserError(
                f"port {port}, which {what} needs, is taken by another program; stop it, or choose another with "
                f"{option}"
            )
    # Jobs run with the head's PATH: this environment's interpreter must come first in it.
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    environment = {**os.environ, **AUTH, "PATH": path}
    # Creates ~/.ray/auth_token unless it exists; it prints the token, which must not get into a log.
    _ray("get-auth-token", "--generate", environment=environment)
    _ray(
        *("start", "--head", "--node-ip-address", "127.0.0.1", "--port", str(ports.gcs)),
        *("--dashboard-host", "127.0.0.1", "--dashboard-port", str(ports.dashboard)),
        *("--dashboard-agent-listen-port", str(ports.agent)),
        *("--ray-client-server-port", str(_free_port() if _taken(CLIENT_PORT) else CLIENT_PORT)),
        *("--num-cpus", str(num_cpus or max(4, os.cpu_count() or 1)), "--disable-usage-stats"),
        *(("--temp-dir", temp_dir) if temp_dir is not None else ()),
        environment=environment,
    )
    return f"started a Ray head on this machine; jobs go to {address}"


def stop_head(ports: Ports) -> str:
    """Stop the head of this machine at `ports.gcs`, with everything that runs on it, and no other. Returns a line that
    says what was done.

    Raises UserError if some of its processes outlive SIGKILL.
    """
    gcs = _gcs_server(ports.gcs)
    if gcs is None:
        return f"no Ray head runs at port {ports.gcs}"
    session = next(part.partition("=")[2] for part in _command(gcs) if part.startswith("--session-dir="))
    daemons = [gcs, *_daemons(session, besides=gcs)]
    # Descendants are listed before anything is killed: those of a dead process have no parent. Ray's own order is kept:
    # the raylet ends its workers, and the rest fails loudly if the GCS server is ended before it.
    raylets = [process for process in daemons if _name(process) == "raylet"]
    everything = {process: None for daemon in daemons for process in (daemon, *_descendants(daemon))}
    others = [process for process in everything if process not in raylets and process != gcs]
    alive = _end(raylets) + _end(others) + _end([gcs])
    if alive:
        raise UserError(f"could not stop process {alive[0].pid} of the Ray head at port {ports.gcs}")
    # `ray.init()` follows this file of the latest head, and would look for a dead one.
    latest = Path(session).parent / "ray_current_cluster"
    if latest.is_file() and latest.read_text().strip().endswith(f":{ports.gcs}"):
        latest.unlink()
    return f"stopped the Ray head at port {ports.gcs} ({len(everything)} processes)"


def _gcs_server(port: int) -> psutil.Process | None:
    """The GCS server, the central process of the head at this port."""
    for process in psutil.process_iter():
        if _name(process) == "gcs_server" and f"--gcs_server_port={port}" in _command(process):
            return process
    return None


def _daemons(session: str, *, besides: psutil.Process) -> list[psutil.Process]:
    """The processes started for a session's folder."""
    daemons: list[psutil.Process] = []
    for process in psutil.process_iter():
        flags = (part for part in _command(process) if part.startswith("--"))
        if process != besides and any(session in flag for flag in flags):
            daemons.append(process)
    return daemons


def _end(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """SIGTERM, and SIGKILL for those still alive after a while. Returns those that survive even that."""
    for process in processes:
        if process.is_running():
            process.terminate()
    _, left = psutil.wait_procs(processes, timeout=GRACE_S)
    for process in left:
        if process.is_running():
            process.kill()
    return psutil.wait_procs(left, timeout=GRACE_S)[1]


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""  # it has ended, or belongs to another user


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _ray(*arguments: str, environment: dict[str, str]) -> None:
    command = [shutil.which("ray", path=environment["PATH"]) or "ray", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise UserError(f"`ray {arguments[0]}` failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}")


def _taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
