"""Programs of traces: the lines that solve one problem, every value a function of those before it.

A family turns a Problem into a Program; the writer runs it. Values depend on the values *written* so far, so a wrong
one can be carried through the rest of a trace exactly.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

# Names to the values that the trace has written for them.
Env = dict[str, str]


@dataclass(frozen=True, slots=True)
class Check:
    """A line that computes a value by another route, with the verdict at its end; `ok` is the verdict."""

    text: str
    ok: bool


@dataclass(frozen=True, slots=True)
class ProgramStep:
    """One line that derives a value.

    `head` is the line up to the value, `value` what follows from the values written so far (None: outside 0..99),
    `check` tests a written value (None: this one cannot be tested that way), `guess` makes a plausible wrong value.
    """

    name: str
    head: Callable[[Env], str]
    value: Callable[[Env], str | None]
    check: Callable[[Env, str], Check | None]
    guess: Callable[[Env, random.Random], str]


@dataclass(frozen=True, slots=True)
class Program:
    """All the lines that a trace may contain about a problem.

    `opening` are lines that copy the givens; `final_check` tests the result as a whole; `alternative` is a line that
    starts another way and abandons it.
    """

    opening: tuple[str, ...]
    steps: tuple[ProgramStep, ...]
    final_check: Callable[[Env], Check | None]
    alternative: Callable[[random.Random], str]
    answer: Callable[[Env], str]


def judge(text: str, found: str, expected: str) -> Check:
    """The check that came to `found` where `expected` was due. The earlier value is written beside the new one, so that
    the verdict compares two neighbours."""
    ok = found == expected
    return Check(f"check: {text}, had {expected}, {'ok' if ok else 'no'}", ok)
