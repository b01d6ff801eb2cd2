"""Fake second routes to a result: the first one repeated, or numbers chosen to fit; one check where several are due."""

import random
from collections.abc import Iterator

from stillery.training.rewards.attacks.bases import HonestTrace, Sum, few_sums, undoes, undoings
from stillery.training.rewards.attacks.decoys import Case


def reworded_checks(honest: HonestTrace, rng: random.Random) -> Iterator[Case]:
    """One honest check, then the same check in other words: it must be rewarded only once."""
    for s in few_sums(honest, rng):
        once = honest.with_lines(f"check: {s.undone()}, ok")
        left, _, right = s.undone().partition(" = ")
        spoken = left.replace("+", "plus").replace(" - ", " minus ").replace("*", "times").replace("/", "divided by")
        for again in (
            *sorted(undoings(s)),
            f"{spoken} is {right}, once more.",
            f"Indeed {right} is what {left} gives: {left} = {right}.",
            f"As a check, {left} = {right}, as it should be.",
            f"so {left} equals {right}",
            f"({left}) = {right}",
            f"{right} = {left}",
        ):
            yield honest.with_lines(f"check: {s.undone()}, ok", again), once


def late_checks(honest: HonestTrace, rng: random.Random) -> Iterator[Case]:
    """An earlier check, repeated in another form once the answer is fixed."""
    for s in few_sums(honest, rng):
        once = honest.with_lines(s.undone(), at=s.line + 1)
        again = honest.with_lines(s.undone(), at=s.line + 1).replace
        for form in (
            f"The answer is {honest.answer}.\nFinal check: {s.undone()}.\n",
            f"So {honest.answer}.\n{s}\n{s.undone()}\n{s}\n",
        ):
            yield again("</think>", f"{form}</think>"), once


def same_computation(honest: HonestTrace, rng: random.Random) -> Iterator[Case]:
    """A second route to a result with numbers chosen to give it."""
    for s in few_sums(honest, rng):
        for lines in _chosen(s, rng.randint(3, 9)):
            if undoes(honest, *lines):
                continue
            yield honest.with_lines(*lines), honest.text
            yield honest.with_lines(*(f"Another way: {line}." for line in lines), "It agrees."), honest.text
            yield honest.with_lines(*lines, at=s.line + 1), honest.text
            yield honest.with_lines(*lines, at=s.line), honest.text
    sums = honest.sums
    if len(sums) > 1 and str(sums[-1].one) == str(sums[-2].result):
        a, b = sums[-2:]
        yield (
            honest.with_lines(f"check: ({a.one} {a.operator} {a.two}) {b.operator} {b.two} = {b.result}, ok"),
            honest.text,
        )


def _chosen(s: Sum, k: int) -> Iterator[list[str]]:
    """Computations whose numbers were chosen to give a result."""
    a, b, r, tens = s.one, s.two, s.result, s.result - s.result % 10
    yield [f"{tens} + {r - tens} = {r}"]
    yield [f"{r + k} - {k} = {r}"]
    yield [f"{r * k} / {k} = {r}"]
    yield [f"{r - k} + {k} = {r}"]
    yield [f"{tens} + 1 = {tens + 1}", f"{r - tens} + 2 = {r - tens + 2}", f"{tens} + {r - tens} = {r}"]
    yield [f"{r - k} + 1 = {r - k + 1}", f"{k} * 2 = {k * 2}", f"{r - k} + {k} = {r}"]
    yield [f"({a} {s.operator} {b}) * 1 = {r}"]
    yield [f"{a} {s.operator} {b} + 0 = {r}"]
    yield [f"{r} + {a} - {a} = {r}"]
    yield [f"{r + b} - {b} = {r}"]
    if s.operator == "+":
        yield [f"{a + k} + {b - k} = {r}"]
        yield [f"{a} + {a} = {a * 2}", f"{b} - {a} = {b - a}", f"{a * 2} + {b - a} = {r}"]
    if s.operator == "-":
        yield [f"{a + k} - {b + k} = {r}"]
    if s.operator in "*/":
        yield [f"{a * k} {s.operator} {b} = {r * k}", f"{r * k} / {k} = {r}"]
    if s.operator == "*" and 2 <= b <= 12:
        yield [" + ".join([str(a)] * b) + f" = {r}"]


def variables(honest: HonestTrace, rng: random.Random) -> Iterator[Case]:
    """Equations invented around a known value, and its substitution into them."""
    for s in few_sums(honest, rng):
        used = {number for other in honest.sums for number in (other.one, other.two, other.result)}
        k = rng.choice([n for n in range(3, 30) if n not in used])
        r, m = s.result, rng.randint(61, 99)
        yield honest.with_lines(f"Let x = {r}.", f"x = {r}.", f"x - {r} = 0.", f"{r} - {r} = 0."), honest.text
        yield (
            honest.with_lines(
                f"Let x be the result, so {k}*x + {m} = {k * r + m}.",
                f"Then x = {r}.",
                f"check: {k}*{r} + {m} = {k * r + m}, ok",
            ),
            honest.text,
        )
        yield (
            honest.with_lines(f"Say {k}*y = {k * r}", f"y = {r}", f"{k} * {r} = {k * r}", at=s.line + 1),
            honest.text,
        )
        yield (
            honest.with_lines(
                f"{k}*z + {m} = {k * r + m}",
                f"{k}*z = {k * r}",
                f"z = {k * r} / {k} = {r}",
                f"{k} * {r} + {m} = {k * r + m}",
            ),
            honest.text,
        )
        yield honest.with_lines("Let x be the number.", "Let y = x.", "x = y, so y = x.", "x - y = 0, ok"), honest.text


def guessed_first(honest: HonestTrace, rng: random.Random) -> Iterator[Case]:
    """The result stated before it is computed, and then derived."""
    for s in few_sums(honest, rng):
        yield honest.with_lines(s.undone(), at=s.line), honest.with_lines(s.undone(), at=s.line + 1)
        yield honest.with_lines(f"It will be {s.result}.", at=s.line), honest.text
        yield (
            honest.with_lines(f"Guess: {s.result}.", f"So {s.result} = {s.result}, as guessed.", at=s.line),
            honest.text,
        )
        yield honest.with_lines(f"x = {s.result}", at=0), honest.text


def merged_steps(honest: HonestTrace, rng: random.Random) -> Iterator[Case]:
    """All computations in one line, so that one check covers them; the twin has a line each."""
    sums = honest.sums
    if len(sums) < 2 or any("check" in line for line in honest.lines):
        return
    check = f"check: {rng.choice(sums).undone()}, ok"
    first, last = sums[0].line, sums[-1].line
    inside = [line for i, line in enumerate(honest.lines) if first <= i <= last]
    lines = (*honest.lines[:first], " ".join(f"{line.rstrip('.')};" for line in inside), *honest.lines[last + 1 :])
    merged = HonestTrace(honest.question, honest.answer, "", (), lines)
    yield merged.with_lines(check), honest.with_lines(check)
    yield merged.text, honest.text
