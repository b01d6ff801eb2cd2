"""Gold answers: taken out of the column that holds them, and of which kind they are.

In: one cell and the settings `answer_format` and `answer_kind`. Out: the answer's text and its AnswerKind. A gold
answer that is not of its kind could never be matched, so it is refused here rather than counted as wrong later.
"""

import re
from collections.abc import Sequence
from datetime import date

from stillery.records import AnswerKind

AUTO = "auto"
FORMATS = ("text", "hash", "boxed")

_NUMBER = re.compile(r"[-+]?(\d[\d,]*\.?\d*|\.\d+)([eE][-+]?\d+)?(\s*/\s*\d+)?")
_YES_NO = frozenset({"yes", "no", "true", "false"})
_LETTER = re.compile(r"\(?([A-Za-z])\)?[.:]?")


def extract(cell: str, *, answer_format: str) -> str:
    """The answer in a cell: all of it (`text`), what follows the last #### (`hash`), or the content of the last
    \\boxed{} (`boxed`). Raises ValueError, saying what is missing, if it is not there or empty."""
    if answer_format == "hash":
        head, mark, answer = cell.rpartition("####")
        if not mark:
            raise ValueError("the answer has no ####; set prompts.answer_format=text if all of it is the answer")
        del head
    elif answer_format == "boxed":
        answer = _last_boxed(cell)
    else:
        answer = cell
    if not answer.strip():
        raise ValueError("the answer is empty; give one, or null for general data that is never checked")
    return answer.strip()


def _last_boxed(text: str) -> str:
    start = text.rfind("\\boxed{")
    depth = 0
    for position in range(start + len("\\boxed"), len(text)) if start >= 0 else ():
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[start + len("\\boxed{") : position]
    raise ValueError("the answer has no complete \\boxed{...}; set prompts.answer_format to text or hash")


def infer_kind(answer: str, *, choices: Sequence[str]) -> AnswerKind:
    """The kind of an answer whose source does not say: the narrowest that it fits.

    A set is never inferred, since a comma also stands in points, dates and large numbers.
    """
    for kind in (AnswerKind.NUMBER, AnswerKind.YES_NO, AnswerKind.DATE):
        if mismatch(answer, kind=kind, choices=choices) is None and not (choices and answer in choices):
            return kind
    if choices and mismatch(answer, kind=AnswerKind.CHOICE, choices=choices) is None:
        return AnswerKind.CHOICE
    return AnswerKind.EXPRESSION if re.search(r"[\\^_{}=+*/<>|]|\d|\s-\s|[a-z]\(", answer) else AnswerKind.STRING


def mismatch(answer: str, *, kind: AnswerKind, choices: Sequence[str]) -> str | None:
    """What keeps an answer from being of a kind, as a phrase; None if nothing does."""
    if kind == AnswerKind.NUMBER:
        plain = answer.strip("$%€£ ").replace("$", "")
        return None if _NUMBER.fullmatch(plain) else "it is not a number"
    if kind == AnswerKind.YES_NO:
        return None if answer.lower().rstrip(".") in _YES_NO else "it is none of yes, no, true, false"
    if kind == AnswerKind.DATE:
        return None if _is_date(answer) else "it is not a date such as 2024-02-29"
    if kind == AnswerKind.CHOICE:
        return _choice_mismatch(answer, choices)
    return None


def _is_date(answer: str) -> bool:
    try:
        date.fromisoformat(answer)
    except ValueError:
        return re.fullmatch(r"\d{1,2}/\d{1,2}/\d{2,4}", answer) is not None
    return not answer.isdigit()


def _choice_mismatch(answer: str, choices: Sequence[str]) -> str | None:
    if answer in choices:
        return None
    letter = _LETTER.fullmatch(answer)
    if letter is None:
        return "it is neither a letter nor the text of a choice"
    position = ord(letter[1].upper()) - ord("A")
    if choices and position >= len(choices):
        return f"it is beyond the {len(choices)} choices"
    return None
