"""Whether two answers are the same, given the kind of the gold one, by the policy of docs/concepts/verification.md.

Pure. An answer is parsed once into a typed value, and values are compared. Decisions here are exact, or agree to fifty
digits, and cheap; pairs that need computer algebra go to `leaf`, which in the worker processes is
`stillery.verify.symbolic.equal`. Without it such a pair is undecided (None), never guessed: the cheap and the slow path
share their code except for the leaf, so they cannot disagree.
"""

import re
from collections.abc import Sequence

from stillery.maths.intervals import is_empty_set
from stillery.maths.quantities import parse_quantity
from stillery.maths.regions import Region
from stillery.maths.values import Series, read
from stillery.records import AnswerKind
from stillery.verify.choices import choice_of, labelled_choice, text_beside_letter
from stillery.verify.cleaning import clean, clean_text, join_letters
from stillery.verify.dates import parse_date, same_date
from stillery.verify.same_maths import same_maths
from stillery.verify.undecided import Leaf, undecided
from stillery.verify.words import is_clock, is_prose, same_words, yes_no_of

AUTO = "auto"

# An answer past either limit is not one that a person would read, and is not passed to a parser.
MAX_ANSWER_CHARS = 2000
MAX_NESTING = 50

_SHORT_FUNCTIONS = {"pi", "ln", "sin", "cos", "tan", "log", "exp", "cot", "sec", "csc", "gcd", "lcm", "mod"}
MATHS = (AnswerKind.NUMBER, AnswerKind.EXPRESSION, AnswerKind.SET)


def compare(
    predicted: str, gold: str, *, answer_kind: str = AUTO, choices: Sequence[str] = (), leaf: Leaf = undecided
) -> bool | None:
    """Whether two answers are the same, or None where only computer algebra could decide and `leaf` does not."""
    if is_overlong(predicted, gold):
        return False
    kind = infer_kind(gold, choices=choices) if answer_kind == AUTO else AnswerKind(answer_kind)
    if kind is AnswerKind.CHOICE:
        return _same_choice(predicted, gold, choices, leaf)
    if kind is AnswerKind.YES_NO and yes_no_of(gold) is not None:
        return yes_no_of(predicted) == yes_no_of(gold)
    if kind is AnswerKind.DATE and (date := parse_date(clean(gold))) is not None:
        named_date = parse_date(clean(predicted))
        return named_date is not None and same_date(named_date, date)
    if kind in MATHS and not (unreadable(predicted) or unreadable(gold)):
        return same_maths(read(clean(predicted)), read(clean(gold)), leaf, unordered=kind is AnswerKind.SET)
    return _same_words(predicted, gold)


def _same_choice(predicted: str, gold: str, choices: Sequence[str], leaf: Leaf) -> bool | None:
    """By letter or by text. A gold answer that gives both, "(D) 42", matches either, and both if they agree."""
    both, wanted = labelled_choice(clean(gold)), choice_of(gold, choices)
    if both is None or (choices and wanted):
        return choice_of(predicted, choices) == wanted if wanted else _same_words(predicted, gold)
    letter, text = both
    named, beside = choice_of(predicted, ()), text_beside_letter(predicted)
    if named is None:
        return compare(predicted, text, leaf=leaf)
    is_reason = beside is None or read(clean(beside)).meaning is None
    return named == letter and (is_reason or compare(beside or "", text, leaf=leaf))


def _same_words(predicted: str, gold: str) -> bool:
    """As text; a word may be spelt out in letters, and there are several ways to say "none"."""
    if same_words(predicted, gold) or join_letters(clean_text(predicted)) == join_letters(clean_text(gold)):
        return True
    return is_empty_set(clean(predicted)) and is_empty_set(clean(gold))


def infer_kind(gold: str, *, choices: Sequence[str] = ()) -> AnswerKind:
    """The kind inferred from a gold answer; words are a string, any possible maths an expression."""
    text = clean(gold)
    if choices and choice_of(gold, choices) is not None:
        return AnswerKind.CHOICE
    if text.casefold() in {"yes", "no", "true", "false"}:
        return AnswerKind.YES_NO
    if parse_date(text) is not None:
        return AnswerKind.DATE
    if parse_quantity(text) is not None:
        return AnswerKind.NUMBER
    if re.fullmatch(r"\(?[A-J]\)?", text) or labelled_choice(text) is not None:
        return AnswerKind.CHOICE
    value = read(text)
    if isinstance(value.meaning, Series) and value.meaning.opening in ("", r"\{") and len(value.meaning.elements) > 1:
        return AnswerKind.SET
    is_listed = isinstance(value.meaning, (Series, Region)) and not is_empty_set(text)
    if not is_listed and (
        is_prose(text) or re.search(r"\d:\d\d", text) or is_clock(text) or re.fullmatch(r"[A-Za-z]{2,3}", text)
    ):
        return AnswerKind.EXPRESSION if text.lower() in _SHORT_FUNCTIONS else AnswerKind.STRING
    return AnswerKind.EXPRESSION


def names_several(gold: str, kind: AnswerKind) -> bool:
    """Whether a gold answer has several values."""
    meaning = read(clean(gold)).meaning if kind in MATHS else None
    return kind is AnswerKind.SET or (isinstance(meaning, Series) and len(meaning.elements) > 1)


def is_overlong(predicted: str, gold: str) -> bool:
    """Whether an answer is so much longer than the gold one that they cannot be the same."""
    return len(predicted) > max(MAX_ANSWER_CHARS, 4 * len(gold))


def unreadable(answer: str) -> str | None:
    """Why an answer is too long or too deeply nested; None if it is not."""
    if len(answer) > MAX_ANSWER_CHARS:
        return f"answer of {len(answer)} characters; at most {MAX_ANSWER_CHARS} are read"
    if sum(map(answer.count, "([{")) <= MAX_NESTING:
        return None
    depth = deepest = 0
    for char in answer:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    return f"answer nested {deepest} deep; at most {MAX_NESTING} is read" if deepest > MAX_NESTING else None
