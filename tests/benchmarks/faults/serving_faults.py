#!/usr/bin/env python3
"""An endpoint under load through faults: a killed engine, a killed replica, a broken version, a missing registry.

    python tests/benchmarks/faults/serving_faults.py [--faults engine replica broken registry]

Two clients send requests without pause (steady_load.py) while a fault happens; one line per fault reports what they saw
and how long the endpoint took to recover.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from stillery.registry.promotion import promote, roll_back  # noqa: E402
from stillery.sampling.models import resolve_model  # noqa: E402
from support.endpoints import Server, session_of, stillery_endpoint  # noqa: E402
from support.registered_models import register_folder  # noqa: E402

NAME = "coin"
TEACHER = Path(resolve_model("embedded:teacher"))


class Load:
    """steady_load.py against a server: what it saw is known when it is stopped."""

    def __init__(self, server: Server) -> None:
        command = [sys.executable, str(ROOT / "tests" / "support" / "steady_load.py"), server.url]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)

    def stop(self) -> dict[str, Any]:
        out, _ = self._process.communicate("stop\n", timeout=120)
        return json.loads(out)


def processes(server: Server, title: str) -> list[int]:
    """The server's processes whose title holds these words."""
    found: list[int] = []
    for pid in session_of(server.process.pid):
        with contextlib.suppress(OSError):
            if title in (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode():
                found.append(pid)
    return found


def seconds_until(condition: Callable[[], bool], *, within_s: float = 240) -> float:
    started = time.monotonic()
    while time.monotonic() - started < within_s:
        with contextlib.suppress(httpx.HTTPError):
            if condition():
                return time.monotonic() - started
        time.sleep(0.25)
    raise TimeoutError(f"not within {within_s:.0f} s")


def answers(server: Server) -> bool:
    body = {"messages": [{"role": "user", "content": "What is 2 + 2?"}], "max_tokens": 8}
    return httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=20).status_code == 200


def ready(server: Server) -> dict[str, Any]:
    return httpx.get(f"{server.url}/ready", timeout=10).json()


def kill(server: Server, title: str) -> str:
    pids = processes(server, title)
    if not pids:
        raise RuntimeError(f"no process is called {title}")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    # The dead replica is found out first, then replaced.
    time.sleep(1)
    return f"answers again after {1 + seconds_until(lambda: answers(server)):.0f} s"


def kill_engine(server: Server, _: str) -> str:
    return kill(server, "EngineCore")


def kill_replica(server: Server, _: str) -> str:
    return kill(server, "ServeReplica:stillery-model")


def promote_broken(server: Server, registry: str) -> str:
    """A version that loads and babbles: its final norm is zero, so that every token is as likely as any other."""
    from safetensors.torch import load_file, save_file

    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / "broken"
        shutil.copytree(TEACHER, broken)
        weights = load_file(TEACHER / "model.safetensors")
        weights["model.norm.weight"] = weights["model.norm.weight"] * 0
        save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
        version = register_folder(NAME, broken, tracking_uri=registry)
        promote(NAME, version, tracking_uri=registry, force="a trial")
        # Serve starts it twice, beside an engine at work on the same cores.
        refused = seconds_until(lambda: version in ready(server)["refused_versions"], within_s=600)
        still = ready(server)["version"]
    roll_back(NAME, tracking_uri=registry)
    whole = seconds_until(lambda: ready(server)["starting"] is None)
    return f"refused after {refused:.0f} s, version {still} serving; settled {whole:.0f} s later"


def lose_registry(server: Server, registry: str) -> str:
    database = Path(registry.removeprefix("sqlite:///"))
    hidden = database.with_suffix(".hidden")
    database.rename(hidden)
    try:
        time.sleep(10)
        return f"ten seconds without it, version {ready(server)['version']} serving"
    finally:
        database.unlink(missing_ok=True)
        hidden.rename(database)


FAULTS = {"engine": kill_engine, "replica": kill_replica, "broken": promote_broken, "registry": lose_registry}


@contextlib.contextmanager
def endpoint() -> Iterator[tuple[Server, str]]:
    with tempfile.TemporaryDirectory() as folder:
        registry = f"sqlite:///{folder}/mlflow.db"
        promote(NAME, register_folder(NAME, TEACHER, tracking_uri=registry), tracking_uri=registry, force="the first")
        settings = [f"tracking_uri={registry}", "follow.poll_s=1", "probe.max_tokens=256"]
        with stillery_endpoint(f"models:/{NAME}@champion", *settings, home=Path(folder)) as server:
            print(f"ready after {server.ready_after_s:.0f} s", flush=True)
            yield server, registry


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    chosen = parser.parse_args(arguments)
    with endpoint() as (server, registry):
        for fault in chosen.faults:
            load = Load(server)
            time.sleep(3)
            try:
                told = FAULTS[fault](server, registry)
            finally:
                seen = load.stop()
            kinds = sorted({failure.split("\n")[0][:160] for failure in seen["failed"]})
            print(f"{fault}: {told}; answered {seen['answered']}, failed {len(seen['failed'])}: {kinds}", flush=True)


if __name__ == "__main__":
    main()
