"""The current state of a run, from the files that it writes anyway: manifests, unfinished outputs, the sample log,
checkpoints.

None of this is exact to the second. A working driver holds the lock of its folder, which the kernel lists without
anyone touching it; the current stage follows from the outputs finished since the start.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from stillery.config import Config, EndpointConfig
from stillery.stages.stage import Stage
from stillery.ui.database import Database, Row
from stillery.ui.log_files import log_of, read_log
from stillery.ui.runs import RunView

# The rate is averaged over the samples of this many seconds.
_RATE_WINDOW_S = 120.0
_SAMPLING = ("generate", "evaluate_teacher", "evaluate_before", "evaluate_sft", "evaluate_after")
# The table whose rows correspond one to one to those of each of these.
_ROWS_OF = {"verify": "generate", "bonds": "generate"}


@dataclass(frozen=True, slots=True)
class StageProgress:
    """The progress of a running stage: `done` of `most` units, the rate per second, and the cost. None is unknown; the
    time left is an upper bound where a stage may need less than `most`."""

    unit: str
    done: int
    most: int | None
    per_s: float | None = None
    cost: float | None = None

    @property
    def share(self) -> float | None:
        return min(1.0, self.done / self.most) if self.most else None

    @property
    def left_s(self) -> float | None:
        return max(0, self.most - self.done) / self.per_s if self.most and self.per_s else None


@dataclass(frozen=True, slots=True)
class StageState:
    """A stage of a run. `state` is finished, running, stopped (begun, and no longer worked on) or waiting."""

    name: str
    state: str
    seconds: float | None = None
    finished: str | None = None
    fingerprint: str | None = None
    num_outputs: int = 0
    progress: StageProgress | None = None


@dataclass(frozen=True, slots=True)
class RunState:
    """A run: whether a driver works on it (None: unknown on this system), since when, and its stages."""

    is_running: bool | None
    started: datetime
    stages: list[StageState]

    @property
    def current(self) -> StageState | None:
        """The stage that runs, or in or before which the run stopped; None if all are finished."""
        return next((s for s in self.stages if s.state in ("running", "stopped")), None)

    @property
    def num_finished(self) -> int:
        return sum(stage.state == "finished" for stage in self.stages)


def state_of(run: RunView, database: Database) -> RunState:
    """The current state of a run."""
    started = (run.path / "run.yaml").stat().st_mtime
    found = [_stage_state(run, stage) for stage in run.stages()]
    is_running = _is_running(run, found)
    if is_running:
        at = _running(run, found, started)
        if at is not None:
            name = found[at].name
            progress = _progress(run, name, database, _begun(found, started))
            found[at] = replace(found[at], state="running", progress=progress, seconds=None, finished=None)
    return RunState(is_running, datetime.fromtimestamp(started, UTC), found)


def is_sampling(state: RunState) -> bool:
    """Whether the teacher's samples are unfinished: they are being made, or were when the run stopped."""
    return any(stage.name == "generate" and stage.state != "finished" for stage in state.stages)


def _is_running(run: RunView, stages: Sequence[StageState]) -> bool | None:
    """Whether a driver works on a run. An object store has no lock: a run with writes in the last minutes is at work,
    unless all is finished; otherwise the answer is unknown."""
    if run.copy is None:
        return holds_lock(run.path / ".lock")
    if all(stage.state == "finished" for stage in stages):
        return False
    return True if run.copy.is_at_work else None


def holds_lock(path: Path) -> bool | None:
    """Whether a process of this machine holds the lock of a file; None where the kernel lists no locks."""
    try:
        stat, locks = path.stat(), Path("/proc/locks").read_text(encoding="ascii")
    except FileNotFoundError as error:
        return None if error.filename == "/proc/locks" else False
    place = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
    return any(place in line.split() for line in locks.splitlines())


def _stage_state(run: RunView, stage: Stage) -> StageState:
    finished = run.finished(stage.name)
    if finished:
        latest = finished[0]
        seconds = latest.output.summary.get("seconds")
        return StageState(stage.name, "finished", seconds, latest.finished, latest.fingerprint, len(finished))
    return StageState(stage.name, "stopped" if any(_unfinished(run, stage.name)) else "waiting")


def _unfinished(run: RunView, stage: str) -> Iterator[Path]:
    """The folders of a stage's unfinished outputs."""
    for folder in sorted((run.path / "stages" / stage).glob("*/")):
        if not (folder / "manifest.json").exists():
            yield folder


def _running(run: RunView, stages: Sequence[StageState], started: float) -> int | None:
    """The running stage: the first one, after those finished since the start, that has no finished output or an
    unfinished one modified since."""
    begun = datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    done = [i for i, stage in enumerate(stages) if stage.finished is not None and stage.finished >= begun]
    behind = range(done[-1] + 1 if done else 0, len(stages))
    touched = (i for i in behind if any(_newest(f) >= started for f in _unfinished(run, stages[i].name)))
    return next(touched, next((i for i in behind if stages[i].state != "finished"), None))


def _begun(stages: Sequence[StageState], started: float) -> float:
    """The start of the running stage: the start of the run, or the end of the previous stage."""
    finished = [datetime.fromisoformat(stage.finished).timestamp() for stage in stages if stage.finished]
    return max(started, *finished)


def _newest(folder: Path) -> float:
    """The last modification of a file in a folder."""
    return max((path.stat().st_mtime for path in (folder, *folder.rglob("*"))), default=0.0)


def _progress(run: RunView, stage: str, database: Database, begun: float) -> StageProgress | None:
    config = run.config()
    if config is None:
        return None
    if stage in _SAMPLING:
        return _sampled(run, stage, config, database, begun)
    folders = list(_unfinished(run, stage))
    if not folders:
        return None
    if stage in _ROWS_OF:
        made = _count(run.fetch(folders[-1]), database)
        most = run.finished(_ROWS_OF[stage])[0].output.summary.get("num_samples")
        return StageProgress("samples", made, most, made / max(1.0, time.time() - begun))
    return _trained(folders[-1], begun)


def _sampled(run: RunView, stage: str, config: Config, database: Database, begun: float) -> StageProgress | None:
    """The log's samples of the problems of a sampling stage. With a stopping rule fewer samples than `most` are
    enough."""
    prompts = run.finished("prompts")
    if not prompts:
        return None
    section, splits = (
        (config.teacher, ["train", "validation"]) if stage == "generate" else (config.evaluate, config.evaluate.splits)
    )
    tables = str(run.fetch(prompts[0].output.folder.local) / "*.parquet")
    asked = "SELECT prompt_id FROM read_parquet($prompts) WHERE split IN (SELECT unnest($splits))"
    values = {"prompts": tables, "splits": list(splits)}
    most = database.value(f"SELECT count(*) FROM ({asked})", values) * section.samples_per_prompt
    log, now = log_of(run), time.time()
    since = max(begun, now - _RATE_WINDOW_S)

    def count(files: list[Path]) -> Row | None:
        if not files:
            return None
        recent = [str(path) for path in files if path.stat().st_mtime > since]
        query = (
            "SELECT count(*) AS made, count(*) FILTER (filename IN (SELECT unnest($recent))) AS recent, "
            "sum(num_tokens) AS tokens, sum(num_prompt_tokens) AS prompt_tokens FROM ("
            "SELECT filename, num_tokens, num_prompt_tokens FROM read_parquet($log, filename = true) "
            f"WHERE error IS NULL AND prompt_id IN ({asked}) QUALIFY row_number() OVER (PARTITION BY sample_id) = 1)"
        )
        return database.rows(query, {**values, "log": [str(path) for path in files], "recent": recent})[0]

    row = None if log is None else read_log(log, count)
    if row is None:
        return StageProgress("samples", 0, most)
    per_s = row["recent"] / min(_RATE_WINDOW_S, max(1.0, now - begun)) if row["recent"] else None
    is_priced = config.teacher.kind == "endpoint" and stage in ("generate", "evaluate_teacher")
    cost = _cost(config.teacher.endpoint, row["prompt_tokens"] or 0, row["tokens"] or 0) if is_priced else None
    return StageProgress("samples", row["made"], most, per_s, cost)


def _cost(endpoint: EndpointConfig, prompt_tokens: int, tokens: int) -> float | None:
    """The cost of tokens at an endpoint's prices; None where it has none."""
    if endpoint.input_price is None and endpoint.output_price is None:
        return None
    return (prompt_tokens * (endpoint.input_price or 0.0) + tokens * (endpoint.output_price or 0.0)) / 1e6


def _count(folder: Path, database: Database) -> int:
    files = [str(path) for path in folder.glob("*.parquet")]
    return database.value("SELECT count(*) FROM read_parquet($files)", {"files": files}) if files else 0


def _trained(folder: Path, begun: float) -> StageProgress | None:
    """The step of the latest checkpoint; there is one per epoch."""
    states = sorted(folder.rglob("trainer_state.json"), key=lambda path: path.stat().st_mtime)
    if not states:
        return None
    told = json.loads(states[-1].read_bytes())
    seconds = states[-1].stat().st_mtime - begun
    return StageProgress("steps", told["global_step"], told["max_steps"], told["global_step"] / max(1.0, seconds))
