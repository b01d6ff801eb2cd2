#!/usr/bin/env python3
"""Full runs on a real Ray cluster of a head and two worker nodes, all on this machine, with faults.

    python tests/benchmarks/faults/several_nodes.py [--case NAME ...] [--json OUT] [--folder DIR]

Each case starts its own cluster, beside any other Ray on the machine, submits jobs/distill.py with `ray job submit`,
injects its faults, and counts from the durable log and the outputs: samples that were durable at the fault and lost,
samples made twice, prompts that do not end where their stopping rule says. Exits with 1 if any case loses or duplicates
a sample, cuts a prompt short, does not reach the report, or its fault did not occur as stated. Everything that was
started is ended, also on Ctrl-C.
"""

import argparse
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]
# Before Ray is imported: the clusters of these cases ask for no token, and no other is meant.
os.environ["RAY_AUTH_MODE"] = "disabled"
for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
    os.environ.pop(name, None)

from stillery.config import Config, load_config  # noqa: E402
from stillery.errors import UserError  # noqa: E402
from support.local_cluster import STORE_BYTES, LocalCluster, name_of, wait_for  # noqa: E402
from support.run_counts import Counts, count, is_finished  # noqa: E402
from support.small_run import DEMO, SMALL  # noqa: E402
from support.submission import ENGINE, TRAINER, EndedError, Submission, node_names  # noqa: E402

# A prompt's samples stop at the second acceptance, and one runs ahead, so that there is surplus to be marked. Few
# sequences at once and small files: there is time to kill an engine between its first file and its last.
SETTINGS = (
    *SMALL,
    "teacher.accepted_per_prompt=2", "teacher.lookahead=1", "teacher.engine.max_num_seqs=4", "teacher.flush_every=4",
    "teacher.labels.role=worker", "curate.max_per_prompt=2",
    # A node has one `trainer`: the two workers are on two nodes.
    "sft.num_workers=2", "sft.resources.trainer=1", "sft.labels.role=worker",
    "sft.trl.num_train_epochs=2", "sft.trl.per_device_train_batch_size=2", "sft.trl.logging_steps=1",
    "sft.trl.save_strategy=steps", "sft.trl.save_steps=4",
    "evaluate.splits=[test]", "evaluate.labels.role=worker", "evaluate.flush_every=8",
    "export.formats=[]",
)  # fmt: skip
LATE_NODES = (
    "cluster.node_groups.late.max_nodes=2", "cluster.node_groups.late.resources.CPU=3",
    "cluster.node_groups.late.resources.trainer=1", "cluster.node_groups.late.labels.role=worker",
)  # fmt: skip
SMALLEST_STORE_BYTES = 75 << 20
FAULT_LIMIT_S, END_LIMIT_S, REJOIN_LIMIT_S, LULL_S = 300.0, 900.0, 120.0, 5.0

Expectations = Mapping[str, bool]


@dataclass
class Trial:
    """What a case works with. `durable` is what was in the log at its fault."""

    folder: Path
    cluster: LocalCluster
    durable: set[str] = field(default_factory=set[str])
    submissions: list[Submission] = field(default_factory=list[Submission])

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def submit(self, *overrides: str) -> Submission:
        self.submissions.append(Submission(self.cluster, self.run, [*SETTINGS, *overrides]))
        return self.submissions[-1]

    def save_outputs(self) -> None:
        """Keep what the drivers have printed: the cluster's own folder goes with it."""
        for number, submission in enumerate(self.submissions):
            (self.folder / f"driver-{number}.log").write_text(submission.output())


@dataclass(frozen=True)
class Case:
    """`play` starts the run and does the fault; it returns what must hold beside the counts."""

    what: str
    play: Callable[[Trial], Expectations]
    workers: tuple[str, ...] = ("a", "b")
    store_bytes: int = STORE_BYTES
    durable_head: bool = False


@dataclass
class Result:
    case: str
    seconds: float
    counts: Counts | None
    expectations: dict[str, bool]
    places: dict[str, list[str]]
    failure: str | None

    @property
    def is_good(self) -> bool:
        held = bool(self.expectations) and all(self.expectations.values())
        return self.failure is None and held and self.counts is not None and self.counts.is_sound


def plain(trial: Trial) -> Expectations:
    job = trial.submit()
    job.finish(limit_s=END_LIMIT_S)
    return placed(job)


def kill_generation(trial: Trial) -> Expectations:
    job = trial.submit()
    job.wait_until(job.is_sampling, what="the teacher's first durable samples", limit_s=FAULT_LIMIT_S)
    victim = job.host_of(ENGINE)
    victim.kill()
    trial.durable, under_way = job.durable(), job.is_sampling()
    trial.cluster.start_workers("c")
    job.wait_until(
        lambda: is_finished(trial.run, "generate"), what="the end of generation after the fault", limit_s=END_LIMIT_S
    )
    engines = job.nodes_of(ENGINE)
    job.finish(limit_s=END_LIMIT_S)
    return {"killed while it sampled": under_way, "sampled on another node afterwards": bool(engines - {victim.name})}


def kill_training(trial: Trial) -> Expectations:
    job = trial.submit("sft.trl.num_train_epochs=4")
    job.wait_until(job.is_training, what="the first checkpoint", limit_s=END_LIMIT_S)
    victim = job.host_of(TRAINER)
    victim.kill()
    trial.durable, under_way = job.durable(), job.is_training()
    before = len(job.places[TRAINER])
    trial.cluster.start_workers("c")
    job.finish(limit_s=END_LIMIT_S)
    return {
        "killed while it trained": under_way,
        "trained on the new node afterwards": "c" in job.nodes_of(TRAINER) and len(job.places[TRAINER]) > before,
        "no step is in the history twice": steps_are_distinct(trial.run),
    }


def elastic_training(trial: Trial) -> Expectations:
    job = trial.submit(
        "sft.num_workers=1", "sft.max_workers=2", "sft.trl.per_device_train_batch_size=4",
        "sft.trl.num_train_epochs=200", "sft.trl.save_steps=40",
    )  # fmt: skip
    job.wait_until(job.is_training, what="the first checkpoint", limit_s=END_LIMIT_S)
    alone = job.nodes_of(TRAINER) == {"a"}
    trial.cluster.start_workers("b")
    joined = trial.cluster.nodes["b"]
    job.wait_until(lambda: joined.runs(TRAINER), what="a training worker on the new node", limit_s=END_LIMIT_S)
    before = latest_checkpoint(trial.run)
    job.wait_until(lambda: latest_checkpoint(trial.run) > before, what="a checkpoint of both", limit_s=END_LIMIT_S)
    trial.durable, under_way = job.durable(), joined.runs(TRAINER)
    joined.kill()
    job.finish(limit_s=END_LIMIT_S)
    return {
        "one worker at first": alone,
        "two when the node was lost": under_way,
        "no step is in the history twice": steps_are_distinct(trial.run),
        "as many steps as one worker takes": trained_steps(trial.run)[-1:] == [200 * steps_an_epoch(trial.run)],
    }


def gcs_restarted(trial: Trial) -> Expectations:
    job = trial.submit()
    job.wait_until(job.is_sampling, what="the teacher's first durable samples", limit_s=FAULT_LIMIT_S)
    trial.cluster.restart_gcs()
    trial.durable, under_way = job.durable(), job.is_sampling()
    job.finish(limit_s=END_LIMIT_S)
    return {"restarted while it sampled": under_way} | placed(job)


def head_restarted(trial: Trial) -> Expectations:
    cluster, job = trial.cluster, trial.submit()
    job.wait_until(job.is_sampling, what="the teacher's first durable samples", limit_s=FAULT_LIMIT_S)
    raylets = worker_raylets(cluster)
    cluster.head.kill()
    trial.durable, under_way = job.durable(), job.is_sampling()
    gone = not cluster.head.processes()
    cluster.start_head()
    wait_for(
        lambda: set(node_names(cluster).values()) == set(cluster.nodes),
        what="the worker nodes' return to the new head",
        limit_s=REJOIN_LIMIT_S,
    )
    stayed = worker_raylets(cluster) == raylets
    trial.submit().finish(limit_s=END_LIMIT_S)
    return {
        "killed while it sampled": under_way,
        "the driver went with the head": gone,
        "the worker nodes stayed": stayed,
    }


def late_node(trial: Trial) -> Expectations:
    refused = trial.submit()
    refused.finish(limit_s=FAULT_LIMIT_S)
    job = trial.submit(*LATE_NODES)
    job.wait_until(lambda: job.has_started("generate"), what="the start of generation", limit_s=FAULT_LIMIT_S)
    time.sleep(LULL_S)
    sampling_waited = not job.is_sampling() and not job.nodes_of(ENGINE)
    trial.cluster.start_workers("a")
    job.wait_until(lambda: job.has_started("sft"), what="the start of training", limit_s=END_LIMIT_S)
    time.sleep(LULL_S)
    training_waited = not job.is_training() and not job.nodes_of(TRAINER)
    trial.durable = job.durable()
    trial.cluster.start_workers("b")
    job.finish(limit_s=END_LIMIT_S)
    return {
        "refused where no node is to come": "will never fit" in refused.output(),
        "generation waited for a node": sampling_waited,
        "training waited for a node": training_waited,
    } | placed(job)


def full_store(trial: Trial) -> Expectations:
    script = Path(__file__).with_name("store_ballast.py")
    ballast = subprocess.Popen(
        [sys.executable, str(script), trial.cluster.gcs], env=trial.cluster.environment,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert ballast.stdout is not None
        is_full = any(line.strip() == "full" for line in ballast.stdout)
        job = trial.submit()
        job.finish(limit_s=END_LIMIT_S)
        spilled = {f"node {n.name} had spilled": n.spilled_bytes() > 0 for n in trial.cluster.nodes.values()}
        held = {"every store was full": is_full, "and stayed full": ballast.poll() is None}
        return held | spilled | placed(job)
    finally:
        ballast.kill()
        ballast.wait()


def slow_node(trial: Trial) -> Expectations:
    job = trial.submit("teacher.labels.host=a", "evaluate.labels.host=a")
    node = trial.cluster.nodes["a"]
    with node.slowed(stopped_s=0.6, running_s=0.4):
        job.finish(limit_s=2 * END_LIMIT_S)
    return {
        "sampled on the slow node": job.nodes_of(ENGINE) == {"a"},
        "the slow node was not given up": "a" in node_names(trial.cluster).values(),
    } | placed(job)


CASES = {
    "plain": Case("nothing happens", plain),
    "kill_generation": Case("the node that samples is lost, another joins", kill_generation),
    "kill_training": Case("a node that trains is lost, another joins", kill_training),
    "elastic_training": Case("training on one node, then on a second that joins, which is lost", elastic_training,
                             workers=("a",)),
    "gcs_restarted": Case("the head's GCS server is killed and started again", gcs_restarted, durable_head=True),
    "head_restarted": Case("the head is lost with the driver; a new head, and the same job", head_restarted,
                           durable_head=True),
    "late_node": Case("no worker node at first; one joins for generation, one for training", late_node, workers=()),
    "full_store": Case("every object store is full", full_store, store_bytes=SMALLEST_STORE_BYTES),
    "slow_node": Case("one node runs 40% of the time", slow_node),
}  # fmt: skip


def placed(job: Submission) -> Expectations:
    """That engines and training workers ran where they were to, and nowhere else."""
    return {
        "engines on worker nodes alone": job.nodes_of(ENGINE) in ({"a"}, {"b"}, {"a", "b"}),
        "training on both worker nodes": job.nodes_of(TRAINER) == {"a", "b"},
    }


def steps_are_distinct(run: Path) -> bool:
    """Whether the loss curve of the finished training, if there is one, has each step once and in order."""
    steps = trained_steps(run)
    return bool(steps) and steps == sorted(set(steps))


def trained_steps(run: Path) -> list[int]:
    rows = [row for history in run.glob("stages/sft/*/history.json") for row in json.loads(history.read_bytes())]
    return [row["step"] for row in rows if "loss" in row]


def steps_an_epoch(run: Path) -> int:
    """The steps that one worker takes of an epoch, four rows a step."""
    (manifest,) = run.glob("stages/sft/*/manifest.json")
    return -(-json.loads(manifest.read_bytes())["summary"]["train"] // 4)


def latest_checkpoint(run: Path) -> str:
    """The latest checkpoint of training, by a name that tells the time."""
    return max(path.name for path in run.glob("stages/sft/*/ray_train/checkpoint_2*"))


def worker_raylets(cluster: LocalCluster) -> set[int]:
    """The process ids of the worker nodes' raylets."""
    return {p.pid for node in cluster.workers for p in node.processes() if name_of(p) == "raylet"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES), help="default: all")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the results there")
    parser.add_argument("--folder", type=Path, help="keep runs and outputs here (default: kept only of failures)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder: Path = options.folder or Path(tempfile.mkdtemp(prefix="stillery-trial-"))
    there = [name for name in options.case if (folder / name).exists()]
    if there:
        parser.error(f"--folder {folder} holds {there[0]} already; give another")
    results: list[Result] = []
    header = f"{'case':<17}{'seconds':>8}{'samples':>9}{'lost':>6}{'doubled':>9}{'prompts':>9}{'unmet':>7}"
    print(f"{header}{'report':>8}  verdict", flush=True)
    try:
        for name in options.case:
            results.append(play(name, folder / name))
            print("\n".join(lines_of(results[-1])), flush=True)
    except KeyboardInterrupt:
        print("stopped; everything that was started is ended", file=sys.stderr)
        return 130
    finally:
        if options.json is not None:
            told = [{**dataclasses.asdict(result), "good": result.is_good} for result in results]
            options.json.write_text(json.dumps(told, indent=1) + "\n")
    bad = [result.case for result in results if not result.is_good]
    if bad:
        print(f"not as it should be: {', '.join(bad)}; runs and the drivers' output are in {folder}")
    elif options.folder is None:
        shutil.rmtree(folder)
    return int(bool(bad))


def play(name: str, folder: Path) -> Result:
    """One case, from the start of its cluster to its end."""
    case, started, failure = CASES[name], time.monotonic(), None
    expectations: dict[str, bool] = {}
    folder.mkdir(parents=True)
    with LocalCluster(folder / "home", store_bytes=case.store_bytes, durable=case.durable_head) as cluster:
        trial = Trial(folder, cluster)
        try:
            cluster.start_head()
            cluster.start_workers(*case.workers)
            expectations |= case.play(trial)
            expectations["the job succeeded"] = trial.submissions[-1].has_succeeded
        except (EndedError, TimeoutError, UserError, subprocess.TimeoutExpired) as error:
            failure = str(error)
        finally:
            trial.save_outputs()
    job = trial.submissions[-1] if trial.submissions else None
    places = {actor: sorted(job.nodes_of(actor)) for actor in (ENGINE, TRAINER)} if job is not None else {}
    counts = count(trial.run, config_of(trial.run), durable=trial.durable)
    return Result(name, round(time.monotonic() - started, 1), counts, expectations, places, failure)


def config_of(run: Path) -> Config:
    """The settings that decide how many samples there are to be; no case changes them."""
    return load_config(DEMO, [*SETTINGS, f"run.dir={run}"])


def lines_of(result: Result) -> list[str]:
    """The case's row of the table, and what there is to say about it."""
    row = f"{result.case:<17}{result.seconds:>8.0f}"
    if result.counts is not None:
        c = result.counts
        row += f"{c.samples:>9}{c.lost:>6}{c.doubled:>9}{c.prompts:>9}{c.unmet:>7}"
        row += f"{'yes' if c.reached_report else 'NO':>8}"
    lines = [f"{row}  {'good' if result.is_good else 'BAD'}", f"  {CASES[result.case].what}"]
    lines += [f"  {actor} on {', '.join(nodes) or 'no node seen'}" for actor, nodes in result.places.items()]
    lines += [f"  NOT MET: {name}" for name, holds in result.expectations.items() if not holds]
    return lines + ([f"  FAILED: {result.failure}"] if result.failure is not None else [])


if __name__ == "__main__":
    sys.exit(main())
