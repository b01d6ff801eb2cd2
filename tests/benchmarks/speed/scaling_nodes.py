#!/usr/bin/env python3
"""The scaling model beside measured runs on one, two and three worker nodes, all on this machine.

    python tests/benchmarks/speed/scaling_nodes.py [--nodes 3] [--prompts 240] [--json OUT]

One Ray cluster grows from a head and one worker node, a raylet each, to three. On each size a run is submitted, up to
its curated samples, with one replica of the teacher on every worker node. The teacher is a server that takes time but
almost no CPU (see scripted_teacher.py), so that generation can speed up with nodes that share two cores; computation
cannot, and is measured as its time in one process. A run of a few problems comes first: its time is the fixed start-up
cost, which the model leaves out and the table subtracts.

Exits with 1 if a run fails, loses or duplicates a sample, leaves a worker node out, or takes more than one and a half
times the model's time for generation.
"""

import argparse
import dataclasses
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]
# Before Ray is imported: this cluster asks for no token, and no other is meant.
os.environ["RAY_AUTH_MODE"] = "disabled"
for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
    os.environ.pop(name, None)

import numpy as np  # noqa: E402
import psutil  # noqa: E402

from benchmarks.speed.scaling import measure  # noqa: E402
from stillery.plan.scaling import Costs, Hardware, Scaled, Workload, scale  # noqa: E402
from stillery.records import Generation  # noqa: E402
from support.local_cluster import LocalCluster, command_of  # noqa: E402
from support.metrics_page import read_page, total  # noqa: E402
from support.run_counts import logged_rows, rows_of, summary_of  # noqa: E402
from support.scripted_teacher import ScriptedTeacher, write_problems  # noqa: E402
from support.submission import ENGINE, Submission  # noqa: E402

WORKERS = ("a", "b", "c", "d", "e")
SAMPLES, FEW_PROMPTS, FLUSH_EVERY, BATCH_SAMPLES, MOST_RATIO = 4, 4, 4, 64, 1.5
REPORT_S, SETTLE_S, JOB_LIMIT_S, NETWORK = 2.0, 6.0, 600.0, 1e9
# Files written by the run that docs/guides/scaling.md is about.
FILES_OF_LARGE_RUN = 0.53e6


@dataclass(frozen=True)
class Measured:
    """What a run took: seconds, files left and written, bytes that nodes received of each other, the driver's CPU."""

    nodes: int
    prompts: int
    succeeded: bool
    placed: bool
    samples: int
    doubled: int
    generation_s: float
    busy: float
    generate_stage_s: float
    verification_s: float
    curation_s: float
    files: int
    written: int
    received_bytes: float
    driver_cpu_s: float

    @property
    def is_sound(self) -> bool:
        return self.succeeded and self.placed and self.samples == self.prompts * SAMPLES and not self.doubled


@dataclass
class DriverClock:
    """The processor time of a job's driver, by the stage that it was in."""

    submission: Submission
    by_stage: dict[str, float] = dataclasses.field(default_factory=lambda: defaultdict(float))
    _driver: psutil.Process | None = None
    _before: float = 0.0

    def look(self) -> None:
        """Add what was used since the last look to the stage of the moment."""
        if self._driver is None:
            run = f"run.dir={self.submission.run}"
            found = [p for p in psutil.process_iter() if _is_driver(command_of(p), run)]
            self._driver = found[0] if found else None
            return
        try:
            times = self._driver.cpu_times()
        except psutil.Error:
            return  # it has ended
        events = re.findall(r"^(\w+): (started|finished)", self.submission.output(), flags=re.MULTILINE)
        stage = events[-1][0] if events and events[-1][1] == "started" else "between"
        self.by_stage[stage] += times.user + times.system - self._before
        self._before = times.user + times.system


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=3, choices=range(1, len(WORKERS) + 1))
    parser.add_argument("--prompts", type=int, default=240)
    parser.add_argument("--characters", type=int, default=7000, help="of a made-up trace")
    parser.add_argument("--latency-s", type=float, default=4.0, help="of an answer, on average")
    parser.add_argument("--concurrency", type=int, default=64, help="answers under way at once, of one replica")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write what was measured there")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="stillery-trial-"))
    costs = measure(100, characters=options.characters)
    print("costs of this machine:", ", ".join(f"{k} {v:.3g}" for k, v in dataclasses.asdict(costs).items()), flush=True)
    environment = {
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "RAY_metrics_report_interval_ms": str(int(REPORT_S * 1000)),
    }
    runs: list[Measured] = []
    with (
        ScriptedTeacher(options.characters, options.latency_s) as teacher,
        LocalCluster(folder / "home", environment=environment) as cluster,
    ):
        cluster.start_head()
        for nodes, worker in enumerate(WORKERS[: options.nodes], start=1):
            cluster.start_workers(worker)
            for prompts in ([FEW_PROMPTS] if nodes == 1 else []) + [options.prompts]:
                run = folder / f"run-{nodes}-{prompts}"
                runs.append(run_on(cluster, teacher, run, nodes, prompts, concurrency=options.concurrency))
                print(f"{nodes} nodes, {prompts} problems: {'sound' if runs[-1].is_sound else runs[-1]}", flush=True)
    tokens_per_s = options.concurrency * teacher.completion_tokens / options.latency_s
    models = [model_of(run, costs, tokens=teacher.completion_tokens, tokens_per_s=tokens_per_s) for run in runs]
    print_table(runs, models, costs)
    print_driver(runs)
    if options.json is not None:
        options.json.write_text(json.dumps([dataclasses.asdict(run) for run in runs], indent=1) + "\n")
    slow = [r.nodes for r, m in zip(runs[1:], models[1:], strict=True)
            if r.generation_s > MOST_RATIO * m.seconds["generation"]]  # fmt: skip
    if slow or not all(run.is_sound for run in runs):
        print(f"not as it should be; slower than the model on {slow or 'no'} nodes; the runs are in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def run_on(
    cluster: LocalCluster, teacher: ScriptedTeacher, run: Path, nodes: int, prompts: int, *, concurrency: int
) -> Measured:
    """One run, with a replica on each worker node."""
    overrides = [
        *write_problems(run.with_name(f"problems-{prompts}"), num_train=prompts),
        f"teacher.endpoint.base_url={teacher.url}", f"teacher.endpoint.concurrency={concurrency}",
        f"teacher.samples_per_prompt={SAMPLES}", "teacher.accepted_per_prompt=null",
        # A node has one `trainer`, so replicas are on nodes of their own.
        f"teacher.replicas={nodes}", "teacher.resources.trainer=1", "teacher.labels.role=worker",
        f"teacher.requests_per_call={BATCH_SAMPLES}", f"teacher.flush_every={FLUSH_EVERY}",
    ]  # fmt: skip
    teacher.spans.clear()
    received = received_bytes(cluster)
    job = Submission(cluster, run, overrides, job="curate")
    clock = DriverClock(job)
    job.finish(limit_s=JOB_LIMIT_S, meanwhile=clock.look)
    if not job.has_succeeded:
        print(job.output()[-3000:])
    time.sleep(SETTLE_S)
    spans = teacher.spans or [(0.0, 0.0)]
    generation_s = max(end for _, end in spans) - min(start for start, _ in spans)
    ids = logged_rows(run)
    # A file that was put together has the number after those that it stands for.
    left = list(run.glob("log/*/*/*.parquet"))
    seconds = {stage: float(summary_of(run, stage).get("seconds", 0)) for stage in ("generate", "verify", "curate")}
    return Measured(
        nodes=nodes,
        prompts=prompts,
        succeeded=job.has_succeeded,
        placed=job.nodes_of(ENGINE) == set(WORKERS[:nodes]) or prompts == FEW_PROMPTS,
        samples=len(rows_of(run, "generate", Generation)),
        doubled=len(ids) - len(set(ids)),
        generation_s=generation_s,
        busy=sum(end - start for start, end in spans) / max(generation_s * nodes * concurrency, 1e-9),
        generate_stage_s=seconds["generate"],
        verification_s=seconds["verify"],
        curation_s=seconds["curate"],
        files=len(left),
        written=sum(max(1, int(path.name[:6]) - 1) for path in left),
        received_bytes=received_bytes(cluster) - received,
        driver_cpu_s=clock.by_stage["generate"],
    )


def received_bytes(cluster: LocalCluster) -> float:
    """What the nodes' object stores have received of each other so far; not a number where Ray does not say."""
    pages = [read_page(node.metrics_url) or [] for node in cluster.nodes.values()]
    told = [series for page in pages for series in page if series.name == "ray_object_manager_bytes"]
    return total(told, "ray_object_manager_bytes", {"Type": "Received"}) if told else float("nan")


def model_of(run: Measured, costs: Costs, *, tokens: int, tokens_per_s: float) -> Scaled:
    """What the model says of such a run; a replica counts as one GPU."""
    workload = Workload(run.prompts, SAMPLES, tokens)
    hardware = Hardware(run.nodes, 1, tokens_per_s, cpus_per_gpu=1.0, network_bytes_per_s=NETWORK)
    # At four samples a file and so many a second, files are full long before they are due.
    return scale(workload, hardware, costs, flush_every=FLUSH_EVERY, batch_samples=BATCH_SAMPLES)


def print_table(runs: list[Measured], models: list[Scaled], costs: Costs) -> None:
    """Measured beside predicted; of the parts that have a fixed cost, what the run of a few problems took is off."""
    few, few_model = runs[0], models[0]
    print("\n| worker nodes | part | measured | of it fixed | predicted | measured less fixed / predicted |")
    print("|---|---|---|---|---|---|")
    for run, model in zip(runs[1:], models[1:], strict=True):
        driver = ("sample ids", "inventory", "log rows")
        rows = (
            ("generation, s", run.generation_s, 0.0, model.seconds["generation"], 0.0),
            ("files written", run.written, 0.0, model.num_files, 0.0),
            ("files left", run.files, 0.0, model.num_files_left, 0.0),
            ("driver while sampling, CPU s", run.driver_cpu_s, few.driver_cpu_s,
             sum(model.seconds[part] for part in driver) + model.driver_beside_s,
             sum(few_model.seconds[part] for part in driver) + few_model.driver_beside_s),
            ("checking, s", run.verification_s, few.verification_s, model.seconds["verification"],
             few_model.seconds["verification"]),
            ("curation, s", run.curation_s, few.curation_s, model.seconds["curation"], few_model.seconds["curation"]),
            ("bytes between nodes", run.received_bytes, few.received_bytes, model.seconds["object store"] * NETWORK,
             few_model.seconds["object store"] * NETWORK),
        )  # fmt: skip
        for part, measured, fixed, predicted, few_predicted in rows:
            ratio = (measured - fixed) / (predicted - few_predicted)
            print(f"| {run.nodes} | {part} | {measured:,.2f} | {fixed:,.2f} | {predicted:,.2f} | {ratio:.2f} |")
    first = runs[1]
    for run in runs[1:]:
        around = run.generate_stage_s - run.generation_s
        print(
            f"{run.nodes} nodes: generation {first.generation_s / run.generation_s:.2f} times as fast as on one, "
            f"replicas busy {run.busy:.0%} of it; starting engines and reading the log around it {around:.1f} s"
        )
    print(f"one sample in the log is {costs.sample_bytes:,.0f} bytes, compressed")


def print_driver(runs: list[Measured]) -> None:
    """What the driver's processor time while sampling goes with: a fixed part, waiting, and the tallies of files, each
    of which passes through Ray Data. By least squares, of a few runs: a rough guide."""
    if len(runs) < 4:
        return
    parts = np.array([[1.0, run.generate_stage_s, run.written] for run in runs])
    used = np.array([run.driver_cpu_s for run in runs])
    (fixed, waiting, tally), *_ = np.linalg.lstsq(parts, used, rcond=None)
    print(
        f"driver while sampling: {fixed:.2f} CPU s, {waiting:.4f} a second, {tally * 1000:.2f} ms a file; the tallies "
        f"of {FILES_OF_LARGE_RUN:,.0f} files would take {tally * FILES_OF_LARGE_RUN / 3600:.1f} h"
    )


def _is_driver(command: list[str], run: str) -> bool:
    return run in command and any(part.endswith("jobs/curate.py") for part in command)


if __name__ == "__main__":
    sys.exit(main())
