"""The generators against independent solvers, which read only the question."""

import datetime
import random
import re

import pytest

from stillery.problems.problems import Problem
from stillery.problems.tasks import HELD_OUT_TASK, LONGER_STEPS, TASKS, TRAINED_STEPS
from stillery.records import AnswerKind


def draw_many(task: str, count: int = 300) -> list[Problem]:
    rng = random.Random(7)
    lengths = [*TRAINED_STEPS[task], *LONGER_STEPS[task], 1]
    return [TASKS[task](rng, lengths[i % len(lengths)]) for i in range(count)]


def solve_equation(question: str) -> set[str]:
    letter, left, right = re.fullmatch(r"Solve for (\w): (.+) = (.+)\.", question).groups()
    sides = [re.sub(rf"\b{letter}\b", "(v)", side) for side in (left, right)]
    return {str(v) for v in range(0, 200) if eval(sides[0], {"v": v}) == eval(sides[1], {"v": v})}


def solve_story(question: str) -> set[str]:
    first, *events = question.split(". ")[:-1]
    count = int(re.search(r"\d+", first)[0])
    fewer = "eats sells gives loses spends pays plays drops leaves unloads earlier forward ahead advanced".split()
    for event in events:
        if event.startswith("The number"):
            count *= 2 if "doubles" in event else 3
        elif event.startswith(("Half", "Only")):
            assert count % (2 if "Half" in event else 3) == 0
            count //= 2 if "Half" in event else 3
        else:
            change = int(re.search(r"\d+", event)[0])
            count += -change if any(word in event.split() for word in fewer) else change
    return {str(count)}


def solve_letters(question: str) -> set[str]:
    return {"".join(word[-1] for word in question.rsplit(": ", 1)[1].rstrip(".?").split())}


def solve_coin(question: str) -> set[str]:
    flips = len(re.findall(r"flips the coin|turns the coin over", question))
    return {"yes" if flips % 2 == 0 else "no"}


def solve_swaps(question: str) -> set[str]:
    held = dict(re.findall(r"(\w+) has the (\w+)", question))
    for one, two in re.findall(r"(\w+) and (\w+) swap", question):
        held[one], held[two] = held[two], held[one]
    return {held[re.search(r"What does (\w+) have", question)[1]]}


def solve_date(question: str) -> set[str]:
    start = re.search(r"planned for (\d+ \w+)\.", question)[1]
    day = datetime.datetime.strptime(f"{start} 2023", "%d %B %Y")
    for number, way in re.findall(r"moved (\d+) days? (later|earlier)", question):
        day += datetime.timedelta(days=int(number)) * (1 if way == "later" else -1)
    return {f"{day.day} {day:%B}"}


def solve_quantities(question: str) -> set[str]:
    *statements, asked = re.split(r"(?<=\.) ", question)
    known: dict[str, int] = {}
    for _ in range(len(statements)):
        for statement in statements:
            name, *others = re.findall(r"[Tt]he (\w+) (?:box|bag|jar)", statement)
            if not all(other in known for other in others):
                continue
            values = [known[other] for other in others]
            number = int((re.search(r"\d+", statement) or ["2"])[0])
            known[name] = (
                number if not values
                else sum(values) if "together" in statement
                else values[0] + number if "more" in statement
                else values[0] - number if "fewer" in statement
                else values[0] * number
            )  # fmt: skip
    return {str(known[re.search(r"in the (\w+) (?:box|bag|jar)\?", asked)[1]])}


SOLVERS = {
    "equations": solve_equation,
    "word_problems": solve_story,
    "last_letters": solve_letters,
    "coin_flip": solve_coin,
    "shuffled_objects": solve_swaps,
    "dates": solve_date,
    "quantities": solve_quantities,
}


@pytest.mark.parametrize("task", TASKS)
def test_answer_is_the_only_solution(task: str) -> None:
    for problem in draw_many(task):
        assert SOLVERS[task](problem.question) == {problem.answer}, problem.question


@pytest.mark.parametrize("task", TASKS)
def test_same_seed_gives_the_same_problems(task: str) -> None:
    assert draw_many(task, 20) == draw_many(task, 20)


@pytest.mark.parametrize("task", TASKS)
def test_facts_come_after_what_they_depend_on_and_end_in_the_answer(task: str) -> None:
    for problem in draw_many(task, 100):
        seen: set[str] = set()
        for fact in problem.facts:
            assert set(fact.depends_on) <= seen
            assert fact.name not in seen
            seen.add(fact.name)
        last = problem.facts[-1].value
        assert problem.answer in {last, "yes", "no", *re.findall(r"\w+", last)}
        assert problem.answer_kind in set(AnswerKind)


@pytest.mark.parametrize("task", ["equations", "word_problems", "quantities"])
def test_numeric_facts_are_true_and_small(task: str) -> None:
    for problem in draw_many(task):
        values = {fact.name: fact.value for fact in problem.facts}
        for fact in problem.facts:
            terms = re.fullmatch(r"(.+) ([-+*/]) (.+)", fact.expression)
            expression = fact.expression
            if terms:
                expression = " ".join(values.get(term, term) for term in terms.groups())
            assert eval(expression) == int(fact.value)
            assert 0 <= int(fact.value) <= 99


@pytest.mark.parametrize("task", ["equations", "word_problems", "quantities"])
def test_num_steps_counts_what_is_worked_out(task: str) -> None:
    for problem in draw_many(task, 100):
        by_name = {fact.name: fact for fact in problem.facts}
        wanted, needed = [problem.facts[-1].name], set()
        while wanted:
            fact = by_name[wanted.pop()]
            needed.add(fact.name)
            wanted += fact.depends_on
        assert sum(" " in by_name[name].expression for name in needed) == problem.num_steps


def test_renamed_problem_has_the_same_signature() -> None:
    rng = random.Random(0)
    by_signature: dict[str, set[str]] = {}
    for _ in range(20_000):
        problem = TASKS["equations"](rng, 1)
        by_signature.setdefault(problem.signature, set()).add(problem.question)
    assert any(len(questions) > 1 for questions in by_signature.values())
    assert len({q for questions in by_signature.values() for q in questions}) > len(by_signature)


def test_held_out_task_is_a_task_and_longer_is_longer() -> None:
    assert HELD_OUT_TASK in TASKS
    assert TASKS.keys() == TRAINED_STEPS.keys() == LONGER_STEPS.keys()
    assert all(max(TRAINED_STEPS[task]) < min(LONGER_STEPS[task]) for task in TASKS)
