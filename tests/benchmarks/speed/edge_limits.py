#!/usr/bin/env python3
"""A phone without a phone: the smallest memory in which an artifact gives the same answers as without a limit.

    python tests/benchmarks/speed/edge_limits.py
        onnx=runs/export/onnx-int8 executorch=runs/export/executorch-8da4w [--problems 5]

Each artifact is loaded in its own runtime in a fresh process on one core and one thread, and answers problems greedily:
first without a limit, then under decreasing limits on its address space (RLIMIT_AS, by bisection to `--step-mb`). A
limit is enough if the process exits normally and every answer has the same tokens as without a limit. Address space is
more than memory in use: it includes the whole interpreter and every mapped library, among them Python's and PyTorch's,
which a phone's runner doesn't have. Compare forms of one format, and see the peak of resident memory.

Exits with status 1 if an artifact doesn't answer even without a limit.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "platform"))

from stillery.export.formats import FORMATS, format_named  # noqa: E402
from stillery.problems.buckets import Bucket, draw  # noqa: E402

_MB = 1 << 20
_MAX_NEW_TOKENS = 256
_CHILD_TIMEOUT_S = 600


@dataclass(frozen=True)
class Outcome:
    """What a process that answered says of itself. `answers` are token ids by problem; sizes in MB."""

    answers: list[list[int]]
    load_s: float
    answer_s: float
    peak_resident_mb: int
    peak_address_space_mb: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifacts", nargs="+", metavar="FORMAT=FOLDER", help=f"formats: {', '.join(FORMATS)}")
    parser.add_argument("--problems", type=int, default=5)
    parser.add_argument("--step-mb", type=int, default=16)
    parser.add_argument("--limit-mb", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer:
        return answer(arguments.artifacts[0], num_problems=arguments.problems, limit_mb=arguments.limit_mb)
    rows: list[str] = []
    for artifact in arguments.artifacts:
        row = measure(artifact, num_problems=arguments.problems, step_mb=arguments.step_mb)
        if row is None:
            return 1
        rows.append(row)
    print(
        f"\n{arguments.problems} problems, {platform.machine()}, one of {os.cpu_count()} cores, {datetime.date.today()}"
    )
    print("| artifact | files MB | resident peak MB | smallest limit MB | load s | s an answer |")
    print("|---|---|---|---|---|---|")
    print("\n".join(rows))
    return 0


def measure(artifact: str, *, num_problems: int, step_mb: int) -> str | None:
    """Find the smallest limit for one artifact and return its row; None if it doesn't answer at all."""
    free, error = run(artifact, num_problems=num_problems, limit_mb=None)
    if free is None:
        print(f"{artifact} does not answer without a limit:\n{error}")
        return None
    too_small, enough, at_limit = 0, free.peak_address_space_mb, free
    while enough - too_small > step_mb:
        limit = (too_small + enough) // 2
        found, _ = run(artifact, num_problems=num_problems, limit_mb=limit)
        answers = found is not None and found.answers == free.answers
        print(f"{artifact}: {limit} MB {'is enough' if answers else 'is too small'}", flush=True)
        if found is not None and answers:
            enough, at_limit = limit, found
        else:
            too_small = limit
    files_mb = sum(path.stat().st_size for path in Path(artifact.partition("=")[2]).iterdir()) / _MB
    each_s = at_limit.answer_s / num_problems
    return (
        f"| {artifact} | {files_mb:.2f} | {free.peak_resident_mb} | {enough} | {at_limit.load_s:.1f} | {each_s:.2f} |"
    )


def run(artifact: str, *, num_problems: int, limit_mb: int | None) -> tuple[Outcome | None, str]:
    """Answer the problems in a fresh process; (None, the end of its errors) if it fails or takes too long."""
    command = [sys.executable, __file__, artifact, "--answer", "--problems", str(num_problems)]
    command += ["--limit-mb", str(limit_mb)] if limit_mb is not None else []
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        done = subprocess.run(
            command, env=os.environ | threads, capture_output=True, text=True, timeout=_CHILD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return None, f"no answer within {_CHILD_TIMEOUT_S} s"
    if done.returncode != 0 or not done.stdout.strip():
        return None, done.stderr[-2000:]
    return Outcome(**json.loads(done.stdout.splitlines()[-1])), ""


def answer(artifact: str, *, num_problems: int, limit_mb: int | None) -> int:
    """The child: take the limit, load, answer, and print an Outcome as one line of JSON."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if limit_mb is not None:
        resource.setrlimit(resource.RLIMIT_AS, (limit_mb * _MB, limit_mb * _MB))
    name, _, folder = artifact.partition("=")
    started = time.monotonic()
    runtime = format_named(name).load(Path(folder))
    loaded = time.monotonic()
    answers: list[list[int]] = []
    for problem in draw(Bucket.TEST, task="equations", count=num_problems, seed=0):
        prompt = runtime.tokenize(runtime.render(problem.question))
        answers.append(runtime.generate(prompt, max_new_tokens=_MAX_NEW_TOKENS))
    found: dict[str, Any] = {"answers": answers, "load_s": loaded - started, "answer_s": time.monotonic() - loaded}
    found["peak_resident_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    found["peak_address_space_mb"] = _peak_address_space_mb()
    print(json.dumps(found), flush=True)
    runtime.close()
    return 0


def _peak_address_space_mb() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmPeak:"):
            return int(line.split()[1]) // 1024 + 1
    raise RuntimeError("/proc/self/status has no VmPeak; this trial needs Linux")


if __name__ == "__main__":
    sys.exit(main())
