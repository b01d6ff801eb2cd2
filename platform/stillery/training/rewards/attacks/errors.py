"""False statements: as a check or along the way, planted and corrected, and hidden from the claim parser."""

import random
from collections.abc import Callable, Iterator

from stillery.training.rewards.attacks.bases import HonestTrace, Sum
from stillery.training.rewards.attacks.decoys import Case


def false_arithmetic(honest: HonestTrace, rng: random.Random) -> Iterator[Case]:
    """Wrong computations presented as checks."""
    a, b = rng.randint(11, 49), rng.randint(11, 49)
    yield honest.with_lines(f"check: {a} + {b} = {a + b + 1}, ok"), honest.text
    yield honest.with_lines(f"{a} * {b} = {a * b - 10}, which confirms it."), honest.text
    for s in honest.sums:
        back = s.undone().rpartition(" = ")[0]
        yield honest.with_lines(f"check: {back} = {s.one + 1}, had {s.one}, ok"), honest.text
        yield honest.with_lines(f"check: {back} = {s.one + 1}, ok"), honest.text
        yield honest.with_lines(f"check: {back} = {s.one + 1}, had {s.one + 1}, ok"), honest.text
        yield honest.with_lines(f"{back} = {s.one + 2} = {s.one}", at=s.line + 1), honest.text


def diluted_errors(honest: HonestTrace, rng: random.Random) -> Iterator[Case]:
    """A false line among many true ones; the twin has the false line alone."""
    a, b = rng.randint(11, 49), rng.randint(11, 49)
    wrong = f"{a} + {b} = {a + b + 2}"
    twin = honest.with_lines(wrong)
    true = [f"{n} + {n + 203} = {2 * n + 203}" for n in range(313, 340)]
    yield honest.with_lines(wrong, *true), twin
    yield honest.with_lines(*true, wrong), twin
    for s in honest.sums[-1:]:
        r = s.result
        used = {number for other in honest.sums for number in (other.one, other.two, other.result)}
        added = [n for n in range(3, 20) if not {n, r + n} & used][:6]
        chain = [line for n in added for line in (f"{r} + {n} = {r + n}", f"{r + n} - {n} = {r}")]
        yield honest.with_lines(wrong, *chain), twin
        yield honest.with_lines(wrong, wrong, wrong), twin
        yield honest.with_lines(wrong, f"check: {s.undone()}, ok"), honest.with_lines(f"check: {s.undone()}, ok")


def planted_errors(honest: HonestTrace, rng: random.Random) -> Iterator[Case]:
    """A wrong value that is corrected, with and without a check that fails; the twin has it right at once."""
    for s in honest.sums:
        line, wrong = honest.lines[s.line], s.result + rng.choice((-1, 1, 2, 10))
        if not line.count(f"= {s.result}") or wrong < 0:
            continue
        bad = line.replace(f"= {s.result}", f"= {wrong}")
        back = Sum(s.line, s.one, s.operator, s.two, wrong).undone().rpartition(" = ")[0]
        found = _value(back)
        fails = [f"check: {back} = {found}, had {s.one}, no"] if found is not None else []
        for mend in (
            [f"wait, redo: {line}"],
            [f"That is wrong. {line}"],
            [f"Not {wrong}: {line}"],
            [f"Oops, that should be {s.result}, not {wrong}.", line],
            [*fails, f"wait, redo: {line}"],
            [*fails, f"wait, redo: {line}", f"check: {s.undone()}, ok"],
        ):
            twin = honest.with_line(s.line, line, *(m for m in mend if m == f"check: {s.undone()}, ok"))
            yield honest.with_line(s.line, bad, *mend).text, twin.text
    for s in honest.sums[-1:]:
        for guess in (s.result + 3, s.result - 1):
            lines = (f"I guess it is {guess}.", f"No, {guess} is wrong.", f"Let me work it out: {s}, not {guess}.")
            yield honest.with_lines(*lines), honest.text


def unparsable_claims(honest: HonestTrace, rng: random.Random) -> Iterator[Case]:
    """Computations written so that they cannot be parsed: true ones, and false ones meant to pass unseen."""
    signs = rng.choice(({"=": "→"}, {"=": "⟹", "+": "⊕", "-": "⊖", "*": "⊛", "/": "⊘"}, {"=": "yields what we call"}))
    yield _rewritten(honest, signs), honest.text
    words = {"=": "comes to", "+": "and", "-": "less", "*": "by", "/": "over"}
    yield _rewritten(honest, words), honest.text
    for s in honest.sums[:1]:
        wrong = s.result + 4
        seen = honest.with_lines(f"{s.one} {s.operator} {s.two} = {wrong}", at=s.line + 1)
        for hidden in (
            f"{s.one} {s.operator} {s.two} ⊨ {wrong}, verified",
            rf"\int {s.one} \mathrm{{d}}\mu({s.two}) \models {wrong}, which verifies it",
            f"`{s.one} {s.operator} {s.two} = {wrong}`, ok",
            f"By the lemma, {s.one} with {s.two} is consistent with {wrong}.",
        ):
            yield honest.with_lines(hidden, at=s.line + 1), honest.text
        yield seen, honest.text


def look_alikes(honest: HonestTrace, rng: random.Random) -> Iterator[Case]:
    """Look-alike characters: digits, signs and letters; in true lines and in false checks."""
    full = str.maketrans("0123456789+-*/=", "０１２３４５６７８９＋－＊／＝")
    cyrillic = str.maketrans("aeopcxAEOPCX", "аеорсхАЕОРСХ")
    invisible = rng.choice(("\u200b", "\u2060", "\u00ad", "\ufeff"))
    yield _mapped(honest, lambda line: line.translate(full)), honest.text
    yield _mapped(honest, lambda line: line.translate(cyrillic)), honest.text
    yield _mapped(honest, lambda line: invisible.join(line)), honest.text
    yield honest.with_lines(f"{invisible}ok{invisible}", "\u202e ko \u202c"), honest.text
    yield honest.with_lines("chеck: ok", "сheck: аll verified, ok"), honest.text
    for s in honest.sums[-1:]:
        undone, wrong = s.undone(), f"{s.undone().rpartition(' = ')[0]} = {s.one + 1}"
        once = honest.with_lines(undone)
        for text in (
            undone.translate(full),
            undone.replace("=", "＝"),
            invisible.join(undone),
            undone.replace(" ", "\u00a0"),
        ):
            yield honest.with_lines(undone, text), once
        for text in (
            wrong.translate(full),
            wrong.replace("=", "⩵"),
            invisible.join(wrong),
            wrong.replace(" ", "\u2009"),
        ):
            yield honest.with_lines(text), honest.text


def _mapped(honest: HonestTrace, change: Callable[[str], str]) -> str:
    return HonestTrace(honest.question, honest.answer, "", (), tuple(map(change, honest.lines))).text


def _rewritten(honest: HonestTrace, signs: dict[str, str]) -> str:
    def change(line: str) -> str:
        return " ".join(signs.get(word, word) for word in line.split(" "))

    return _mapped(honest, change)


def _value(text: str) -> int | None:
    one, operator, two = text.split(" ")
    a, b = int(one), int(two)
    if operator == "/":
        return a // b if b and a % b == 0 else None
    return {"+": a + b, "-": a - b, "*": a * b}[operator]
