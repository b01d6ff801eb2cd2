#!/usr/bin/env python3
"""Kill the whole job once in every stage, with SIGKILL, run the same command again, and count what came of it.

    python tests/trials/kill_each_stage.py [--folder DIR]

Each start runs in a session of its own; the driver is killed a moment after its stage has started (for stages that
sample: once some samples are durable; for sft: once there is a checkpoint), and Ray's processes end with it. At the
end the run is complete, and the table says how many samples were durable at each kill, how many of them are in the
log afterwards, and how many were made twice.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from run_counts import logged_rows  # noqa: E402

from small_run import SMALL  # noqa: E402
from stillery.records import Generation, from_table  # noqa: E402
from stillery.stages import STAGES  # noqa: E402
from stillery.storage import Folder  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=None, help="where the run goes (default: a temporary folder)")
    folder: Path = parser.parse_args().folder or Path(tempfile.mkdtemp(prefix="stillery-trial-"))
    print(f"{'killed in':<18}{'durable then':>14}{'kept after':>12}")
    for stage in STAGES:
        killed, durable = run_until_killed(folder, stage.name)
        if not killed:
            print(f"{stage.name:<18}{'finished before it could be killed':>40}")
            continue
        kept = durable & all_logged(folder)
        print(f"{stage.name:<18}{len(durable):>14}{len(kept):>12}", flush=True)
    done = subprocess.run(command(folder), env=environment(folder), capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stdout[-2000:], done.stderr[-2000:])
        return 1
    return report(folder, done.stdout)


def command(folder: Path) -> list[str]:
    return [
        sys.executable,
        str(ROOT / "jobs" / "distill.py"),
        *SMALL,
        f"run.dir={folder / 'run'}",
        "cluster.address=local",
        "teacher.flush_every=8",
        "evaluate.flush_every=8",
    ]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "STILLERY_HOME": str(folder / "home"), "RAY_AUTH_MODE": "disabled"}


def run_until_killed(folder: Path, stage: str) -> tuple[bool, set[str]]:
    """Start the job, kill it in the stage. Returns whether that came to pass, and the ids that were durable then."""
    log = (folder / f"{stage}.log").open("w+")
    process = subprocess.Popen(
        command(folder), env=environment(folder), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    before = all_logged(folder)
    ready = readiness(folder, stage, before)
    while process.poll() is None:
        if f"{stage}: started" in Path(log.name).read_text() and ready():
            durable = all_logged(folder)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True, durable
        time.sleep(0.05)
    return False, all_logged(folder)


def readiness(folder: Path, stage: str, before: set[str]) -> Callable[[], bool]:
    """When to kill: in the middle of the stage's work, as far as that can be seen from its files."""
    if stage in ("generate", "evaluate_teacher", "evaluate_before", "evaluate_after"):
        return lambda: len(all_logged(folder)) > len(before)
    if stage == "sft":
        return lambda: bool(list((folder / "run").glob("stages/sft/*/ray_train/checkpoint_*")))
    return lambda: True


def all_logged(folder: Path) -> set[str]:
    return set(logged_rows(folder / "run"))


def report(folder: Path, output: str) -> int:
    """Print the counts of the completed run; 0 if nothing was lost or made twice."""
    rows = len(logged_rows(folder / "run"))
    (generated,) = (folder / "run" / "stages" / "generate").iterdir()
    generations = from_table(Folder(str(generated)).read_all(Generation), Generation)
    again = subprocess.run(command(folder), env=environment(folder), capture_output=True, text=True)
    twice = rows - len(all_logged(folder))
    print(f"\nlogged rows {rows}, distinct {len(all_logged(folder))}, made twice {twice}")
    print(f"generations {len(generations)}, distinct {len({g.sample_id for g in generations})}")
    print("a further start:", "nothing to do" if "nothing to do" in again.stdout else "worked again")
    print(output[output.index("model ") :])
    return int(twice != 0 or "nothing to do" not in again.stdout)


if __name__ == "__main__":
    sys.exit(main())
