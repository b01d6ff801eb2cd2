"""Servers for the serving trials: ours, and bare `vllm serve` with the same engine settings. One at a time."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stillery.sampling.models import resolve_model
from stillery.serving.model_server import engine_kwargs
from stillery.serving.settings import EngineSettings, load_settings, served_name

ROOT = Path(__file__).parents[2]
READY_WITHIN_S = 300.0


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    url: str
    model: str
    process: subprocess.Popen[bytes]
    log: Path
    ready_after_s: float

    def memory_by_process(self) -> dict[int, tuple[str, int]]:
        """For each of the server's processes, by id: its title, and its resident memory in MiB (shared pages count once
        per process)."""
        found: dict[int, tuple[str, int]] = {}
        for pid in session_of(self.process.pid):
            with contextlib.suppress(OSError):
                found[pid] = _title(pid), _resident_kib(pid) // 1024
        return found

    def cpu_seconds(self) -> dict[int, tuple[str, float]]:
        """For each of the server's processes, by id: its title, and its CPU time so far."""
        found: dict[int, tuple[str, float]] = {}
        for pid in session_of(self.process.pid):
            with contextlib.suppress(OSError):
                found[pid] = _title(pid), _cpu_seconds(pid)
        return found


def session_of(leader: int) -> list[int]:
    """The processes of the session led by `leader`, including Ray's daemons and workers."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(ProcessLookupError, PermissionError, ValueError):
                if os.getsid(int(entry.name)) == leader:
                    found.append(int(entry.name))
    return found


def _resident_kib(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in (Path("/proc") / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def _title(pid: int) -> str:
    """The title of a process: Ray's workers and vLLM's processes set their own, a daemon has its program's name."""
    words = (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").split()
    if not words:
        return "?"
    return words[0] if "::" in words[0] else Path(words[0]).name


def _cpu_seconds(pid: int) -> float:
    # After the name, which is in brackets and may hold blanks: state, 10 numbers, then user and system ticks.
    fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def stillery_endpoint(model: str, *overrides: str, home: Path | None = None) -> Iterator[Server]:
    """`stillery serve` on its own Ray cluster."""
    port = free_port()
    command = [sys.executable, "-m", "stillery.cli.main", "serve", f"port={port}", f"model={model}", *overrides]
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "platform"),
            "RAY_ADDRESS": "local",
            "RAY_AUTH_MODE": "disabled",
            "RAY_TMPDIR": folder,
            "RAY_USAGE_STATS_ENABLED": "0",
            "STILLERY_HOME": str(home or folder),
        }
        name = served_name(load_settings({"model": model}))
        with _server("stillery", command, environment, port=port, path="/ready", model=name) as server:
            yield server


@contextlib.contextmanager
def bare_vllm(model: str, *, own_worker: bool = False) -> Iterator[Server]:
    """`vllm serve` with the engine settings of our endpoint, except for the reasoning parser, which it does not need.
    `own_worker`: with the worker in its own process, vLLM's default on a CPU."""
    port = free_port()
    engine = EngineSettings(reasoning_parser=None)
    flags = [f"--{name.replace('_', '-')}" for name, value in engine_kwargs(engine).items() if value is True]
    flags += [f"--no-{name.replace('_', '-')}" for name, value in engine_kwargs(engine).items() if value is False]
    # The module rather than the command, which the distribution for CPUs breaks by its other name.
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", resolve_model(model)),
        *("--served-model-name", "bare", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", *flags),
    ]
    environment = {
        **os.environ,
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": str(engine.cpu_kv_cache_gb),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
    }
    if not own_worker:
        # What lets vLLM leave its one worker in the engine's process on a CPU, as our endpoint does.
        environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        command += ["--distributed-executor-backend", "uni"]
    with _server("vllm serve", command, environment, port=port, path="/health", model="bare") as server:
        yield server


@contextlib.contextmanager
def _server(
    name: str, command: list[str], environment: dict[str, str], *, port: int, path: str, model: str
) -> Iterator[Server]:
    url = f"http://127.0.0.1:{port}"
    with tempfile.NamedTemporaryFile(prefix="server-", suffix=".log", delete=False) as log:
        started = time.monotonic()
        # A session of its own: everything that the server starts is found by it, and nothing else.
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait_until_ready(process, url + path, Path(log.name))
            seconds = time.monotonic() - started
            yield Server(name, url, model, process, Path(log.name), seconds)
        finally:
            _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            if urllib.request.urlopen(url, timeout=5).status == 200:
                return
        time.sleep(0.5)
    raise RuntimeError(f"the server was not ready within {READY_WITHIN_S:.0f} s:\n{log.read_text()[-3000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C, then end the rest of its session."""
    with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
        process.send_signal(signal.SIGINT)
        process.wait(timeout=40)
    for pid in session_of(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
