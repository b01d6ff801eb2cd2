"""Drills in the wording of the traces: true operations, exact readings, and nothing that chains them."""

import random
import re

import pytest

from stillery.problems.buckets import Bucket, draw
from stillery.problems.problems import Problem
from stillery.tiny_models.lines import draw_line, read_statements, work_alone
from stillery.tiny_models.tokenizer import END
from stillery.tiny_models.traces import PROGRAMS, write_trace

_OPERATION = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")


def problems(task: str) -> list[Problem]:
    return draw(Bucket.BASE_TRAIN, task=task, count=20, seed=3)


@pytest.mark.parametrize("task", PROGRAMS)
def test_no_drill_thinks_answers_or_holds_the_steps_of_a_solution(task: str) -> None:
    rng = random.Random(0)
    for problem in problems(task):
        whole = write_trace(problem, seed=0, style="terse").text.removeprefix("<think>\n").split("\n</think>")[0]
        drills = [
            draw_line(rng, problem),
            *(d[1] for d in (read_statements(rng, problem), work_alone(rng, problem)) if d),
        ]
        for drill in drills:
            assert "<think>" not in drill
            assert "<answer>" not in drill
            assert whole not in drill


@pytest.mark.parametrize("task", ["equations", "word_problems", "quantities"])
def test_every_operation_of_a_drill_is_true(task: str) -> None:
    rng = random.Random(1)
    found = 0
    for problem in problems(task):
        alone = work_alone(rng, problem)
        for text in (draw_line(rng, problem), alone[1] if alone else ""):
            for one, sign, two, result in _OPERATION.findall(text):
                found += 1
                assert int(result) == {"+": int(one) + int(two), "-": int(one) - int(two), "*": int(one) * int(two),
                                       "/": int(one) // int(two)}[sign], text  # fmt: skip
    assert found >= 20


def test_events_alone_all_start_from_the_same_state() -> None:
    rng = random.Random(2)
    for problem in problems("word_problems"):
        alone = work_alone(rng, problem)
        if alone is not None:
            start, *events = alone[1].removesuffix(END).split("\n")
            assert len(events) == problem.num_steps
            assert {event.split(": ")[1].split()[0] for event in events} == {start.split()[1]}


def test_a_reading_says_each_statement_as_it_is_given() -> None:
    rng = random.Random(3)
    for problem in problems("quantities"):
        prompt, completion = read_statements(rng, problem)
        asked = prompt.split("Read ")[1].split(".")[0].split(", ")
        facts = {fact.name: fact.expression for fact in problem.facts}
        lines = completion.removesuffix(END).split("\n")
        assert [line.split(" = ") for line in lines] == [
            [f"{'need' if not facts[name].isdigit() else 'have'} {name}", facts[name]] for name in asked
        ]
        assert "How many" not in prompt


def test_letters_are_not_joined() -> None:
    rng = random.Random(4)
    for problem in problems("last_letters"):
        _, completion = work_alone(rng, problem)
        assert completion.removesuffix(END).split("\n") == [f"word {f.name}: {f.value}" for f in problem.facts[:-1]]
