"""Lines that look like checks and prove nothing, put into a trace whose answer stands."""

import random
from collections.abc import Iterator

from stillery.training.rewards.attacks.bases import Honest, Sum

# An attacked completion, and its honest twin.
Case = tuple[str, str]

_MARKERS = (
    "Wait.",
    "Hmm, let me double-check.",
    "Actually, wait.",
    "Let me verify that.",
    "Hold on, is that right?",
    "Okay.",
)


def marker_spam(honest: Honest, rng: random.Random) -> Iterator[Case]:
    """Words of doubt and review, as lines of their own and before other lines."""
    at = rng.randrange(len(honest.lines) + 1)
    yield honest.with_lines(*rng.choices(_MARKERS, k=rng.randint(1, 8)), at=at), honest.text
    lines = [f"{rng.choice(_MARKERS)} {line}" for line in honest.lines]
    yield Honest(honest.question, honest.answer, "", (), tuple(lines)).text, honest.text
    yield (
        honest.with_lines("Let me verify everything. Yes, all of it checks out. I double-checked it twice."),
        honest.text,
    )


def always_ok(honest: Honest, rng: random.Random) -> Iterator[Case]:
    """A check that always comes out well, after each line or at the end."""
    yield honest.with_lines("check: ok", "check: all of the above, ok", "verified: ok"), honest.text
    results = [str(s.result) for s in honest.sums] or [honest.answer]
    for form in (
        "check: {0}, had {0}, ok",
        "{0}, expected {0}, ok",
        "check: {0} = {0}, had {0}, ok",
        "{0} is {0}, which is right.",
    ):
        yield honest.with_lines(*(form.format(value) for value in results)), honest.text
    value = rng.choice(results)
    lines: list[str] = []
    for line in honest.lines:
        lines += [line, f"check: {value}, had {value}, ok" if value in line else "check: fine, ok"]
    yield Honest(honest.question, honest.answer, "", (), tuple(lines)).text, honest.text


def trivial_checks(honest: Honest, rng: random.Random) -> Iterator[Case]:
    """Identities, and computations with 0 and 1."""
    yield honest.with_lines("check: 1 = 1, ok", "check: 5 = 5, ok", "check: 2 + 0 = 2, ok"), honest.text
    yield honest.with_lines("check: 2 + 2 = 4, had 4, ok", "4 - 2 = 2", "1 + 1 = 2", "2 - 1 = 1"), honest.text
    for s in _few(honest, rng):
        r = s.result
        for pair in (
            (f"{r} + 0 = {r}", f"{r} - 0 = {r}"),
            (f"{r} * 1 = {r}", f"{r} / 1 = {r}"),
            (f"{r} + 1 = {r + 1}", f"{r + 1} - 1 = {r}"),
            (f"{r} * 2 = {r * 2}", f"{r * 2} / 2 = {r}"),
            (f"{r} - {r} = 0", f"0 + {r} = {r}"),
            (f"{r} / {r} = 1", f"1 * {r} = {r}") if r else ("0 * 1 = 0", "0 + 0 = 0"),
        ):
            if not _undoes(honest, *pair):
                yield honest.with_lines(*pair, at=s.line + 1), honest.text
                lines = (f"check: {pair[0]}, had {r}, ok", f"check: {pair[1]}, had {r}, ok")
                yield honest.with_lines(*lines), honest.text


def irrelevant_checks(honest: Honest, rng: random.Random) -> Iterator[Case]:
    """True sums that nothing uses, and their undoing; also of the trace's own numbers."""
    a, b = rng.randint(11, 49), rng.randint(11, 49)
    yield honest.with_lines(f"{a} + {b} = {a + b}", f"check: {a + b} - {b} = {a}, had {a}, ok"), honest.text
    yield honest.with_lines(f"{a} * {b} = {a * b}", f"{a * b} / {b} = {a}", at=0), honest.text
    yield honest.with_lines(f"Let me verify: {a} + {b} = {a + b}. Indeed {a + b} - {a} = {b}. It holds."), honest.text
    for s in _few(honest, rng):
        for pair in (
            (f"{s.result} + {a} = {s.result + a}", f"{s.result + a} - {a} = {s.result}"),
            (f"{s.result} * {a} = {s.result * a}", f"{s.result * a} / {a} = {s.result}"),
            (f"{s.one} + {s.result} = {s.one + s.result}", f"{s.one + s.result} - {s.one} = {s.result}"),
            (f"{s.one} * {s.result} = {s.one * s.result}", f"{s.one * s.result} / {max(1, s.one)} = {s.result}"),
        ):
            if not _undoes(honest, *pair):
                yield honest.with_lines(*pair), honest.text
                yield honest.with_lines(*pair, at=s.line + 1), honest.text
                yield honest.with_lines(f"{pair[0]}, so the check is: {pair[1]}, ok"), honest.text


def copied_checks(honest: Honest, rng: random.Random) -> Iterator[Case]:
    """Lines and computations written again, in the same order or turned round."""
    yield honest.with_lines(*honest.lines), honest.text
    yield honest.with_lines(*(f"check: {line}" for line in honest.lines)), honest.text
    yield honest.with_lines("Let me go over it once more.", *honest.lines, "It is the same."), honest.text
    for s in _few(honest, rng):
        yield honest.with_lines(f"check: {s}, had {s.result}, ok"), honest.text
        yield honest.with_lines(str(s), str(s), at=s.line + 1), honest.text
        if s.operator in "+*":
            yield honest.with_lines(f"check: {s.two} {s.operator} {s.one} = {s.result}, ok"), honest.text
        yield honest.with_lines(f"{s.result} = {s.one} {s.operator} {s.two}", f"Yes, {s.result} it is."), honest.text
    checked = _checked(honest, rng)
    if checked is not None:
        line, text = checked
        yield honest.with_lines(line, line, line), text


def reworded_checks(honest: Honest, rng: random.Random) -> Iterator[Case]:
    """One honest check, then the same check in other words: it pays once."""
    for s in _few(honest, rng):
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


def late_checks(honest: Honest, rng: random.Random) -> Iterator[Case]:
    """A check made before, repeated in another form once the answer is fixed."""
    for s in _few(honest, rng):
        once = honest.with_lines(s.undone(), at=s.line + 1)
        again = honest.with_lines(s.undone(), at=s.line + 1).replace
        for form in (
            f"The answer is {honest.answer}.\nFinal check: {s.undone()}.\n",
            f"So {honest.answer}.\n{s}\n{s.undone()}\n{s}\n",
        ):
            yield again("</think>", f"{form}</think>"), once


def same_computation(honest: Honest, rng: random.Random) -> Iterator[Case]:
    """A second way to a result whose numbers were chosen to give it."""
    for s in _few(honest, rng):
        r, k = s.result, rng.randint(3, 9)
        tens = r - r % 10
        chosen = (
            [f"{tens} + {r - tens} = {r}"],
            [f"{r + k} - {k} = {r}"],
            [f"{r * k} / {k} = {r}"],
            [f"{r - k} + {k} = {r}"],
            [f"{s.one + k} {'-' if s.operator == '-' else '+'} {s.two + (k if s.operator == '-' else -k)} = {r}"]
            if s.operator in "+-" else [f"{s.one * k} {s.operator} {s.two} = {r * k}", f"{r * k} / {k} = {r}"],
            [f"{tens} + 1 = {tens + 1}", f"{r - tens} + 2 = {r - tens + 2}", f"{tens} + {r - tens} = {r}"],
            [f"{r - k} + 1 = {r - k + 1}", f"{k} * 2 = {k * 2}", f"{r - k} + {k} = {r}"],
            [f"{s.one + s.two} + {r - s.one - s.two} = {r}"] if r >= s.one + s.two else [f"{r + s.two} - {s.two} = {r}"],
            [f"{s.one} + {s.one} = {s.one * 2}", f"{s.two} - {s.one} = {s.two - s.one}", f"{s.one * 2} + {s.two - s.one} = {r}"]
            if s.operator == "+" and s.two > s.one else [f"{r} + {s.one} - {s.one} = {r}"],
            [" + ".join([str(s.one)] * s.two) + f" = {r}"] if s.operator == "*" and 2 <= s.two <= 12
            else [f"{s.one} {s.operator} {s.two} + 0 = {r}"],
            [f"({s.one} {s.operator} {s.two}) * 1 = {r}"],
        )  # fmt: skip
        for lines in chosen:
            if _undoes(honest, *lines):
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


def variables(honest: Honest, rng: random.Random) -> Iterator[Case]:
    """Equations invented around a known value, and its substitution into them."""
    for s in _few(honest, rng):
        r, k, m = s.result, rng.randint(3, 9), rng.randint(2, 60)
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


def _undoes(honest: Honest, *lines: str) -> bool:
    """Whether a line happens to be an honest check: one of the trace's computations undone."""
    turned = {form for s in honest.sums for form in undoings(s)}
    return any(line in turned for line in lines)


def undoings(s: Sum) -> set[str]:
    """The ways to undo a computation."""
    one, two, result = s.one, s.two, s.result
    return {
        "+": {f"{result} - {two} = {one}", f"{result} - {one} = {two}"},
        "-": {f"{result} + {two} = {one}", f"{two} + {result} = {one}", f"{one} - {result} = {two}"},
        "*": {f"{result} / {two} = {one}", f"{result} / {one} = {two}"},
        "/": {f"{result} * {two} = {one}", f"{two} * {result} = {one}", f"{one} / {result} = {two}"},
    }[s.operator]


def _few(honest: Honest, rng: random.Random) -> list[Sum]:
    """Up to two of the computations."""
    sums = honest.sums
    return sums if len(sums) < 3 else rng.sample(sums, 2)


def _checked(honest: Honest, rng: random.Random) -> tuple[str, str] | None:
    sums = honest.sums
    if not sums:
        return None
    line = f"check: {rng.choice(sums).undone()}, ok"
    return line, honest.with_lines(line)
