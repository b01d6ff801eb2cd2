#!/usr/bin/env python3
"""Kill the whole job with SIGKILL once in every stage, run the same command again, and count losses and repeats.

    python tests/benchmarks/faults/kill_each_stage.py [--folder DIR] [--s3]

With --s3 every byte of the run is on an S3 server on loopback: samples, tables, checkpoints, the edge artifacts and
MLflow's artifacts; only MLflow's database, the nodes' caches and the logs of this trial are in the folder.

Each start runs in its own session; the driver is killed a moment after its stage has started (in sampling stages: once
some samples are durable; in sft: once there is a checkpoint), and Ray's processes end with it. At the end the run is
complete, and the table shows how many samples were durable at each kill, how many of them are in the log afterwards,
and how many were made twice.
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

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from stillery.config import RegisterConfig  # noqa: E402
from stillery.io.storage import Folder  # noqa: E402
from stillery.pipeline.order import STAGES  # noqa: E402
from stillery.records import Generation, from_table  # noqa: E402
from stillery.registry import mlflow_store  # noqa: E402
from support.run_counts import logged_rows  # noqa: E402
from support.s3_server import s3_server  # noqa: E402
from support.small_run import SMALL  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=None, help="where the run goes (default: a temporary folder)")
    parser.add_argument("--s3", action="store_true", help="the run goes to an S3 server on loopback")
    options = parser.parse_args()
    folder: Path = options.folder or Path(tempfile.mkdtemp(prefix="stillery-trial-"))
    os.environ |= {"STILLERY_HOME": str(folder / "home"), "RAY_AUTH_MODE": "disabled"}
    if not options.s3:
        return kill_each(folder, str(folder / "run"))
    with s3_server() as server:
        os.environ |= server.environment
        store_artifacts_at(f"{server.uri}/mlflow")
        return kill_each(folder, f"{server.uri}/run")


def store_artifacts_at(uri: str) -> None:
    """Make the default MLflow store with its artifacts at a URI."""
    with mlflow_store.connect(mlflow_store.resolve_tracking_uri(None), experiment="unused") as store:
        store.client.create_experiment(RegisterConfig().experiment, artifact_location=uri)


def kill_each(folder: Path, run: str) -> int:
    """Kill the run once in each of its stages, complete it, and print the counts; 0 if all is there once."""
    print(f"run at {run}\n{'killed in':<18}{'durable then':>14}{'kept after':>12}", flush=True)
    # What a config must ask for is left out of this one.
    for stage in [stage for stage in STAGES if stage.name not in ("attention", "refine", "evaluate_sft")]:
        killed, durable = run_until_killed(folder, run, stage.name)
        if not killed:
            print(f"{stage.name:<18}{'finished before it could be killed':>40}")
            continue
        kept = durable & all_logged(run)
        print(f"{stage.name:<18}{len(durable):>14}{len(kept):>12}", flush=True)
    done = subprocess.run(command(run), capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stdout[-2000:], done.stderr[-2000:])
        return 1
    return report(run, done.stdout)


def command(run: str) -> list[str]:
    return [
        sys.executable,
        str(ROOT / "jobs" / "distill.py"),
        *SMALL,
        f"run.dir={run}",
        "cluster.address=local",
        "teacher.flush_every=8",
        "evaluate.flush_every=8",
    ]


def run_until_killed(folder: Path, run: str, stage: str) -> tuple[bool, set[str]]:
    """Start the job, kill it in the stage. Returns whether that came to pass, and the ids that were durable then."""
    log = (folder / f"{stage}.log").open("w+")
    process = subprocess.Popen(command(run), stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    before = all_logged(run)
    ready = readiness(run, stage, before)
    while process.poll() is None:
        if f"{stage}: started" in Path(log.name).read_text() and ready():
            durable = all_logged(run)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True, durable
        time.sleep(0.05)
    return False, all_logged(run)


def readiness(run: str, stage: str, before: set[str]) -> Callable[[], bool]:
    """When to kill: in the middle of the stage's work, as far as that can be seen from its files."""
    if stage in ("generate", "evaluate_teacher", "evaluate_before", "evaluate_after"):
        return lambda: len(all_logged(run)) > len(before)
    if stage == "sft":
        return lambda: bool(Folder(run).open_fs()[0].glob(f"{run}/stages/sft/*/ray_train/checkpoint_2*"))
    return lambda: True


def all_logged(run: str) -> set[str]:
    return set(logged_rows(run))


def report(run: str, output: str) -> int:
    """Print the counts of the completed run; 0 if nothing was lost or made twice."""
    rows = len(logged_rows(run))
    made = Folder(run) / "stages" / "generate"
    (generated,) = made.names()
    generations = from_table((made / generated).read_all(Generation), Generation)
    again = subprocess.run(command(run), capture_output=True, text=True)
    twice = rows - len(all_logged(run))
    print(f"\nlogged rows {rows}, distinct {len(all_logged(run))}, made twice {twice}")
    print(f"generations {len(generations)}, distinct {len({g.sample_id for g in generations})}")
    print("a further start:", "nothing to do" if "nothing to do" in again.stdout else "worked again")
    print(output[output.index("model ") :])
    return int(twice != 0 or "nothing to do" not in again.stdout)


if __name__ == "__main__":
    sys.exit(main())
