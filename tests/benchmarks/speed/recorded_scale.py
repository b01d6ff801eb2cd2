#!/usr/bin/env python3
"""Time and memory from a recorded teacher's generations to training data, by their number.

    python tests/benchmarks/speed/recorded_scale.py [--sizes 10000 30000 100000]

For each size, that many generations of about 600 characters, four per problem, three of them right, pass through
generate (reading), verify and curate. Memory is the peak above the level before the first of these stages: of the
driver's own pages, which include the problems, and of the pages of the driver and all its descendants (Ray's processes)
together with Ray's object store.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform")]
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
STAGES = ("generate", "verify", "curate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder is not None:
        # Not by standard output, which Ray's workers write to as well.
        (options.folder / "row.json").write_text(json.dumps(measure(options.folder)))
        return
    heads = [f"{stage} s" for stage in STAGES]
    print(f"{'generations':>12}" + "".join(f"{head:>12}" for head in heads), end="")
    print(f"{'ms each':>10}{'driver MiB':>12}{'all MiB':>10}")
    for size in options.sizes:
        folder = Path(tempfile.mkdtemp(prefix="stillery-trial-"))
        write(folder, size)
        command = [sys.executable, __file__, "--folder", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr[-2000:])
        row = json.loads((folder / "row.json").read_text())
        assert row["kept"] == size * 3 // 4, f"kept {row['kept']} of {size}"
        seconds = "".join(f"{row[stage]:>12.1f}" for stage in STAGES)
        each = sum(row[stage] for stage in STAGES) / size * 1000
        print(f"{size:>12,}{seconds}{each:>10.2f}{row['driver_mib']:>12.0f}{row['all_mib']:>10.0f}", flush=True)


def write(folder: Path, size: int) -> None:
    """Problems, and four generations of each, the last of them wrong."""
    with (folder / "train.jsonl").open("w") as problems, (folder / "made.jsonl").open("w") as made:
        for number in range(size // 4):
            question = f"What is {number} + {number % 97}?"
            answer = number + number % 97
            problems.write(json.dumps({"question": question, "answer": str(answer)}) + "\n")
            for sample in range(4):
                steps = "\n".join(f"step {i}: {number} + {i} = {number + i}" for i in range(20 + sample))
                said = answer if sample < 3 else answer + 1
                text = f"<think>\n{steps}\n</think>\n<answer>{said}</answer>"
                made.write(json.dumps({"question": question, "completion": text}) + "\n")
    with (folder / "test.jsonl").open("w") as problems:
        problems.write(json.dumps({"question": "What is 1 - 1?", "answer": "0"}) + "\n")


def measure(folder: Path) -> dict[str, float]:
    """Run the stages; seconds of each, and the peaks of memory."""
    from stillery.cluster import connect as cluster
    from stillery.config import load_config
    from stillery.pipeline.runner import run_pipeline

    config = load_config(
        None,
        [
            f"run.dir={folder}/run", "cluster.address=local", "prompts.source=file",
            f"prompts.train={folder}/train.jsonl", f"prompts.test={folder}/test.jsonl",
            "prompts.validation_fraction=0.01", "teacher.kind=recorded", "teacher.model=trial",
            f"teacher.recorded.files=[{folder}/made.jsonl]",
        ],
    )  # fmt: skip
    cluster.connect(config.cluster)
    run_pipeline(config, until="prompts")
    peaks = Peaks()
    outputs = run_pipeline(config, until="curate")
    driver, everything = peaks.stop()
    seconds = {stage: float(outputs[stage].summary["seconds"]) for stage in STAGES}
    return {**seconds, "driver_mib": driver, "all_mib": everything, "kept": outputs["curate"].summary["kept"]}


class Peaks:
    """Samples the memory of this process and its descendants ten times a second."""

    def __init__(self) -> None:
        self._before = self._most = sizes()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> tuple[float, float]:
        """MiB above the start: of the driver, and of everything."""
        self._stopped.set()
        self._thread.join()
        driver, everything = ((most - before) / 2**20 for most, before in zip(self._most, self._before, strict=True))
        return driver, everything

    def _run(self) -> None:
        while not self._stopped.wait(0.1):
            driver, everything = sizes()
            self._most = max(self._most[0], driver), max(self._most[1], everything)


def sizes() -> tuple[int, int]:
    """Bytes of the driver's own pages, and of everyone's with the largest share of shared pages, which is the object
    store's: each process has its own pages, but all have the same libraries and objects."""
    driver = psutil.Process()
    own, shared = [], []
    for process in (driver, *driver.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            memory = process.memory_info()
            own.append(memory.rss - memory.shared)
            shared.append(memory.shared)
    return own[0], sum(own) + max(shared)


if __name__ == "__main__":
    main()
