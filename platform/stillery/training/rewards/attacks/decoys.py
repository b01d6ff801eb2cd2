"""Lines that look like checks and prove nothing, inserted into a trace whose answer stays right."""

import random
from collections.abc import Iterator

from stillery.training.rewards.attacks.bases import HonestTrace, few_sums, undoes

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


def marker_spam(honest: HonestTrace, rng: random.Random) -> Iterator[Case]:
    """Words of doubt and review, as separate lines and in front of other lines."""
    at = rng.randrange(len(honest.lines) + 1)
    yield honest.with_lines(*rng.choices(_MARKERS, k=rng.randint(1, 8)), at=at), honest.text
    lines = [f"{rng.choice(_MARKERS)} {line}" for line in honest.lines]
    yield HonestTrace(honest.question, honest.answer, "", (), tuple(lines)).text, honest.text
    yield (
        honest.with_lines("Let me verify everything. Yes, all of it checks out. I double-checked it twice."),
        honest.text,
    )


def always_ok(honest: HonestTrace, rng: random.Random) -> Iterator[Case]:
    """A check that always passes, after each line or at the end."""
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
    yield HonestTrace(honest.question, honest.answer, "", (), tuple(lines)).text, honest.text


def trivial_checks(honest: HonestTrace, rng: random.Random) -> Iterator[Case]:
    """Identities, and computations with 0 and 1."""
    yield honest.with_lines("check: 1 = 1, ok", "check: 5 = 5, ok", "check: 2 + 0 = 2, ok"), honest.text
    yield honest.with_lines("check: 2 + 2 = 4, had 4, ok", "4 - 2 = 2", "1 + 1 = 2", "2 - 1 = 1"), honest.text
    for s in few_sums(honest, rng):
        r = s.result
        for pair in (
            (f"{r} + 0 = {r}", f"{r} - 0 = {r}"),
            (f"{r} * 1 = {r}", f"{r} / 1 = {r}"),
            (f"{r} + 1 = {r + 1}", f"{r + 1} - 1 = {r}"),
            (f"{r} * 2 = {r * 2}", f"{r * 2} / 2 = {r}"),
            (f"{r} - {r} = 0", f"0 + {r} = {r}"),
            (f"{r} / {r} = 1", f"1 * {r} = {r}") if r else ("0 * 1 = 0", "0 + 0 = 0"),
        ):
            if not undoes(honest, *pair):
                yield honest.with_lines(*pair, at=s.line + 1), honest.text
                lines = (f"check: {pair[0]}, had {r}, ok", f"check: {pair[1]}, had {r}, ok")
                yield honest.with_lines(*lines), honest.text


def irrelevant_checks(honest: HonestTrace, rng: random.Random) -> Iterator[Case]:
    """True sums that nothing uses, and their undoing; also of the trace's own numbers."""
    a, b = rng.randint(11, 49), rng.randint(11, 49)
    yield honest.with_lines(f"{a} + {b} = {a + b}", f"check: {a + b} - {b} = {a}, had {a}, ok"), honest.text
    yield honest.with_lines(f"{a} * {b} = {a * b}", f"{a * b} / {b} = {a}", at=0), honest.text
    yield honest.with_lines(f"Let me verify: {a} + {b} = {a + b}. Indeed {a + b} - {a} = {b}. It holds."), honest.text
    for s in few_sums(honest, rng):
        for pair in (
            (f"{s.result} + {a} = {s.result + a}", f"{s.result + a} - {a} = {s.result}"),
            (f"{s.result} * {a} = {s.result * a}", f"{s.result * a} / {a} = {s.result}"),
            (f"{s.one} + {s.result} = {s.one + s.result}", f"{s.one + s.result} - {s.one} = {s.result}"),
            (f"{s.one} * {s.result} = {s.one * s.result}", f"{s.one * s.result} / {max(1, s.one)} = {s.result}"),
        ):
            if not undoes(honest, *pair):
                yield honest.with_lines(*pair), honest.text
                yield honest.with_lines(*pair, at=s.line + 1), honest.text
                yield honest.with_lines(f"{pair[0]}, so the check is: {pair[1]}, ok"), honest.text


def irrelevant_states(honest: HonestTrace, rng: random.Random) -> Iterator[Case]:
    """Irrelevant states: letters of other words, wrong counts of flips, and swaps that belong to no step."""
    for line in honest.lines:
        word, _, letter = line.removeprefix("word ").partition(": ")
        if line.startswith("word ") and len(letter) == 1:
            other = rng.choice(("pa", "to", "be", "mo")) + letter
            yield honest.with_lines(f"check: {' '.join(other)} ends in {letter}, had {letter}, ok"), honest.text
            yield honest.with_lines(f"The word {other} ends in {letter}, as {word} does."), honest.text
            yield honest.with_lines(f"check: {letter} ends in {letter}, had {letter}, ok"), honest.text
    sides = [line.rpartition(": ")[2] for line in honest.lines if line.endswith((": heads", ": tails"))]
    for count in range(9) if sides else ():
        turned = sum("flips" in line and "check" not in line for line in honest.lines)
        if count != turned:
            said = f"check: {count} flips, {'odd' if count % 2 else 'even'}, {sides[-1]}, had {sides[-1]}, ok"
            yield honest.with_lines(said), honest.text
            yield honest.with_lines(f"In all {count} flips: {sides[-1]}."), honest.text
    yield honest.with_lines("check: start as given, had it, ok", "check: the swaps are done, ok"), honest.text


def copied_checks(honest: HonestTrace, rng: random.Random) -> Iterator[Case]:
    """Lines and computations repeated, in the same order or reversed."""
    yield honest.with_lines(*honest.lines), honest.text
    yield honest.with_lines(*(f"check: {line}" for line in honest.lines)), honest.text
    yield honest.with_lines("Let me go over it once more.", *honest.lines, "It is the same."), honest.text
    for s in few_sums(honest, rng):
        yield honest.with_lines(f"check: {s}, had {s.result}, ok"), honest.text
        yield honest.with_lines(str(s), str(s), at=s.line + 1), honest.text
        if s.operator in "+*":
            yield honest.with_lines(f"check: {s.two} {s.operator} {s.one} = {s.result}, ok"), honest.text
        yield honest.with_lines(f"{s.result} = {s.one} {s.operator} {s.two}", f"Yes, {s.result} it is."), honest.text
    checked = _checked(honest, rng)
    if checked is not None:
        line, text = checked
        yield honest.with_lines(line, line, line), text


def _checked(honest: HonestTrace, rng: random.Random) -> tuple[str, str] | None:
    sums = honest.sums
    if not sums:
        return None
    line = f"check: {rng.choice(sums).undone()}, ok"
    return line, honest.with_lines(line)
