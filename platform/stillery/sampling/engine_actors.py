"""Sampling under Ray Data: prompts stream to engine actors, finished samples go to the durable log.

The one file of this package that touches Ray. An engine actor appends to the log itself, so the samples that a killed
driver or worker leaves behind are complete and counted; the rows that flow back through Ray Data are only tallies.
"""

import dataclasses
import math
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from stillery.config import EngineConfig
from stillery.errors import UserError
from stillery.records import Generation, RenderedPrompt, Request, from_table, to_table
from stillery.sampling.backend import Backend
from stillery.sampling.batch import Batch, Tally, name_of
from stillery.sampling.engine import BrokenEngineError, Engine, Judge
from stillery.sampling.progress import SamplingProgress
from stillery.sampling.sampling_plan import SamplingPlan
from stillery.telemetry import logs
from stillery.telemetry.logs import logger

# The number of batches in an engine at once: while the last samples of one finish, others fill it.
BATCHES_IN_FLIGHT = 4
# The time that a broken engine's other batches have to write their samples.
LAST_FLUSH_S = 60.0
CLOSE_S = 10.0


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """Results of the engines: for each finished prompt the number of its samples that count, the files that they wrote,
    with the samples' ids (16 bytes each), and the files that have been replaced by now."""

    needed: dict[str, int] = field(default_factory=dict[str, int])
    written: dict[str, bytes] = field(default_factory=dict[str, bytes])
    replaced: set[str] = field(default_factory=set[str])

    def add(self, tally: Tally) -> None:
        """Add the counts of a tally."""
        self.needed.update(tally.needed)
        self.replaced.update(tally.replaced)
        for name, ids in tally.written.items():
            self.written[name] = bytes.fromhex("".join(ids))
        for name in tally.replaced:
            self.written.pop(name, None)


def run_batches(
    prompts: list[RenderedPrompt],
    *,
    plan: SamplingPlan,
    source: Backend,
    engine: EngineConfig,
    judge: Judge | None = None,
    label: str,
) -> BatchOutcome:
    """Make the missing samples, into the plan's log.

    `source` starts an engine in the actor; `engine` sets how many there are and their resources; `label` names the work
    in progress lines. Raises any error that ends the run, such as engines that broke too often on one batch.
    """
    import ray.data

    blocks = [to_table(batch, RenderedPrompt) for batch in _batches(prompts, plan=plan, engine=engine)]
    dataset = ray.data.from_arrow(blocks)
    dataset.context.enable_progress_bars = False
    # Every yielded tally becomes a block of its own and arrives at once; by default blocks are filled up first.
    dataset.context.target_max_block_size = 1
    tallies = dataset.map_batches(
        Sampler,
        fn_constructor_kwargs={
            "start": source.start,
            "plan": plan,
            "judge": judge,
            "where": logs.current_fields(),
            "max_failures": engine.max_failures,
        },
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(
            min_size=engine.replicas,
            max_size=max(engine.replicas, engine.max_replicas or 0),
            max_tasks_in_flight_per_actor=BATCHES_IN_FLIGHT,
            max_concurrent_calls_per_actor=BATCHES_IN_FLIGHT,
            enable_true_multi_threading=True,
        ),
        num_cpus=engine.num_cpus,
        num_gpus=engine.num_gpus,
        resources=engine.resources or None,
        label_selector=engine.labels or None,
    )
    most_samples = len(prompts) * plan.num_samples
    progress = SamplingProgress(
        label, num_prompts=len(prompts), most_samples=most_samples, judged=judge is not None, prices=source.prices
    )
    outcome = BatchOutcome()
    for row in tallies.iter_rows():
        tally = _tally(row)
        outcome.add(tally)
        progress.add(tally)
    return outcome


def _batches(
    prompts: list[RenderedPrompt], *, plan: SamplingPlan, engine: EngineConfig
) -> Iterator[list[RenderedPrompt]]:
    """Batches of about `requests_per_call` samples, at least enough of them to keep every engine busy."""
    most = max(1, engine.requests_per_call // plan.num_samples)
    size = min(most, math.ceil(len(prompts) / (engine.replicas * BATCHES_IN_FLIGHT)))
    for start in range(0, len(prompts), size):
        yield prompts[start : start + size]


class Sampler:
    """The engine actor: Ray Data creates one per replica and sends it batches of prompts, several at a time.

    The engine is started by the first sample that the log does not hold. If it breaks, the batches in flight write
    their samples and the process ends: Ray starts another in its place and sends it the same batches, since an actor
    that died is replaced, where an exception would end the run. The samples that the first had logged are found by the
    batch's name and not made again. A batch on which engines broke `max_failures` times, each before it had made a
    file's worth of samples, ends the run.
    """

    def __init__(
        self,
        *,
        start: Callable[[], Engine],
        plan: SamplingPlan,
        judge: Judge | None,
        where: Mapping[str, str],
        max_failures: int,
    ) -> None:
        """`where` holds the log fields of the driver's lines, for this process's lines."""
        logs.add_fields(where)
        self._plan = plan
        self._judge = judge
        self._max_failures = max_failures
        self._engine = LazyEngine(start)
        self._num_running = 0
        self._changed = threading.Condition()

    def __call__(self, prompts: pa.Table) -> Iterator[pa.Table]:
        """Run a batch; yields its tallies."""
        rows = from_table(prompts, RenderedPrompt)
        self._check_failures(name_of(rows))
        batch = Batch(rows, plan=self._plan, engine=self._engine, judge=self._judge, busy_s=self._engine.busy_s)
        with self._changed:
            self._num_running += 1
        try:
            for tally in batch.run():
                yield _row(tally)
        except BrokenEngineError as error:
            trace = "".join(traceback.format_exception(error))
            self._plan.log.add_failure(batch.name, str(error), trace=trace, num_made=batch.num_made)
            logger.info(f"an engine broke ({error}); it is started anew")
            self._end_process()
        finally:
            with self._changed:
                self._num_running -= 1
                self._changed.notify_all()

    def _check_failures(self, batch: str) -> None:
        """Raise UserError if engines broke too often on a batch."""
        notes = self._plan.log.failures(batch)
        in_vain = [note for note in notes if note["num_made"] < self._plan.flush_every]
        if len(in_vain) >= self._max_failures:
            raise UserError(
                f"engines broke {len(in_vain)} times on the same prompts, one with: {in_vain[-1]['error']}; "
                f"{self._plan.log.folder.uri}/{batch}/failure-*.json say where. Mend it, or raise max_failures of the "
                "engine's section (finished samples are kept)"
            )

    def _end_process(self) -> None:
        """End this process once its other batches have written their samples; the broken engine ends them too."""
        until = time.monotonic() + LAST_FLUSH_S
        with self._changed:
            self._num_running -= 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._num_running <= 0, timeout=max(0.0, until - time.monotonic()))
        # An engine may have processes of its own, which outlive this one unless they are closed.
        closing = threading.Thread(target=self._engine.close, daemon=True)
        closing.start()
        closing.join(timeout=CLOSE_S)
        os._exit(1)


class LazyEngine:
    """An engine that starts when it is first needed.

    Settings that an engine refuses end the run; any other start failure may be gone at the next attempt.
    """

    def __init__(self, start: Callable[[], Engine]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._started = 0.0

    def submit(
        self, request: Request, *, sampling: Mapping[str, Any], done: Callable[[Generation | Exception], None]
    ) -> None:
        """Raises BrokenEngineError if the engine does not start."""
        with self._lock:
            if self._engine is None:
                try:
                    self._engine = self._start()
                except (UserError, ValueError, TypeError, ImportError):
                    raise
                except Exception as error:
                    # Boundary: whatever the error, a new process may succeed.
                    raise BrokenEngineError.of(error) from error
                self._started = time.monotonic()
        self._engine.submit(request, sampling=sampling, done=done)

    def busy_s(self) -> float:
        """The engine's working time."""
        return time.monotonic() - self._started if self._engine is not None else 0.0

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()


_TALLY = pa.schema(
    [
        *((name, pa.int64()) for name in ("made", "accepted", "errors", "tokens", "prompt_tokens")),
        ("needed", pa.list_(pa.struct([("prompt_id", pa.large_string()), ("num_samples", pa.int64())]))),
        ("written", pa.list_(pa.struct([("file", pa.large_string()), ("sample_ids", pa.list_(pa.large_string()))]))),
        ("replaced", pa.list_(pa.large_string())),
    ]
)


def _tally(row: dict[str, Any]) -> Tally:
    needed: dict[str, int] = {done["prompt_id"]: done["num_samples"] for done in row.pop("needed")}
    written: dict[str, list[str]] = {file["file"]: list(file["sample_ids"]) for file in row.pop("written")}
    replaced: list[str] = list(row.pop("replaced"))
    return Tally(**row, needed=needed, written=written, replaced=replaced)


def _row(tally: Tally) -> pa.Table:
    needed = [{"prompt_id": prompt, "num_samples": count} for prompt, count in tally.needed.items()]
    written = [{"file": name, "sample_ids": ids} for name, ids in tally.written.items()]
    row = {**dataclasses.asdict(tally), "needed": needed, "written": written}
    return pa.Table.from_pylist([row], schema=_TALLY)
