"""A batch of prompts against a scripted engine, in threads like a real one."""

import random
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from stillery.io.storage import Folder
from stillery.records import Generation, RenderedPrompt, Request, from_table
from stillery.sampling.batch import Batch, Tally
from stillery.sampling.engine import BrokenEngineError
from stillery.sampling.sample_log import SampleLog
from stillery.sampling.sampling_plan import SamplingPlan

Answer = Callable[[Request, Mapping[str, Any]], Generation]


class ScriptedEngine:
    """Finishes pending requests in random order, in its own thread, until it breaks."""

    def __init__(self, answer: Answer, *, breaks_after: int = 10**9) -> None:
        self.requests: list[Request] = []
        self._answer = answer
        self._breaks_after = breaks_after
        self._rng = random.Random(0)
        self._waiting: list[Any] = []
        self._condition = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    def submit(
        self, request: Request, *, sampling: Mapping[str, Any], done: Callable[[Generation | Exception], None]
    ) -> None:
        with self._condition:
            self.requests.append(request)
            self._waiting.append((request, sampling, done))
            self._condition.notify()

    def close(self) -> None: ...

    def _run(self) -> None:
        num_finished = 0
        while True:
            with self._condition:
                self._condition.wait_for(lambda: bool(self._waiting))
                request, sampling, done = self._waiting.pop(self._rng.randrange(len(self._waiting)))
            num_finished += 1
            done(
                RuntimeError("out of memory") if num_finished > self._breaks_after else self._answer(request, sampling)
            )


class RightJudge:
    """Accepts what says right; what says the same counts once."""

    def submit(self, generation: Generation, *, done: Callable[[str | Exception | None], None]) -> None:
        key = generation.completion if generation.completion.startswith("right") else None
        threading.Thread(target=done, args=(key,), daemon=True).start()


def made(request: Request, completion: str, *, reason: str = "stop", error: str | None = None) -> Generation:
    return Generation(
        request.sample_id, request.prompt_id, request.sample_index, request.seed, request.rendered, completion, reason,
        3, 5, -0.5, "m", "{}", 0, False, error,
    )  # fmt: skip


def right_at(*indices: int) -> Answer:
    return lambda r, _: made(r, f"right {r.sample_index}" if r.sample_index in indices else "wrong")


def plan_in(folder: Path, **changes: Any) -> SamplingPlan:
    settings: dict[str, Any] = {"identity": "m", "sampling": {"seed": 0}, "num_samples": 8, "flush_every": 4}
    return SamplingPlan(**{**settings, "log": SampleLog(Folder(str(folder))), **changes})


def run(plan: SamplingPlan, engine: ScriptedEngine, batch: list[RenderedPrompt], *, judged: bool = True) -> Tally:
    total = Tally()
    for tally in Batch(batch, plan=plan, engine=engine, judge=RightJudge() if judged else None).run():
        total.made += tally.made
        total.errors += tally.errors
        total.accepted += tally.accepted
        total.needed |= tally.needed
        total.written |= tally.written
        total.replaced += tally.replaced
    return total


def prompts(num: int, files: list[str] | None = None) -> list[RenderedPrompt]:
    return [RenderedPrompt(f"p{i}", f"question {i}", files or []) for i in range(num)]


def logged(plan: SamplingPlan) -> dict[str, Generation]:
    """The samples of the log that did not fail, by id."""
    tables = plan.log.read(plan.log.files()).tables.values()
    return {row.sample_id: row for table in tables for row in from_table(table, Generation) if row.error is None}


def test_every_prompt_stops_by_itself_and_nothing_is_made_in_vain(tmp_path: Path) -> None:
    def answer(request: Request, _: Mapping[str, Any]) -> Generation:
        # Prompt i needs i + 2 samples for its two right ones; the last is never solved.
        number = int(request.prompt_id[1:])
        right = number < 3 and request.sample_index in (number, number + 1)
        return made(request, f"right {request.sample_index}" if right else "wrong")

    plan = plan_in(tmp_path, target_accepted=2)
    engine = ScriptedEngine(answer)
    total = run(plan, engine, prompts(4))
    assert total.needed == {"p0": 2, "p1": 3, "p2": 4, "p3": 8}
    assert total.made == len(engine.requests) == len(logged(plan)) == 2 + 3 + 4 + 8


def test_samples_of_an_earlier_start_are_judged_and_not_made_again(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, target_accepted=2)
    with pytest.raises(BrokenEngineError, match="RuntimeError: out of memory"):
        run(plan, ScriptedEngine(right_at(5, 6), breaks_after=3), prompts(1))
    survived = set(logged(plan))
    assert len(survived) == 3
    engine = ScriptedEngine(right_at(5, 6))
    total = run(plan, engine, prompts(1, plan.log.files()))
    assert total.needed == {"p0": 7}
    assert not survived & {request.sample_id for request in engine.requests}
    assert len(logged(plan)) == 7


def test_a_batch_that_is_tried_again_finds_what_it_had_logged(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, flush_every=1)
    run(plan, ScriptedEngine(right_at()), prompts(2), judged=False)
    engine = ScriptedEngine(right_at())
    assert run(plan, engine, prompts(2), judged=False).needed == {"p0": 8, "p1": 8}
    assert engine.requests == []


def test_samples_that_the_judge_counts_as_one_are_accepted_once(tmp_path: Path) -> None:
    total = run(plan_in(tmp_path, target_accepted=2), ScriptedEngine(lambda r, _: made(r, "right")), prompts(1))
    assert (total.needed, total.accepted) == ({"p0": 8}, 1)


def test_a_poisoned_prompt_is_an_error_and_does_not_end_its_neighbours(tmp_path: Path) -> None:
    def answer(request: Request, _: Mapping[str, Any]) -> Generation:
        if request.prompt_id == "p0":
            return made(request, "", error="prompt too long")
        return made(request, f"right {request.sample_index}")

    plan = plan_in(tmp_path, target_accepted=1)
    total = run(plan, ScriptedEngine(answer), prompts(2))
    assert (total.needed, total.errors) == ({"p0": 8, "p1": 1}, 8)
    assert len(logged(plan)) == 1


def test_only_what_was_cut_off_is_sampled_again_with_other_settings(tmp_path: Path) -> None:
    def answer(request: Request, sampling: Mapping[str, Any]) -> Generation:
        if request.sample_index == 1 and sampling["max_tokens"] == 8:
            return made(request, "half", reason="length")
        return made(request, f"right {request.sample_index}")

    sampling = {"seed": 0, "max_tokens": 8}
    plan = plan_in(tmp_path, sampling=sampling, resample={"max_tokens": 16}, num_samples=3)
    engine = ScriptedEngine(answer)
    run(plan, engine, prompts(1), judged=False)
    assert sorted(request.sample_index for request in engine.requests) == [0, 1, 1, 2]
    (prompt,) = prompts(1)
    first, again = (logged(plan)[plan.sample_id(prompt, 1, attempt=attempt)] for attempt in (0, 1))
    assert (first.completion, first.attempt, again.completion, again.attempt) == ("half", 0, "right 1", 1)
