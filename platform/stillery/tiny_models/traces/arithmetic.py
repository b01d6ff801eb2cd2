"""Programs of the numeric task families, built of single operations on two whole numbers in 0..99."""

import random
import re
from collections.abc import Sequence
from functools import partial

from stillery.problems.tasks import Fact, Problem
from stillery.problems.tasks.equations import sides_of
from stillery.problems.tasks.quantities import needed
from stillery.tiny_models.traces.program import Check, Env, Program, ProgramStep, judge

_LARGEST = 99


def equation_program(problem: Problem) -> Program:
    """Each value on the way to the variable; the check substitutes the solution, the alternative a guess."""
    letter, left, right = sides_of(problem.question)
    steps = tuple(_step(f, head=f"{f.name} =") for f in problem.facts)

    def substitute(env: Env) -> Check | None:
        sides = [_evaluate(side, letter, env[letter]) for side in (left, right)]
        if sides[0] is None or sides[1] is None:
            return None
        expected = sides[1].rsplit(" = ", 1)[-1]
        found = sides[0].rsplit(" = ", 1)[-1]
        text = sides[0] if sides[1] == right else f"right {sides[1]}, left {sides[0]}"
        return judge(text, found, expected)

    def guess(rng: random.Random) -> str:
        answer = int(problem.answer)
        for wrong in rng.sample(range(10), 10):
            check = substitute({letter: str(wrong)}) if wrong != answer else None
            if check is not None:
                return f"maybe {letter} = {wrong}: {check.text.removeprefix('check: ')}"
        return f"maybe {letter} = {answer + 1}: no way to tell, solve it"

    return Program((), steps, substitute, guess, lambda env: env[letter])


def story_program(problem: Problem) -> Program:
    """One line an event; the check goes back from the end, the alternative takes a later event first."""
    start, *events = problem.facts
    steps = tuple(_step(f, head=f"then {f.name}:", first=start) for f in events)

    def later_first(rng: random.Random) -> str:
        later = rng.choice(events[1:]) if len(events) > 1 else events[0]
        return f"maybe {later.name} first: no, {events[0].name} comes first"

    final = partial(_check_backwards, steps)
    return Program((f"start {start.value}",), steps, final, later_first, lambda env: env[events[-1].name])


def quantity_program(problem: Problem) -> Program:
    """The quantities that the requested one needs, looked up depth first, then computed in reverse; distractors are
    abandoned."""
    asked = problem.facts[-1].name
    order = needed(problem.facts, asked)
    opening = tuple(f"{'need' if f.depends_on else 'have'} {f.name} = {f.expression}" for f in order)
    given = {f.name: f.value for f in order if not f.depends_on}
    steps = tuple(_step(f, head=f"so {f.name} =", given=given) for f in reversed(order) if f.depends_on)
    idle = [f.name for f in problem.facts if f not in order]

    def distracted(rng: random.Random) -> str:
        other = rng.choice(idle)
        return f"maybe use {other}: no, {asked} does not need {other}"

    return Program(opening, steps, partial(_check_backwards, steps), distracted, lambda env: env[asked])


def _step(fact: Fact, *, head: str, first: Fact | None = None, given: Env | None = None) -> ProgramStep:
    match = re.fullmatch(r"(.+) ([-+*/]) (.+)", fact.expression)
    assert match is not None, f"not an operation: {fact.expression!r}"
    left, operator, right = match.groups()
    known = dict(given or {}) | ({first.name: first.value} if first else {})

    def operands(env: Env) -> tuple[int, int]:
        return tuple(int(env.get(x) or known.get(x) or x) for x in (left, right))  # type: ignore[return-value]

    def write_head(env: Env) -> str:
        one, two = operands(env)
        return f"{head} {one} {operator} {two} ="

    def value(env: Env) -> str | None:
        return _apply(operator, *operands(env))

    def check(env: Env, written: str) -> Check | None:
        return _undo(operator, *operands(env), int(written)) if written.isdigit() else None

    def guess(env: Env, rng: random.Random) -> str:
        return _mistake(int(value(env) or 0), rng)

    return ProgramStep(fact.name, write_head, value, check, guess)


def _apply(operator: str, one: int, two: int) -> str | None:
    if operator == "/" and (two == 0 or one % two):
        return None
    result = {"+": one + two, "-": one - two, "*": one * two, "/": one // max(two, 1)}[operator]
    return str(result) if 0 <= result <= _LARGEST else None


def _undo(operator: str, one: int, two: int, written: int) -> Check | None:
    """The operation undone from its written result; a product is recomputed as one multiple less, plus one more."""
    if operator == "*":
        if two < 2 or one * two > _LARGEST:
            return None
        less = one * (two - 1)
        return judge(f"{one} * {two - 1} + {one} = {less} + {one} = {less + one}", str(less + one), str(written))
    inverse = {"+": "-", "-": "+", "/": "*"}[operator]
    back = _apply(inverse, written, two)
    return None if back is None else judge(f"{written} {inverse} {two} = {back}", back, str(one))


def _mistake(value: int, rng: random.Random) -> str:
    """A wrong value of a human kind: off by one, by ten, or with the digits swapped."""
    near = [value + d for d in (-10, -2, -1, -1, 1, 1, 2, 10)] + [int(str(value)[::-1])]
    return str(rng.choice([v for v in near if 0 <= v <= _LARGEST and v != value]))


def _check_backwards(steps: Sequence[ProgramStep], env: Env) -> Check | None:
    """Undo every step from the last to the first that fails, if any."""
    done: list[str] = []
    for step in reversed(steps):
        check = step.check(env, env[step.name])
        if check is None:
            return None
        done.append(check.text.removeprefix("check: ").removesuffix(", ok"))
        if not check.ok:
            return Check(f"check: {', '.join(done)}", False)
    return Check(f"check: {', '.join(done)}, ok", True)


def _evaluate(side: str, letter: str, value: str) -> str | None:
    """A side of an equation with the variable's value substituted, computed one operation at a time.

    `3*(x + 2) + 4` at 5 gives `3 * (5 + 2) + 4 = 3 * 7 + 4 = 21 + 4 = 25`; None if a value leaves 0..99.
    """
    text = re.sub(rf"\b{letter}\b", value, side).replace("*", " * ")
    forms = [text]
    while not text.isdigit():
        inner = re.search(r"\((\d+) (\+) (\d+)\)", text) or re.search(r"(\d+) (\*) (\d+)", text)
        inner = inner or re.search(r"(\d+) ([-+]) (\d+)", text)
        assert inner is not None, f"cannot work out {text!r}"
        result = _apply(inner[2], int(inner[1]), int(inner[3]))
        if result is None:
            return None
        text = text[: inner.start()] + result + text[inner.end() :]
        forms.append(text)
    return " = ".join(forms)
