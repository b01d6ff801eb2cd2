#!/usr/bin/env python3
"""Generation by one engine and by two, with one killed while both run: the sample ids must be the same.

    python tests/benchmarks/faults/several_engines.py [--prompts 40] [--samples 8]

Three runs of `stillery verify` on the same config except for `teacher.replicas`: one engine; two engines; two engines,
one of which is killed with SIGKILL once samples are durable. Every sample is seeded by its id, so all runs must have
the same ids, each once. Texts may differ where two continuations are almost equally likely, since a batch of another
size sums in another order: their share is printed. The engines share two cores here, so speed is not reported.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.faults.kill_each_stage import ROOT, environment
from support.run_counts import logged, logged_rows

# Name, engines, and whether one of them is killed.
CASES = (("one engine", 1, False), ("two engines", 2, False), ("two, one killed", 2, True))

# Of the prompts, which are sampled too.
VALIDATION = 6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--samples", type=int, default=8)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="stillery-trial-"))
    runs: dict[str, dict[str, str]] = {}
    print(f"{'run':<22}{'samples':>9}{'twice':>7}{'engines':>9}{'same ids':>10}{'same texts':>12}")
    for name, replicas, is_killed in CASES:
        run = folder / name.replace(" ", "-").replace(",", "")
        engines = generate(folder, run, options.prompts, options.samples, replicas, is_killed=is_killed)
        runs[name] = texts(run)
        first = runs["one engine"]
        same = sum(first.get(key) == text for key, text in runs[name].items()) / max(1, len(first))
        twice = sum(count - 1 for count in Counter(logged_rows(run)).values())
        is_same = runs[name].keys() == first.keys() and not twice
        print(f"{name:<22}{len(runs[name]):>9}{twice:>7}{engines:>9}{is_same!s:>10}{same:>12.1%}", flush=True)
        if not is_same or len(first) != options.prompts * options.samples or engines < replicas:
            return 1
    return 0


def generate(folder: Path, run: Path, prompts: int, samples: int, replicas: int, *, is_killed: bool) -> int:
    """Run the line up to the verdicts. Returns how many engine processes were seen at once."""
    command = [sys.executable, "-m", "stillery.cli.main", "verify", "--config", str(ROOT / "jobs/configs/demo.yaml")]
    command += [
        f"prompts.num_train={prompts - VALIDATION}",
        f"prompts.num_validation={VALIDATION}",
        f"run.dir={run}",
        "cluster.address=local",
    ]
    command += ["teacher.accepted_per_prompt=null", f"teacher.samples_per_prompt={samples}", "teacher.flush_every=8"]
    command += [f"teacher.replicas={replicas}", "teacher.num_cpus=0.5", "teacher.threads=1"]
    command += [f"teacher.requests_per_call={samples * 5}"]
    env = environment(folder) | {"PYTHONPATH": str(ROOT / "platform")}
    with (folder / f"{run.name}.log").open("w") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        seen = 0
        while process.poll() is None:
            engines = actors(process.pid)
            seen = max(seen, len(engines))
            if is_killed and len(engines) == replicas and len(texts(run)) >= prompts:
                os.kill(engines[0], signal.SIGKILL)
                is_killed = False
            time.sleep(0.5)
    if process.returncode != 0:
        raise RuntimeError(f"the run failed:\n{Path(log.name).read_text()[-3000:]}")
    if is_killed:
        raise RuntimeError("no engine could be killed in time: ask for more prompts")
    return seen


def texts(run: Path) -> dict[str, str]:
    """The durable samples' texts by id."""
    return {row.sample_id: row.completion for row in logged(run)}


def actors(session: int) -> list[int]:
    """The processes of the session that hold an engine: Ray Data's actors of our Sampler."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes().decode()
                if os.getsid(int(entry.name)) == session and "Sampler" in title:
                    found.append(int(entry.name))
            except (OSError, ValueError):
                continue
    return found


if __name__ == "__main__":
    sys.exit(main())
