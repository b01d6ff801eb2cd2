"""An engine killed mid-run: work continues, nothing is lost and nothing is made twice."""

import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import ray

from stillery.config import Config
from stillery.io.run_folder import open_run
from stillery.io.storage import Folder
from stillery.records import Generation, Message, Prompt, Request, from_table
from stillery.sampling.backend import Backend, vllm_backend
from stillery.sampling.engine import Engine
from stillery.sampling.sampler import SampledPrompts, sample
from support.ray_workers import kill_worker
from support.small_run import small_config

pytestmark = pytest.mark.usefixtures("ray_cluster")


def kill_when(condition: Callable[[], bool], actor_class: str) -> threading.Thread:
    """Kill -9 the first process of a Ray actor class as soon as the condition holds."""

    def watch() -> None:
        while not (condition() and kill_worker(actor_class)):
            time.sleep(0.02)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


PROMPTS = [
    Prompt(f"p{i}", "t", f"Solve for x: {i} + x = 40", "1", "number", [], "test", "train", 1, None) for i in range(16)
]
SAMPLING = {"temperature": 1.0, "max_tokens": 96, "seed": 0}


def sampled(folder: Path, source: Callable[[Config], Backend], *overrides: str) -> tuple[SampledPrompts, list[str]]:
    """Four samples of each prompt, and the ids of all rows that are in the log then."""
    config = small_config(folder / "run", "teacher.flush_every=4", *overrides)
    with open_run(config) as run:
        samples = sample(
            PROMPTS, [[Message("user", p.question)] for p in PROMPTS], engine=config.teacher, source=source(config),
            sampling=SAMPLING, num_samples=4, run=run, label="fault",
        )  # fmt: skip
    log = samples.plan.log
    rows = [row for table in log.read(log.files()).tables.values() for row in from_table(table, Generation)]
    return samples, [row.sample_id for row in rows if row.error is None]


def ids_of(samples: SampledPrompts) -> set[str]:
    return {sample for table in samples.tables(rows=1000) for sample in table.column("sample_id").to_pylist()}


def test_a_killed_engine_loses_no_sample_and_makes_none_twice(tmp_path: Path) -> None:
    log = Folder(str(tmp_path / "run" / "log"))
    killer = kill_when(lambda: bool(log.find(".parquet")), "MapBatches(Sampler)")
    samples, logged = sampled(
        tmp_path, lambda config: vllm_backend("embedded:student", config.teacher),
        "teacher.engine.max_num_seqs=4",
    )  # fmt: skip
    killer.join(timeout=1)
    assert not killer.is_alive(), "the engine was never killed"
    assert len(ids_of(samples)) == len(logged) == len(set(logged)) == 64


class BreakingEngine:
    """Answers at once, and breaks after a number of answers, for all pending requests. `starts` counts the engines."""

    def __init__(self, starts: Path, *, breaks_after: int, num_breaking: int) -> None:
        with starts.open("a") as file:
            file.write("started\n")
        self._left = breaks_after if len(starts.read_text().split()) <= num_breaking else 10**9
        self._lock = threading.Lock()

    def submit(
        self, request: Request, *, sampling: Mapping[str, Any], done: Callable[[Generation | Exception], None]
    ) -> None:
        assert sampling["max_tokens"] == 96
        with self._lock:
            self._left -= 1
        if self._left < 0:
            done(RuntimeError("the device is lost"))
            return
        done(
            Generation(
                request.sample_id, request.prompt_id, request.sample_index, request.seed, request.rendered, "right",
                "stop", 3, 5, None, "m", "{}", 0, False, None,
            )
        )  # fmt: skip

    def close(self) -> None: ...


def breaking_source(starts: Path, *, breaks_after: int, num_breaking: int) -> Backend:
    # Workers cannot import this file, so what starts an engine there travels as a whole.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

    def start() -> Engine:
        return BreakingEngine(starts, breaks_after=breaks_after, num_breaking=num_breaking)

    return Backend("m", lambda conversations: [turns[0].content for turns in conversations], start)


def test_an_engine_that_breaks_is_started_anew_and_nothing_is_lost(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    samples, logged = sampled(tmp_path, lambda _: breaking_source(starts, breaks_after=20, num_breaking=2))
    assert len(starts.read_text().split()) == 3
    assert len(ids_of(samples)) == len(logged) == len(set(logged)) == 64


def test_engines_that_always_break_end_the_run_with_their_reason(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    with pytest.raises(Exception, match=r"engines broke 2 times on the same prompts.*RuntimeError: the device is lost"):
        sampled(tmp_path, lambda _: breaking_source(starts, breaks_after=2, num_breaking=99), "teacher.max_failures=2")
    assert 2 <= len(starts.read_text().split()) <= 3
