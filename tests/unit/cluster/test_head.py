"""Starting and stopping a head: occupied ports are named, and of several Rays only the right one is stopped.

Processes with a head's names and arguments stand in for Ray's; tests/e2e/test_submit.py starts and stops a real one.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillery.cluster.head import Ports, start_head, stop_head
from stillery.errors import UserError


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("option", ["--port", "--dashboard-port", "--agent-port"])
def test_a_taken_port_is_named_with_the_option_that_moves_it(taken: int, option: str) -> None:
    options = ("--port", "--dashboard-port", "--agent-port")
    ports = Ports(*(taken if option == name else free_port() for name in options))
    with pytest.raises(UserError, match=rf"port {taken}, which .* needs, is taken .* with {option}"):
        start_head(ports)


def test_a_port_that_is_none_is_named() -> None:
    with pytest.raises(UserError, match=r"--agent-port 80: a port must lie between 1024 and 65535"):
        start_head(Ports(free_port(), free_port(), 80))


class FakeHead:
    """Three daemons of a session, the raylet with a worker below it."""

    def __init__(self, folder: Path, port: int) -> None:
        session = folder / f"session_{port}"
        commands = {
            "gcs_server": f"--gcs_server_port={port}",
            "raylet": f"--gcs-address=127.0.0.1:{port}",
            "dashboard": f"--gcs-address=127.0.0.1:{port}",
        }
        self.port = port
        self.processes: dict[str, subprocess.Popen[str]] = {}
        for name, flag in commands.items():
            program = folder / str(port) / name
            program.parent.mkdir(exist_ok=True)
            shutil.copy("/bin/sh", program)
            script = "sleep 60 & echo $!; wait"
            self.processes[name] = subprocess.Popen(
                [program, "-c", script, name, flag, f"--session-dir={session}"], stdout=subprocess.PIPE, text=True
            )
        self.workers = [int(process.stdout.readline()) for process in self.processes.values() if process.stdout]

    def num_alive(self) -> int:
        alive = sum(process.poll() is None for process in self.processes.values())
        return alive + sum(_is_running(worker) for worker in self.workers)

    def end(self) -> None:
        for process, worker in zip(self.processes.values(), self.workers, strict=True):
            process.kill()
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
            process.communicate()


def _is_running(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
def test_only_the_head_at_the_port_is_stopped(tmp_path: Path) -> None:
    heads = [FakeHead(tmp_path, free_port()) for _ in range(2)]
    mine, other = heads
    latest = tmp_path / "ray_current_cluster"
    latest.write_text(f"127.0.0.1:{mine.port}")
    try:
        assert (mine.num_alive(), other.num_alive()) == (6, 6)
        assert stop_head(Ports(gcs=mine.port)) == f"stopped the Ray head at port {mine.port} (6 processes)"
        assert (mine.num_alive(), other.num_alive()) == (0, 6)
        assert not latest.exists(), "ray.init() would look for a head that is dead"
        assert stop_head(Ports(gcs=mine.port)) == f"no Ray head runs at port {mine.port}"
    finally:
        for head in heads:
            head.end()
