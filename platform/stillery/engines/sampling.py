"""Sampling under Ray Data: prompts stream to engine actors, finished samples go to the durable log.

The one file of this package that touches Ray. An engine actor appends to the log itself, so what a killed driver
or worker leaves behind is whole and counted; the rows that flow back through Ray Data are only tallies.
"""

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from stillery import logs, observe
from stillery.config import EngineConfig
from stillery.engines.block import Block, Plan, Tally
from stillery.engines.engine import Engine, Judge
from stillery.engines.sources import Source
from stillery.records import Ask, Generation, Request, from_table, to_table

# So many blocks are on their way through an engine at once: while the last samples of one finish, others fill it.
BLOCKS_IN_FLIGHT = 4


def sample(
    asks: list[Ask],
    *,
    plan: Plan,
    source: Source,
    engine: EngineConfig,
    judge: Judge | None = None,
    label: str,
) -> dict[str, int]:
    """Make the samples that are missing, into the plan's log. Returns for each prompt how many of its samples count.

    `source` starts an engine in the actor; `engine` says how many there are and what each takes; `label` names the work
    in progress lines. Raises RuntimeError if an engine cannot be started.
    """
    import ray.data

    if not asks:
        return {}
    blocks = [to_table(block, Ask) for block in _blocks(asks, plan=plan, engine=engine)]
    dataset = ray.data.from_arrow(blocks)
    dataset.context.enable_progress_bars = False
    # Every yielded tally becomes a block of its own and arrives at once; by default blocks fill up first.
    dataset.context.target_max_block_size = 1
    tallies = dataset.map_batches(
        Sampler,
        fn_constructor_kwargs={"start": source.start, "plan": plan, "judge": judge, "where": logs.here()},
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(
            min_size=engine.replicas,
            max_size=max(engine.replicas, engine.max_replicas or 0),
            max_tasks_in_flight_per_actor=BLOCKS_IN_FLIGHT,
            max_concurrent_calls_per_actor=BLOCKS_IN_FLIGHT,
            enable_true_multi_threading=True,
        ),
        num_cpus=engine.num_cpus,
        num_gpus=engine.num_gpus,
        resources=engine.resources or None,
        label_selector=engine.labels or None,
    )
    most_samples = len(asks) * plan.num_samples
    progress = Progress(
        label, num_prompts=len(asks), most_samples=most_samples, judged=judge is not None, prices=source.prices
    )
    needed: dict[str, int] = {}
    for row in tallies.iter_rows():
        tally = _tally(row)
        needed |= tally.needed
        progress.add(tally)
    return needed


def _blocks(asks: list[Ask], *, plan: Plan, engine: EngineConfig) -> Iterator[list[Ask]]:
    """Blocks of about `requests_per_call` samples, at least enough of them to keep every engine's flight full."""
    most = max(1, engine.requests_per_call // plan.num_samples)
    size = min(most, math.ceil(len(asks) / (engine.replicas * BLOCKS_IN_FLIGHT)))
    for start in range(0, len(asks), size):
        yield asks[start : start + size]


class Sampler:
    """The engine actor: Ray Data makes one a replica and hands it blocks of prompts, several at a time.

    The engine is started by the first sample that the log does not hold.
    """

    def __init__(
        self, *, start: Callable[[], Engine], plan: Plan, judge: Judge | None, where: Mapping[str, str]
    ) -> None:
        """`where` is what the driver's lines carry, so that this process's carry it too."""
        logs.carry(where)
        self._plan = plan
        self._judge = judge
        self._engine = LazyEngine(start)

    def __call__(self, asks: pa.Table) -> Iterator[pa.Table]:
        """Run a block; yields its tallies. Ray retries a block whose actor died; what that actor had logged is found
        by the block's name and not made again."""
        block = Block(from_table(asks, Ask), plan=self._plan, engine=self._engine, judge=self._judge)
        for tally in block.run():
            yield _row(tally)


class LazyEngine:
    """An engine that starts when it is first needed."""

    def __init__(self, start: Callable[[], Engine]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    def submit(
        self, request: Request, *, sampling: Mapping[str, Any], done: Callable[[Generation | Exception], None]
    ) -> None:
        with self._lock:
            if self._engine is None:
                self._engine = self._start()
        self._engine.submit(request, sampling=sampling, done=done)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()


_TALLY = pa.schema(
    [
        *((name, pa.int64()) for name in ("made", "accepted", "errors", "tokens", "prompt_tokens")),
        ("needed", pa.list_(pa.struct([("prompt_id", pa.large_string()), ("num_samples", pa.int64())]))),
    ]
)


def _tally(row: dict[str, Any]) -> Tally:
    needed: dict[str, int] = {done["prompt_id"]: done["num_samples"] for done in row.pop("needed")}
    return Tally(**row, needed=needed)


def _row(tally: Tally) -> pa.Table:
    needed = [{"prompt_id": prompt, "num_samples": count} for prompt, count in tally.needed.items()]
    return pa.Table.from_pylist([{**dataclasses.asdict(tally), "needed": needed}], schema=_TALLY)


@dataclasses.dataclass
class Progress:
    """Prints what is done, the rates and the time left, at most every two seconds and once at the end.

    The clock starts when the first engine is up. What is left is told by the prompts: with a stopping rule nobody
    knows how many samples will be made.
    """

    label: str
    num_prompts: int
    most_samples: int
    judged: bool
    prices: tuple[float, float] | None = None
    total: Tally = dataclasses.field(default_factory=Tally)
    started: float | None = None
    printed: float = 0.0
    write: Callable[[str], Any] = logs.say

    def add(self, tally: Tally) -> None:
        """Count what has happened."""
        now = time.monotonic()
        self.started = now if self.started is None else self.started
        total = self.total
        total.made += tally.made
        total.accepted += tally.accepted
        total.errors += tally.errors
        total.tokens += tally.tokens
        total.prompt_tokens += tally.prompt_tokens
        total.needed |= tally.needed
        # Without a judge, what is made counts as accepted; nobody has looked at it.
        counted = {"made": tally.made, "accepted": tally.accepted if self.judged else 0, "errors": tally.errors}
        tokens = {"tokens": tally.tokens, "prompt_tokens": tally.prompt_tokens}
        observe.sampled(**counted, **tokens, cost=self._cost(tally))
        observe.progressed(len(total.needed), of=self.num_prompts)
        is_last = len(total.needed) == self.num_prompts and bool(tally.needed)
        if total.made and (is_last or now - self.printed >= 2):
            self.printed = now
            self.write(self._line(now - self.started))

    def _line(self, seconds: float) -> str:
        total, seconds = self.total, max(seconds, 1e-9)
        done = len(total.needed)
        parts = [
            f"{self.label}: {done:,}/{self.num_prompts:,} prompts, {total.made:,} of at most "
            f"{self.most_samples:,} samples"
        ]
        if self.judged:
            parts.append(f"{total.accepted:,} accepted")
        parts.append(f"{total.made / seconds:.0f} samples/s, {total.tokens / seconds:,.0f} tokens/s")
        parts.append(f"{total.errors} errors")
        left = (self.num_prompts - done) / done if done else None
        if self.prices is not None:
            cost = self._cost(total)
            parts.append(f"cost {cost:.2f}" + (f", about {cost * left:.2f} more" if left is not None else ""))
        if left is not None:
            parts.append(f"{left * seconds:.0f} s left")
        return ", ".join(parts)

    def _cost(self, tally: Tally) -> float:
        if self.prices is None:
            return 0.0
        return (tally.prompt_tokens * self.prices[0] + tally.tokens * self.prices[1]) / 1e6
