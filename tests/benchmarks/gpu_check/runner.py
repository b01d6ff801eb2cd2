"""Runs each path in its own process, with a time limit, and reports it as proven, failed or missing.

A path is a function of a device ("cuda" or "cpu") that returns its figures or raises. Its process writes the outcome to
a file; a process that crashes or hangs writes none. Its output goes to a log.
"""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gpu_check.evidence import Figures

ROOT = Path(__file__).parents[3]
PROVEN, FAILED, MISSING, REHEARSED = "proven", "failed", "missing", "rehearsed"

# Time for a path to stop what it started (an endpoint takes 40 s at most) before it is killed.
GRACE_S = 60.0

# Models lie in the repository, so nothing has to be looked up; and a cluster of the user's is left alone.
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "RAY_ADDRESS": "local",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_NO_USAGE_STATS": "1",
    # As in a Ray actor, where vLLM never forks.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}


@dataclass(frozen=True, slots=True)
class CheckPath:
    """`target` is module:function; without one of `packages` the path is missing and not started."""

    name: str
    target: str
    packages: tuple[str, ...]
    timeout_s: float = 240.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a path. `detail` is the reason of a failure, or the packages that are missing."""

    name: str
    state: str
    detail: str = ""
    figures: Figures = field(default_factory=dict)
    seconds: float = 0.0
    log: str | None = None

    def line(self) -> str:
        """The outcome as one line."""
        if self.state == MISSING:
            return f"{self.name:<10} missing: {self.detail}"
        said = self.detail or ", ".join(f"{name} {_shown(value)}" for name, value in self.figures.items())
        log = f" (log: {self.log})" if self.state == FAILED else ""
        return f"{self.name:<10} {self.state:<10}{self.seconds:6.1f} s  {said}{log}"


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """1 if a path failed, 2 if every one is missing, else 0."""
    if any(outcome.state == FAILED for outcome in outcomes):
        return 1
    return 2 if all(outcome.state == MISSING for outcome in outcomes) else 0


def run_path(path: CheckPath, *, device: str, timeout_s: float | None, logs: Path, grace_s: float = GRACE_S) -> Outcome:
    """Run one path; never raises for what the path does. `timeout_s` None: the path's own limit."""
    missing = [name for name in path.packages if importlib.util.find_spec(name) is None]
    if missing:
        return Outcome(path.name, MISSING, ", ".join(missing))
    log, report = logs / f"{path.name}.log", logs / f"{path.name}.json"
    report.unlink(missing_ok=True)
    limit_s = path.timeout_s if timeout_s is None else timeout_s
    command = [sys.executable, "-m", "benchmarks.gpu_check.child", path.target, device, str(report)]
    started = time.monotonic()
    with log.open("wb") as output:
        # A group of its own: what the path starts ends with it and does not hold the GPU.
        process = subprocess.Popen(command, env=_environment(), stdout=output, stderr=output, start_new_session=True)
        try:
            process.wait(timeout=limit_s)
            ended = True
        except subprocess.TimeoutExpired:
            ended = False
        finally:
            _stop(process, grace_s=grace_s)
    seconds = time.monotonic() - started
    if not ended:
        detail = f"still running after {limit_s:g} s"
        return Outcome(path.name, FAILED, detail, seconds=seconds, log=str(log))
    if not report.is_file():
        return Outcome(path.name, FAILED, _crash(process.returncode), seconds=seconds, log=str(log))
    said = json.loads(report.read_text(encoding="utf-8"))
    state = REHEARSED if said["state"] == PROVEN and device != "cuda" else said["state"]
    return Outcome(path.name, state, said["detail"], said["figures"], seconds, str(log))


def _environment() -> dict[str, str]:
    inherited = os.environ.get("PYTHONPATH")
    sources = [str(ROOT / "platform"), str(ROOT / "tests"), *([inherited] if inherited else [])]
    return {**os.environ, **_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sources)}


def _stop(process: subprocess.Popen[bytes], *, grace_s: float) -> None:
    """End the process, asked first, and then what is left of its group."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _crash(code: int) -> str:
    if code < 0:
        return f"its process was killed by {signal.Signals(-code).name}"
    return f"its process ended with code {code} and no report"


def _shown(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
