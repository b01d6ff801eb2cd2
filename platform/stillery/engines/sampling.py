"""Sampling under Ray Data: requests stream to engine actors, finished samples go to the durable log.

The one file of this package that touches Ray. An engine actor appends to the log itself, so what a killed driver
or worker leaves behind is whole and counted; the rows that flow back through Ray Data are only counts.
"""

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Set
from typing import Any

import pyarrow as pa

from stillery.config import EngineConfig
from stillery.engines import log as sample_log
from stillery.engines.models import model_id
from stillery.records import Generation, digest
from stillery.storage import Folder


def sample(
    requests: pa.Table, *, model: str, engine: EngineConfig, sampling: Mapping[str, Any], log: Folder, label: str
) -> list[Generation]:
    """The samples of all requests, in their order: those in the log as they are, the others made now.

    `requests` is a table of Request rows; `sampling` holds vLLM's SamplingParams fields and the run's seed; `label`
    names the work in progress lines. Raises RuntimeError if an engine cannot be started.
    """
    missing = without(requests, sample_log.logged_ids(log))
    num_reused = requests.num_rows - missing.num_rows
    if num_reused:
        print(f"{label}: {num_reused:,} of {requests.num_rows:,} samples are in the log already", flush=True)
    if missing.num_rows:
        _run(missing, model=model, engine=engine, sampling=sampling, log=log, label=label)
    return sample_log.read(log, requests.column("sample_id").to_pylist())


def without(requests: pa.Table, done: Set[str]) -> pa.Table:
    """The requests whose sample is not done."""
    return requests.filter(pa.array([sample not in done for sample in requests.column("sample_id").to_pylist()]))


def _run(
    requests: pa.Table, *, model: str, engine: EngineConfig, sampling: Mapping[str, Any], log: Folder, label: str
) -> None:
    import ray.data

    size = min(engine.requests_per_call, math.ceil(requests.num_rows / engine.replicas))
    blocks = [requests.slice(start, size) for start in range(0, requests.num_rows, size)]
    dataset = ray.data.from_arrow(blocks)
    dataset.context.enable_progress_bars = False
    # Every yielded row of counts becomes a block of its own and arrives at once; by default blocks fill up first.
    dataset.context.target_max_block_size = 1
    counts = dataset.map_batches(
        Sampler,
        fn_constructor_kwargs={"model": model, "engine": engine, "sampling": dict(sampling), "log": log},
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=engine.replicas),
        num_cpus=engine.num_cpus,
        num_gpus=engine.num_gpus,
    )
    progress = Progress(label, requests.num_rows, engine.replicas)
    for row in counts.iter_rows():
        progress.add(**row)


class Sampler:
    """The engine actor: Ray Data makes one a replica and hands it blocks of requests."""

    def __init__(self, *, model: str, engine: EngineConfig, sampling: dict[str, Any], log: Folder) -> None:
        from stillery.engines.vllm_engine import load_engine

        self.llm = load_engine(model, engine)
        self.model_id = model_id(model, engine.engine)
        self.sampling = sampling
        self.log = log
        self.flush_every = engine.flush_every

    def __call__(self, requests: pa.Table) -> Iterator[pa.Table]:
        """Make the block's samples, append them to the log in small files, yield the counts of each file.

        Ray retries a block whose actor died; what that actor had logged is found by the block's name and left out.
        """
        from stillery.engines.vllm_engine import stream

        block = digest("block", requests.column("sample_id").to_pylist())[:16]
        done = sample_log.logged_ids(self.log, batch=block)
        missing = without(requests, done)
        yield _counts([], num_samples=len(done), seconds=0.0)
        rows: list[Generation] = []
        started = time.monotonic()
        for row in stream(self.llm, missing, model_id=self.model_id, sampling=self.sampling):
            rows.append(row)
            if len(rows) == self.flush_every:
                sample_log.append(self.log, block, rows)
                now = time.monotonic()
                yield _counts(rows, num_samples=len(rows), seconds=now - started)
                rows, started = [], now
        if rows:
            sample_log.append(self.log, block, rows)
            yield _counts(rows, num_samples=len(rows), seconds=time.monotonic() - started)


def _counts(rows: list[Generation], *, num_samples: int, seconds: float) -> pa.Table:
    tokens, errors = sum(r.num_tokens for r in rows), sum(r.error is not None for r in rows)
    return pa.table({"samples": [num_samples], "tokens": [tokens], "errors": [errors], "seconds": [seconds]})


@dataclasses.dataclass
class Progress:
    """Prints what is done, the rates and the time left, at most every two seconds and once at the end.

    Rates are those of engines at work: the seconds are the engines' own, so starting them is not counted.
    """

    label: str
    total: int
    replicas: int
    samples: int = 0
    tokens: int = 0
    errors: int = 0
    seconds: float = 0.0
    printed: float = 0.0

    def add(self, *, samples: int, tokens: int, errors: int, seconds: float) -> None:
        """Count one finished file of samples, which took an engine `seconds`."""
        self.samples += samples
        self.tokens += tokens
        self.errors += errors
        self.seconds += seconds / self.replicas
        now = time.monotonic()
        if self.tokens == 0 or (now - self.printed < 2 and self.samples < self.total):
            return
        self.printed = now
        rate = self.samples / self.seconds
        print(
            f"{self.label}: {self.samples:,}/{self.total:,} samples, {rate:.0f} samples/s, "
            f"{self.tokens / self.seconds:,.0f} tokens/s, {self.errors} errors, "
            f"{(self.total - self.samples) / rate:.0f} s left",
            flush=True,
        )
