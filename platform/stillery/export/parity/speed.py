"""Speed and memory of an artifact in a process of its own, on one thread.

    python -m stillery.export.parity.speed FORMAT FOLDER < {"prompts": [[token, ...], ...], "max_new_tokens": 64}

The process prints one line of JSON; a runtime that crashes takes down this process and not the export.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from stillery.errors import UserError
from stillery.export.formats import format_named

TIMEOUT_S = 600.0
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True, slots=True)
class Speed:
    """`memory_mib` is the growth of the process's peak resident size from before the artifact was loaded. The memory of
    a runtime in a process of its own counts fully, including its interpreter."""

    load_s: float
    memory_mib: float
    prompt_tokens_per_second: float
    decode_tokens_per_second: float


def measure_speed(format_name: str, folder: Path, prompts: Sequence[Sequence[int]], *, max_new_tokens: int) -> Speed:
    """Start the process and read its measurements. Raises UserError if it fails, with the end of its output."""
    asked = json.dumps({"prompts": [list(p) for p in prompts], "max_new_tokens": max_new_tokens})
    package_root = str(Path(__file__).parents[3])
    path = os.pathsep.join([package_root, *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        done = subprocess.run(
            [sys.executable, "-m", "stillery.export.parity.speed", format_name, str(folder)],
            input=asked, capture_output=True, text=True, timeout=TIMEOUT_S,
            env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UserError(f"{folder.name}: its runtime took more than {TIMEOUT_S:.0f} s to answer") from None
    if done.returncode != 0:
        end = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise UserError(f"{folder.name}: its runtime failed: {end[0]}")
    return Speed(**json.loads(done.stdout.strip().splitlines()[-1]))


def run(format_name: str, folder: Path, prompts: Sequence[Sequence[int]], *, max_new_tokens: int) -> Speed:
    """Load and answer in this process: each prompt once for one token, and once for `max_new_tokens`."""
    edge_format = format_named(format_name)
    before = _memory_kib("VmRSS")
    start = time.perf_counter()
    runtime = edge_format.load(folder)
    load_s = time.perf_counter() - start
    runtime.generate(prompts[0], max_new_tokens=1)
    prompt_s = decode_s = 0.0
    num_decoded = 0
    for prompt in prompts:
        start = time.perf_counter()
        runtime.generate(prompt, max_new_tokens=1)
        first = time.perf_counter()
        made = runtime.generate(prompt, max_new_tokens=max_new_tokens)
        prompt_s += first - start
        decode_s += max(time.perf_counter() - first - (first - start), 1e-9)
        num_decoded += len(made) - 1
    memory = _memory_kib("VmHWM") - before
    runtime.close()
    num_prompt = sum(len(prompt) for prompt in prompts)
    return Speed(load_s, memory / 1024, num_prompt / prompt_s, num_decoded / decode_s)


def _memory_kib(field: str) -> int:
    """VmRSS (now) or VmHWM (peak) of this process and its children."""
    children = [pid for threads in Path("/proc/self/task").glob("*/children") for pid in threads.read_text().split()]
    statuses = [Path(f"/proc/{process}/status").read_text().splitlines() for process in ("self", *children)]
    return sum(int(next(line.split()[1] for line in lines if line.startswith(f"{field}:"))) for lines in statuses)


def main() -> None:
    """The entry point of the child process."""
    asked = json.load(sys.stdin)
    figures = run(sys.argv[1], Path(sys.argv[2]), asked["prompts"], max_new_tokens=asked["max_new_tokens"])
    print(json.dumps(asdict(figures)))


if __name__ == "__main__":
    main()
