"""A run submitted with `ray job submit`, watched from outside: its output, its durable log, and the nodes of its
actors."""

import subprocess
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from ray.job_submission import JobStatus, JobSubmissionClient
from ray.util.state import list_actors, list_nodes
from ray.util.state.exception import RayStateApiException

from support.local_cluster import BIN, LocalCluster, Node, wait_for
from support.run_counts import is_finished, logged_rows

ROOT = Path(__file__).parents[2]
# Parts of the names of the actors' classes.
ENGINE, TRAINER = "MapBatches(Sampler)", "RayTrainWorker"
LOOK_S = 1.0
SUBMIT_LIMIT_S = 120


class EndedError(Exception):
    """The job ended before the event that a case waited for."""


class Submission:
    """One job. `places` maps ENGINE and TRAINER to the actors seen alive and the names of their nodes."""

    def __init__(self, cluster: LocalCluster, run: Path, overrides: Sequence[str], *, job: str = "distill") -> None:
        """`job` is the name of a script in jobs/. Raises EndedError if the job cannot be submitted."""
        self.run = run
        self.places: dict[str, dict[str, str]] = defaultdict(dict)
        self.has_succeeded = False
        self._cluster = cluster
        self._id = f"trial-{uuid.uuid4().hex[:8]}"
        self._head = cluster.head
        self._looked = 0.0
        done = subprocess.run(
            [
                *(str(BIN / "ray"), "job", "submit", "--address", cluster.dashboard, "--submission-id", self._id),
                *("--no-wait", "--working-dir", str(ROOT), "--", f"jobs/{job}.py", f"run.dir={run}", *overrides),
            ],
            env=cluster.environment, cwd=ROOT, capture_output=True, text=True, timeout=SUBMIT_LIMIT_S,
        )  # fmt: skip
        if done.returncode != 0:
            raise EndedError(f"the job could not be submitted\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    def output(self) -> str:
        """The driver's output so far."""
        logs = sorted(self._head.folder.glob(f"session_2*/logs/job-driver-{self._id}.log"))
        return logs[-1].read_text(errors="replace") if logs else ""

    def status(self) -> JobStatus | None:
        """The job's status; None while the dashboard cannot tell."""
        try:
            return JobSubmissionClient(self._cluster.dashboard).get_job_status(self._id)
        except (RuntimeError, OSError):
            return None

    def has_started(self, stage: str) -> bool:
        return f"{stage}: started" in self.output()

    def is_sampling(self) -> bool:
        """Whether the teacher is sampling: some samples are durable, and not all."""
        return bool(list(self.run.glob("log/*/*.parquet"))) and not is_finished(self.run, "generate")

    def is_training(self) -> bool:
        """Whether the student is being trained: there is a checkpoint, and it is not the last."""
        return bool(list(self.run.glob("stages/sft/*/ray_train/checkpoint_2*"))) and not is_finished(self.run, "sft")

    def durable(self) -> set[str]:
        return set(logged_rows(self.run))

    def host_of(self, actor: str) -> Node:
        """A worker node on which an actor with this name runs. Raises EndedError if there is none."""
        found = [node for node in self._cluster.workers if node.runs(actor)]
        if not found:
            raise EndedError(f"{actor} was on no node when it was to be killed")
        return found[0]

    def wait_until(self, condition: Callable[[], bool], *, what: str, limit_s: float) -> None:
        """Wait, recording where actors are. Raises EndedError if the job ends first, TimeoutError after the limit."""

        def holds() -> bool:
            if condition():
                return True
            status = self._look()
            if status is not None and status.is_terminal() and not condition():
                raise EndedError(f"the job ended ({status}) before {what}\n{self.output()[-3000:]}")
            return False

        wait_for(holds, what=what, limit_s=limit_s, every_s=0.1)

    def finish(self, *, limit_s: float, meanwhile: Callable[[], object] | None = None) -> None:
        """Wait for the job's end; call `meanwhile` a few times a second. Raises TimeoutError after the limit."""

        def is_over() -> bool:
            if meanwhile is not None:
                meanwhile()
            status = self._look()
            self.has_succeeded = status == JobStatus.SUCCEEDED
            return status is not None and status.is_terminal()

        wait_for(is_over, what="the job's end", limit_s=limit_s, every_s=0.2)

    def nodes_of(self, actor: str) -> set[str]:
        """The names of the nodes on which actors with this name were seen."""
        return set(self.places[actor].values())

    def _look(self) -> JobStatus | None:
        """The job's status and its actors' nodes, queried once a second; None in between."""
        if time.monotonic() - self._looked < LOOK_S:
            return None
        self._looked = time.monotonic()
        names = node_names(self._cluster)
        for actor_id, class_name, node_id in alive_actors(self._cluster):
            for name in (ENGINE, TRAINER):
                if name in class_name and node_id in names:
                    self.places[name][f"{actor_id} {node_id}"] = names[node_id]
        return self.status()


def alive_actors(cluster: LocalCluster) -> list[tuple[str, str, str]]:
    """By Ray's state API: id, class and node of each running actor; none while the head does not answer."""
    try:
        actors = list_actors(address=cluster.dashboard, filters=[("state", "=", "ALIVE")], limit=1000)
    except (RayStateApiException, RuntimeError, OSError):
        return []
    return [(actor.actor_id, actor.class_name, actor.node_id or "") for actor in actors]


def node_names(cluster: LocalCluster) -> dict[str, str]:
    """By Ray's state API: the name here of each live node, by Ray's id of it."""
    by_address = {node.address: name for name, node in cluster.nodes.items()}
    try:
        # Not filtered by Ray, which mistakes a filtered-out dead node for one lost on the way, and raises.
        nodes = list_nodes(address=cluster.dashboard, limit=1000)
    except (RayStateApiException, RuntimeError, OSError):
        return {}
    alive = [node for node in nodes if node.state == "ALIVE"]
    return {node.node_id: by_address[node.node_ip] for node in alive if node.node_ip in by_address}
