"""The engine actor without Ray: a process that ends when its engine breaks, and the same batch in the next one."""

import multiprocessing
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Generation, RenderedPrompt, Request, to_table
from stillery.sampling.engine import BrokenEngineError
from stillery.sampling.engine_actors import BatchOutcome, LazyEngine, Sampler
from stillery.sampling.sample_log import SampleLog
from stillery.sampling.sampling_plan import SamplingPlan

BATCHES = [[RenderedPrompt(f"p{number}", "q", [])] for number in range(2)]


class BreakingEngine:
    """Answers a number of requests, then breaks for all pending ones."""

    def __init__(self, answers: int) -> None:
        self._left = answers
        self._lock = threading.Lock()

    def submit(
        self, request: Request, *, sampling: Mapping[str, Any], done: Callable[[Generation | Exception], None]
    ) -> None:
        assert sampling == {"seed": 0}
        with self._lock:
            self._left -= 1
            is_broken = self._left < 0
        if is_broken:
            done(RuntimeError("the device is lost"))
            return
        done(
            Generation(
                request.sample_id, request.prompt_id, request.sample_index, request.seed, request.rendered, "right",
                "stop", 3, 5, None, "m", "{}", 0, False, None,
            )
        )  # fmt: skip

    def close(self) -> None: ...


def plan_in(folder: Path) -> SamplingPlan:
    return SamplingPlan("m", {"seed": 0}, 8, SampleLog(Folder(str(folder))).claim(), 4)


def work(plan: SamplingPlan, answers: int) -> None:
    """An actor's process: both batches at once, in threads as Ray's."""
    actor = Sampler(start=lambda: BreakingEngine(answers), plan=plan, judge=None, where={}, max_failures=2)
    threads = [threading.Thread(target=lambda b=batch: list(actor(to_table(b, RenderedPrompt)))) for batch in BATCHES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def exit_code(plan: SamplingPlan, answers: int) -> int | None:
    process = multiprocessing.get_context("fork").Process(target=work, args=(plan, answers))
    process.start()
    process.join(timeout=60)
    return process.exitcode


def logged(plan: SamplingPlan) -> list[str]:
    tables = plan.log.read(plan.log.files(), columns=("sample_id",)).tables
    return [sample for table in tables.values() for sample in table.column("sample_id").to_pylist()]


def test_a_broken_engine_ends_its_process_once_all_batches_have_written(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    assert exit_code(plan, answers=10) == 1
    assert len(logged(plan)) == 10, "what had finished was not written"
    assert exit_code(plan, answers=100) == 0
    assert len(logged(plan)) == len(set(logged(plan))) == 16


def test_a_batch_on_which_engines_broke_too_often_ends_the_run(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    for _ in range(2):
        assert exit_code(plan, answers=0) == 1
    actor = Sampler(start=lambda: BreakingEngine(100), plan=plan, judge=None, where={}, max_failures=2)
    with pytest.raises(UserError, match=r"engines broke 2 times on the same prompts.*RuntimeError: the device is lost"):
        list(actor(to_table(BATCHES[0], RenderedPrompt)))
    later = SamplingPlan("m", {"seed": 0}, 8, plan.log.claim(), 4)
    assert exit_code(later, answers=100) == 0, "a new start has its own count"
    assert len(logged(later)) == 16


def test_an_engine_that_makes_progress_may_break_as_often_as_it_likes(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    one = [RenderedPrompt("p", "q", [])]
    for _ in range(2):
        plan.log.add_failure("any", "old", trace="", num_made=4)
    actor = Sampler(start=lambda: BreakingEngine(100), plan=plan, judge=None, where={}, max_failures=2)
    assert list(actor(to_table(one, RenderedPrompt)))
    plan.log.add_failure("any", "old", trace="", num_made=3)
    actor._check_failures("any")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("no device"), BrokenEngineError),
        (ValueError("no such field"), ValueError),
        (UserError("x"), UserError),
    ],
)
def test_settings_that_an_engine_refuses_are_not_tried_again(error: Exception, expected: type[Exception]) -> None:
    def start() -> Any:
        raise error

    with pytest.raises(expected):
        LazyEngine(start).submit(Request("s", "p", 0, 0, "q"), sampling={}, done=pytest.fail)


def test_what_engines_tell_reaches_the_driver_whole(tmp_path: Path) -> None:
    """As Ray Data hands it over."""
    from ray.data.block import BlockAccessor

    from stillery.sampling.engine_actors import _tally

    plan = plan_in(tmp_path)
    actor = Sampler(start=lambda: BreakingEngine(100), plan=plan, judge=None, where={}, max_failures=2)
    outcome = BatchOutcome()
    tables: list[pa.Table] = list(actor(to_table(BATCHES[0], RenderedPrompt)))
    for table in tables:
        for row in BlockAccessor.for_block(table).iter_rows(public_row_format=True):
            outcome.add(_tally(dict(row)))
    assert outcome.needed == {"p0": 8}
    assert list(outcome.written) == plan.log.files()
    ids = [outcome.written[plan.log.files()[0]][start : start + 16].hex() for start in range(0, 128, 16)]
    assert ids == logged(plan)
    assert len(outcome.replaced) == 2
