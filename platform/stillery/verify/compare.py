"""Two answers and the kind of the gold one -> whether they are the same answer. The policy is docs/verification.md.

Pure. What is decided here is exact and cheap; what needs computer algebra is asked of `leaf`, which in the worker
processes is `stillery.verify.symbolic.equal`. Without it such a pair is undecided (None), never guessed: the cheap
way and the slow way are one code path with one hole, so they cannot disagree. What is exact arithmetic
(`quantity`, `rational`) is kept equal with computer algebra by property tests.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from stillery.records import AnswerKind
from stillery.verify import rational
from stillery.verify.choices import choice_of
from stillery.verify.cleaning import clean, clean_text, is_clock
from stillery.verify.dates import parse_date, same_date
from stillery.verify.quantity import parse_quantity, same_quantity, strip_unit
from stillery.verify.structure import align_equations, parse_sequence, split_list

AUTO = "auto"

# An answer past either limit is no answer that a person would read, and is not given to a parser.
MAX_ANSWER_CHARS = 2000
MAX_NESTING = 50
# The elements of a set are compared each with each.
MAX_INLINE_ELEMENTS = 16

Leaf = Callable[[str, str], bool | None]

_YES = {"yes", "true", "correct", "yeah", "y"}
_NO = {"no", "false", "incorrect", "nope", "n"}
_FUNCTIONS = {"sqrt", "sinh", "cosh", "tanh", "asin", "acos", "atan", "arcsin", "arccos", "arctan", "infty", "infinity",
              "floor", "ceil", "theta", "alpha", "beta", "gamma"}  # fmt: skip
# Neither a LaTeX command nor the name of an environment.
_WORD = re.compile(r"(?<![\\A-Za-z])(?<!\\begin\{)(?<!\\end\{)[A-Za-z]{4,}")
_SHORT_FUNCTIONS = {"pi", "ln", "sin", "cos", "tan", "log", "exp", "cot", "sec", "csc", "gcd", "lcm", "mod"}
_UNCOUNTED = re.compile(
    r"\\(?:pm|mp|cup|cap|setminus|mathbb|emptyset|varnothing|in)(?![a-zA-Z])|\\infty|[<>]|\\[lg]eq?"
)


def undecided(predicted: str, gold: str) -> bool | None:  # noqa: ARG001
    """The leaf of the cheap way: it decides nothing."""
    return None


def compare(
    predicted: str, gold: str, *, answer_kind: str = AUTO, choices: Sequence[str] = (), leaf: Leaf = undecided
) -> bool | None:
    """Whether two answers are the same, or None where only computer algebra could tell and `leaf` does not."""
    if is_overlong(predicted, gold):
        return False
    kind = infer_kind(gold, choices=choices) if answer_kind == AUTO else AnswerKind(answer_kind)
    if kind is AnswerKind.CHOICE:
        wanted, named = choice_of(gold, choices), choice_of(predicted, choices)
        return named == wanted if wanted else clean_text(predicted) == clean_text(gold)
    if kind is AnswerKind.YES_NO and yes_no_of(gold) is not None:
        return yes_no_of(predicted) == yes_no_of(gold)
    if kind is AnswerKind.DATE and (date := parse_date(clean(gold))) is not None:
        named_date = parse_date(clean(predicted))
        return named_date is not None and same_date(named_date, date)
    if kind in (AnswerKind.NUMBER, AnswerKind.EXPRESSION, AnswerKind.SET):
        if unreadable(predicted) or unreadable(gold):
            return clean_text(predicted) == clean_text(gold)
        return _same_maths(clean(predicted), clean(gold), leaf, unordered=kind is AnswerKind.SET)
    return clean_text(predicted) == clean_text(gold)


def infer_kind(gold: str, *, choices: Sequence[str] = ()) -> AnswerKind:
    """The kind that a gold answer looks like; words are a string, anything that may be maths an expression."""
    text = clean(gold)
    if choices and choice_of(gold, choices) is not None:
        return AnswerKind.CHOICE
    if text.casefold() in {"yes", "no", "true", "false"}:
        return AnswerKind.YES_NO
    if parse_date(text) is not None:
        return AnswerKind.DATE
    if parse_quantity(text) is not None:
        return AnswerKind.NUMBER
    if re.fullmatch(r"\(?[A-J]\)?", text):
        return AnswerKind.CHOICE
    sequence = parse_sequence(text)
    if sequence is not None and sequence.opening in ("", r"\{") and len(sequence.elements) > 1:
        return AnswerKind.SET
    if sequence is None and (is_prose(text) or re.search(r"\d:\d\d", text) or re.fullmatch(r"[A-Za-z]{2,3}", text)):
        return AnswerKind.EXPRESSION if text.lower() in _SHORT_FUNCTIONS else AnswerKind.STRING
    return AnswerKind.EXPRESSION


def is_overlong(predicted: str, gold: str) -> bool:
    """Whether an answer is so much longer than the gold one that no reading of it could be the same."""
    return len(predicted) > max(MAX_ANSWER_CHARS, 4 * len(gold))


def unreadable(answer: str) -> str | None:
    """Why an answer is too long or too deeply nested to be one; None if it is not."""
    if len(answer) > MAX_ANSWER_CHARS:
        return f"answer of {len(answer)} characters; at most {MAX_ANSWER_CHARS} are read"
    if sum(map(answer.count, "([{")) <= MAX_NESTING:
        return None
    depth = deepest = 0
    for char in answer:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    return f"answer nested {deepest} deep; at most {MAX_NESTING} is read" if deepest > MAX_NESTING else None


def is_prose(text: str) -> bool:
    """Whether a cleaned text holds words (four letters or more that are no function): maths has none."""
    return any(word.lower() not in _FUNCTIONS for word in _WORD.findall(text))


def yes_no_of(text: str) -> bool | None:
    """True for yes, False for no, by the first word; None for neither, and for a text that says both."""
    words = re.findall(r"[a-z]+", clean_text(text))
    if not words or (_YES & set(words) and _NO & set(words)):
        return None
    return True if words[0] in _YES else False if words[0] in _NO else None


def _same_maths(predicted: str, gold: str, leaf: Leaf, *, unordered: bool = False) -> bool | None:
    if not predicted or not gold or predicted == gold:
        return predicted == gold != ""
    if not unordered:
        first, second = parse_quantity(predicted), parse_quantity(gold)
        if first is not None and second is not None:
            return same_quantity(first, second)
    if len(split_list(predicted)) == len(split_list(gold)) == 1:
        left, right = align_equations(predicted, gold)
        if (left, right) != (predicted, gold):
            return _same_maths(left, right, leaf, unordered=unordered)
    if unordered:
        return _same_set(predicted, gold, leaf)
    p, g = parse_sequence(predicted), parse_sequence(gold)
    if p is not None and g is not None:
        if g.opening == r"\{":
            return _same_set(predicted, gold, leaf)
        written = p.opening and g.opening
        if (written and (p.opening, p.closing) != (g.opening, g.closing)) or len(p.elements) != len(g.elements):
            return False
        return _all(_same_maths(a, b, leaf) for a, b in zip(p.elements, g.elements, strict=True))
    if p is not None and len(p.elements) > 1 and parse_quantity(gold) is not None:
        return False
    return _atoms(predicted, gold, leaf)


def _atoms(predicted: str, gold: str, leaf: Leaf) -> bool | None:
    """Two answers without structure of ours: words are compared as text, what is exact arithmetic here, the rest is
    for `leaf`."""
    predicted, gold = strip_unit(predicted), strip_unit(gold)
    if is_prose(predicted) or is_prose(gold) or is_clock(predicted) or is_clock(gold):
        return clean_text(predicted) == clean_text(gold)
    predicted, gold = _without_thousands(predicted), _without_thousands(gold)
    same = rational.equal(predicted, gold)
    return leaf(predicted, gold) if same is None else same


def _without_thousands(text: str) -> str:
    """A number without the commas between its thousands, which to computer algebra make a list."""
    return text.replace(",", "") if "," in text and parse_quantity(text) is not None else text


def _same_set(predicted: str, gold: str, leaf: Leaf) -> bool | None:
    """Order, repeats and brackets do not matter. Unions, intervals by inequalities and ± are left to `leaf`."""
    if _UNCOUNTED.search(predicted) or _UNCOUNTED.search(gold):
        return _atoms(predicted, gold, leaf)
    p, g = parse_sequence(predicted), parse_sequence(gold)
    mine = p.elements if p else [predicted]
    theirs = g.elements if g else [gold]
    numbers = [parse_quantity(e) for e in mine], [parse_quantity(e) for e in theirs]
    if all(q is not None and not q.is_percent and q.unit is None for side in numbers for q in side):
        return {q.value for q in numbers[0] if q} == {q.value for q in numbers[1] if q}
    if leaf is undecided and max(len(mine), len(theirs)) > MAX_INLINE_ELEMENTS:
        return None
    return _all(
        _any(_same_maths(a, b, leaf) for a, b in pairs)
        for pairs in [[(a, b) for b in theirs] for a in mine] + [[(a, b) for a in mine] for b in theirs]
    )


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    known = list(verdicts)
    return False if False in known else None if None in known else True


def _any(verdicts: Iterable[bool | None]) -> bool | None:
    known = list(verdicts)
    return True if True in known else None if None in known else False
