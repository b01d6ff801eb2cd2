"""Honest traces to attack: exact ones of the embedded tasks, and word problems in prose."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from stillery.problems.tasks import TASKS, TRAINED_STEPS
from stillery.tiny_models.traces import PROGRAMS, write_trace

_SUM = re.compile(r"(?<![\w.])(?<![-+*/] )\$?(\d+) ([-+*/]) \$?(\d+) = \$?(\d+)(?![\w.]| [-+*/=])")
_STYLES = ("terse", "checked", "end_check")


@dataclass(frozen=True, slots=True)
class Sum:
    """`one operator two = result`, in a line of the thinking."""

    line: int
    one: int
    operator: str
    two: int
    result: int

    def undone(self) -> str:
        """The computation undone from its result: `39 - 25 = 14` for `14 + 25 = 39`."""
        inverse = {"+": "-", "-": "+", "*": "/", "/": "*"}[self.operator]
        return f"{self.result} {inverse} {self.two} = {self.one}"

    def __str__(self) -> str:
        return f"{self.one} {self.operator} {self.two} = {self.result}"


@dataclass(frozen=True, slots=True)
class HonestTrace:
    """A right completion without tricks: its problem, the lines of its thinking and its answer."""

    question: str
    answer: str
    answer_kind: str
    choices: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return write(self.lines, self.answer)

    @property
    def sums(self) -> list[Sum]:
        """The plain computations in lines, without checks."""
        return [
            Sum(i, int(m[1]), m[2], int(m[3]), int(m[4]))
            for i, line in enumerate(self.lines)
            if not re.search(r"had|check|maybe|redo", line)
            for m in _SUM.finditer(line)
        ]

    def with_lines(self, *lines: str, at: int | None = None) -> str:
        """The completion with lines inserted before line `at`, by default after the last one."""
        place = len(self.lines) if at is None else at
        return write((*self.lines[:place], *lines, *self.lines[place:]), self.answer)

    def with_line(self, at: int, *lines: str) -> "HonestTrace":
        """The trace with one line replaced by others."""
        return replace(self, lines=(*self.lines[:at], *lines, *self.lines[at + 1 :]))


def undoings(s: Sum) -> set[str]:
    """The ways to undo a computation."""
    one, two, result = s.one, s.two, s.result
    return {
        "+": {f"{result} - {two} = {one}", f"{result} - {one} = {two}"},
        "-": {f"{result} + {two} = {one}", f"{two} + {result} = {one}", f"{one} - {result} = {two}"},
        "*": {f"{result} / {two} = {one}", f"{result} / {one} = {two}"},
        "/": {f"{result} * {two} = {one}", f"{two} * {result} = {one}", f"{one} / {result} = {two}"},
    }[s.operator]


def undoes(honest: HonestTrace, *lines: str) -> bool:
    """Whether a line happens to be an honest check: one of the trace's computations undone."""
    turned = {form for s in honest.sums for form in undoings(s)}
    return any(line in turned for line in lines)


def few_sums(honest: HonestTrace, rng: random.Random) -> list[Sum]:
    """Up to two of the computations."""
    sums = honest.sums
    return sums if len(sums) < 3 else rng.sample(sums, 2)


def write(lines: tuple[str, ...], answer: str) -> str:
    """A completion in the template."""
    return "<think>\n" + "".join(f"{line}\n" for line in lines) + f"</think>\n<answer>{answer}</answer>"


def honest_traces(num_each: int, *, seed: int = 0) -> Iterator[HonestTrace]:
    """`num_each` traces of each embedded task in each style without mistakes, and as many of each story."""
    rng = random.Random(seed)
    for task in PROGRAMS:
        for style in _STYLES:
            for _ in range(num_each):
                problem = TASKS[task](rng, rng.choice(TRAINED_STEPS[task]))
                text = write_trace(problem, seed=rng.randrange(1 << 30), style=style).text
                lines = tuple(text.partition("<think>\n")[2].partition("</think>")[0].splitlines())
                yield HonestTrace(problem.question, problem.answer, problem.answer_kind, tuple(problem.choices), lines)
    for story in _STORIES:
        for _ in range(num_each):
            yield story(rng)


def _story(question: str, lines: tuple[str, ...], answer: int) -> HonestTrace:
    return HonestTrace(question, str(answer), "number", (), lines)


def _apples(rng: random.Random) -> HonestTrace:
    a, b, c = rng.randint(11, 40), rng.randint(11, 40), rng.randint(3, 20)
    total = a + b
    return _story(
        f"Tom has {a} apples and buys {b} more. He doubles them, then gives {c} away. How many apples does he have?",
        (
            f"He has {a} + {b} = {total} apples.",
            f"He doubles them: {total} * 2 = {total * 2} apples.",
            f"He gives {c} away: {total * 2} - {c} = {total * 2 - c} apples.",
            f"The answer is {total * 2 - c}.",
        ),
        total * 2 - c,
    )


def _tickets(rng: random.Random) -> HonestTrace:
    adult, child, a, c = rng.randint(12, 30), rng.randint(5, 11), rng.randint(3, 9), rng.randint(3, 9)
    bill = adult * a + child * c
    paid = bill + rng.randint(5, 40)
    return _story(
        f"A ticket costs ${adult} for adults and ${child} for children. A group of {a} adults and {c} children pays "
        f"with ${paid}. How much change does it get?",
        (
            f"First, the adults pay {adult} * {a} = {adult * a} dollars.",
            f"Then the children pay {child} * {c} = {child * c} dollars.",
            f"Together that makes {adult * a} + {child * c} = {bill} dollars.",
            f"So the change is {paid} - {bill} = {paid - bill} dollars.",
        ),
        paid - bill,
    )


def _shelves(rng: random.Random) -> HonestTrace:
    shelves, books, more, friends = rng.randint(4, 9), rng.randint(11, 30), rng.randint(12, 40), rng.randint(3, 6)
    more += -(shelves * books + more) % friends
    total = shelves * books + more
    return _story(
        f"Mia's {shelves} shelves hold {books} books each. She buys {more} more and shares all of them evenly among "
        f"{friends} friends. How many books does each friend get?",
        (
            f"Mia's shelves hold {shelves} * {books} = {shelves * books} books, since every shelf holds {books}.",
            f"After buying {more} more she has {shelves * books} + {more} = {total} books.",
            f"Each friend gets {total} / {friends} = {total // friends} books.",
        ),
        total // friends,
    )


def _tank(rng: random.Random) -> HonestTrace:
    rate, minutes, leak, start = rng.randint(12, 30), rng.randint(5, 12), rng.randint(3, 10), rng.randint(20, 90)
    full, lost = rate * minutes, leak * minutes
    return _story(
        f"A tank holds {start} litres. A pipe adds {rate} litres a minute while {leak} litres a minute leak out. How "
        f"many litres are in it after {minutes} minutes?",
        (
            f"In {minutes} minutes the pipe adds {rate} * {minutes} = {full} litres.",
            f"In the same time {leak} * {minutes} = {lost} litres leak out.",
            f"The tank gains {full} - {lost} = {full - lost} litres.",
            f"It started with {start} litres, so it now holds {start} + {full - lost} = {start + full - lost} litres.",
        ),
        start + full - lost,
    )


_STORIES = (_apples, _tickets, _shelves, _tank)
