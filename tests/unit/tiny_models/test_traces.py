"""Traces state only true facts, except for mistakes that they plant, mask and correct."""

import random
import re

import pytest

from stillery.problems.problems import Problem
from stillery.problems.tasks import HELD_OUT_TASK, LONGER_STEPS, TASKS, TRAINED_STEPS
from stillery.tiny_models.traces import PROGRAMS, STYLES, Trace, write_trace
from stillery.tiny_models.traces.program import Env


def draw_many(task: str, count: int = 60) -> list[Problem]:
    rng = random.Random(3)
    lengths = [*TRAINED_STEPS[task], *LONGER_STEPS[task]]
    return [TASKS[task](rng, lengths[i % len(lengths)]) for i in range(count)]


def plant(problem: Problem, *, seed: int, style: str) -> tuple[Trace, int, str]:
    """A trace with a made-up mistake in one of its steps: the trace, the step and the wrong value."""
    rng = random.Random(seed)
    steps = PROGRAMS[problem.task](problem).steps
    number = rng.randrange(len(steps))
    env: Env = {}
    for step in steps[:number]:
        env[step.name] = step.value(env)
    wrong = steps[number].guess(env, rng)
    return write_trace(problem, seed=seed, mistakes={number: wrong}, style=style), number, wrong


def claims(text: str) -> list[tuple[str, str]]:
    """Every two neighbouring sides of `a = b = c` in a text that are all numbers."""
    found: list[tuple[str, str]] = []
    for line in re.split(r"[\n,:]", text):
        sides = [side.strip() for side in line.split(" = ")]
        sides = [re.sub(r"^(left|right|check) ", "", side) for side in sides]
        numeric = [bool(re.fullmatch(r"[\d ()*/+-]+", side)) for side in sides]
        found += [(a, b) for a, b, x, y in zip(sides, sides[1:], numeric, numeric[1:], strict=False) if x and y]
    return found


def test_every_task_but_the_held_out_one_has_a_program() -> None:
    assert PROGRAMS.keys() | {HELD_OUT_TASK} == TASKS.keys()
    assert HELD_OUT_TASK not in PROGRAMS


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("task", PROGRAMS)
def test_clean_trace_is_all_learnt_and_ends_in_the_answer(task: str, style: str) -> None:
    for problem in draw_many(task):
        trace = write_trace(problem, seed=1, style=style)
        assert re.fullmatch(r"<think>\n(.+\n)+</think>\n<answer>(.+)</answer>", trace.text)
        assert trace.text.endswith(f"<answer>{problem.answer}</answer>")
        assert all(piece.loss for piece in trace.pieces)
        assert "wait" not in trace.text
        values = {p.step: p.text.strip() for p in trace.pieces if p.step is not None}
        assert list(values) == list(range(len(PROGRAMS[task](problem).steps)))
        assert values[max(values)].replace(" ", "") == problem.answer or problem.answer in (
            "yes",
            "no",
            *values[max(values)].replace(",", "").split(),
        )


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("task", ["equations", "word_problems", "quantities"])
def test_arithmetic_claims_of_clean_traces_are_true(task: str, style: str) -> None:
    for problem in draw_many(task):
        found = claims(write_trace(problem, seed=2, style=style).text)
        assert len(found) >= problem.num_steps
        assert all(eval(a) == eval(b) for a, b in found)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("task", PROGRAMS)
def test_mistake_is_masked_caught_and_put_right(task: str, style: str) -> None:
    num_planted = 0
    for seed, problem in enumerate(draw_many(task)):
        trace, number, wrong = plant(problem, seed=seed, style=style)
        if not trace.mistakes:
            assert "wait" not in trace.text
            continue
        num_planted += 1
        assert trace.mistakes == {number: wrong}
        masked = [i for i, piece in enumerate(trace.pieces) if not piece.loss]
        assert len(masked) == 1
        assert trace.pieces[masked[0]].text.startswith(f" {wrong}")
        correction = trace.pieces[masked[0] + 1].text
        assert re.search(r"check: .+, had .+, no\nwait, redo:", correction)
        assert trace.text.endswith(f"<answer>{problem.answer}</answer>")
    assert num_planted > 20


def test_late_correction_masks_all_that_follows_from_the_mistake() -> None:
    problem = TASKS["word_problems"](random.Random(5), 4)
    step = PROGRAMS["word_problems"](problem).steps[1]
    wrong = str(int(problem.facts[2].value) + 1)
    trace = write_trace(problem, seed=0, mistakes={1: wrong}, style="end_check")
    (masked,) = [piece.text for piece in trace.pieces if not piece.loss]
    assert masked.startswith(f" {wrong}\n")
    assert masked.count("\n") == problem.num_steps - 1
    correction = trace.text.split("wait, redo:\n", 1)[1]
    assert correction.count("\nthen") == problem.num_steps - 1
    assert all(eval(a) == eval(b) for a, b in claims(correction))
    assert step.name in correction


def test_same_seed_gives_the_same_trace() -> None:
    for task in PROGRAMS:
        problem = draw_many(task, 1)[0]
        assert write_trace(problem, seed=4) == write_trace(problem, seed=4)
        assert len({write_trace(problem, seed=s).text for s in range(30)}) > 3


def test_check_of_a_wrong_value_shows_what_it_came_to_before_the_verdict() -> None:
    problem = TASKS["quantities"](random.Random(1), 2)
    first = PROGRAMS["quantities"](problem).steps[0]
    right = first.value({})
    check = first.check({}, str(int(right) + 1))
    assert not check.ok
    assert re.search(r"= \d+, had \d+, no$", check.text)
    assert first.check({}, right).text.endswith(", ok")


@pytest.mark.parametrize("wrong", ["999", "", "Tom", "4 2", "heads tails", "Ada cup, Bob", "0"])
@pytest.mark.parametrize("style", ["terse", "end_check"])
@pytest.mark.parametrize("task", PROGRAMS)
def test_mistake_that_no_check_can_read_is_not_planted(task: str, style: str, wrong: str) -> None:
    for problem in draw_many(task, 12):
        for number in range(len(PROGRAMS[task](problem).steps)):
            trace = write_trace(problem, seed=number, mistakes={number: wrong}, style=style)
            assert bool(trace.mistakes) == ("wait, redo" in trace.text)
            assert trace.text.endswith(f"<answer>{problem.answer}</answer>")
