"""Gold answers: extracted from their column and checked to be of their kind.

In: one cell and the settings `answer_format` and `answer_kind`. Out: the answer's text and its AnswerKind, in the
format of `stillery.verify`. A gold answer that is not of its kind could never be matched, so it is refused here rather
than counted as wrong later.
"""

import re
from collections.abc import Sequence

from stillery.maths.quantities import parse_quantity
from stillery.records import AnswerKind
from stillery.verify.boxes import last_boxed
from stillery.verify.choices import choice_of
from stillery.verify.cleaning import clean
from stillery.verify.compare import AUTO, infer_kind
from stillery.verify.dates import parse_date
from stillery.verify.words import yes_no_of

_MISSING = ("nan", "NaN", "None", "null", "NULL", "<NA>", "N/A", "inf", "-inf")

FORMATS = ("text", "hash", "boxed")

_HASHED = re.compile(r"\n#### [^\n]+\s*\Z")


def read_gold(answer: str, *, answer_kind: str, choices: Sequence[str]) -> tuple[str, AnswerKind]:
    """An answer and its kind, which `auto` infers. Raises ValueError, with the reason and the remedy, for an answer
    that is not of the kind."""
    if answer_kind == AUTO:
        if answer in _MISSING:
            raise ValueError(
                f"the answer is {answer}, which data frames write where there is none; give null for general data, or "
                "set prompts.answer_kind=string if the word is meant"
            )
        return answer, infer_kind(answer, choices=choices)
    kind = AnswerKind(answer_kind)
    fault = _mismatch(answer, kind=kind, choices=choices)
    if fault is not None:
        raise ValueError(
            f"the answer {answer[:40]!r} should be of kind {kind}, but {fault}; correct it or set prompts.answer_kind"
        )
    return answer, kind


def extract(cell: str, *, answer_format: str) -> str:
    """The answer in a cell: all of it (`text`), the text after the last #### (`hash`), or the content of the last
    \\boxed{} (`boxed`). Raises ValueError if it is missing or empty."""
    answer: str | None = cell
    if answer_format == "hash":
        _, mark, answer = cell.rpartition("####")
        if not mark:
            raise ValueError("the answer has no ####; set prompts.answer_format=text if all of it is the answer")
    elif answer_format == "boxed":
        answer = last_boxed(cell)
        if answer is None:
            raise ValueError("the answer has no complete \\boxed{...}; set prompts.answer_format to text or hash")
    elif _HASHED.search(cell):
        raise ValueError("the answer ends in a line of ####; set prompts.answer_format=hash if it follows that")
    elif last_boxed(cell) is not None and not cell.strip(" $").startswith("\\boxed"):
        raise ValueError("the answer is a text with a \\boxed{...}; set prompts.answer_format=boxed if that is it")
    if not answer.strip():
        raise ValueError("the answer is empty; give one, or null for general data that is never checked")
    return answer.strip()


def _mismatch(answer: str, *, kind: AnswerKind, choices: Sequence[str]) -> str | None:
    """The reason why an answer is not of a kind, as a phrase; None if it is."""
    if kind is AnswerKind.NUMBER and parse_quantity(clean(answer)) is None:
        return "it is not a number"
    if kind is AnswerKind.YES_NO and yes_no_of(answer) is None:
        return "it says neither yes nor no"
    if kind is AnswerKind.DATE and parse_date(clean(answer)) is None:
        return "it is not a date such as 2024-02-29"
    if kind is AnswerKind.CHOICE and choice_of(answer, choices) is None:
        return f"it names none of the {len(choices)} choices" if choices else "it is not the letter of a choice"
    return None
