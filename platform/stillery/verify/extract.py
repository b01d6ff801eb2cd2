"""Extracts the final answer of a completion. Pure and linear.

The search order: the last answer block; else, after the thinking, the last `\\boxed{}`, a last line `#### …`, the last
"the answer is …", the last candidate of the answer's kind. The gold answer is never searched for: mentioning an answer
is not giving it.
"""

import re
from collections.abc import Sequence

from stillery.maths.quantities import parse_quantity
from stillery.records import AnswerKind
from stillery.verify.announcements import MAX_CHARS, after_hashes, announced
from stillery.verify.boxes import last_boxed
from stillery.verify.choices import choice_of, find_choices
from stillery.verify.cleaning import clean
from stillery.verify.dates import find_dates, parse_date
from stillery.verify.denials import is_denied
from stillery.verify.markdown import strip_markdown
from stillery.verify.numbers import find_numbers
from stillery.verify.template import TemplateParts
from stillery.verify.words import find_replies, is_prose, yes_no_of

_MATHS = re.compile(
    r"\$\$([^$]{1,2000})\$\$|\$([^$\n]{1,500})\$|\\\(([^\n]{1,500}?)\\\)|\\\[(.{1,2000}?)\\\]", re.DOTALL
)
# In "2 or 3" neither is the answer.
_JOINED = re.compile(
    r"[)\]]?\$?(?:\\[)\]])?(?:(?:,?\s+or|\s+and|\s*&)\s+\$?(?:\\[(\[])?(?:[a-zA-Z]\s*=\s*)?[(\[]?|[\u2013-])\Z",
    re.IGNORECASE,
)
# What stands between formulas that together are one answer: "$1$, $2$, and $3$".
_BETWEEN = re.compile(r"\s*(?:,|;|,?\s*(?:and|or|&))\s*", re.IGNORECASE)
_OR = re.compile(r"\s*,?\s*or\s*", re.IGNORECASE)
_LETTER_LAST = re.compile(r"(?<![\w'])([A-J])\Z")
# A sentence that ends in a quotation, or in the target of an arrow: The word is "naoa".
_QUOTED_LAST = re.compile(
    r"(?:\b(?:is|are|be|gives?|get|yields?|makes?|spells?|forms?|becomes?|so|thus|hence|therefore)|[:=→,])\s*"
    r"(?:\"([^\"\n]{1,100})\"|[“«]([^”»\n]{1,100})[”»])[\s.!]*\Z"
    r"|(?:→|[=-]>)\s*([^\s\"“«→=>]{1,60}?)[\s.!]*\Z",
    re.IGNORECASE,
)
# A chain of equalities is one statement: its result is the last side.
_CHAIN = re.compile(r"[^=,;<>]+(?:=[^=,;<>]+)*=\s*([^=,;<>]+)")
# A last line with more words is a sentence about the answer, from which the answer cannot be extracted.
_MAX_WORDS = 5
# The last candidate is searched for near the end, where a final answer stands.
_TAIL_CHARS = 4000
# Boxed answers are searched for at most this far from the end: no context window is longer.
_SEARCHED_CHARS = 1_000_000
_SOME = (AnswerKind.NUMBER, AnswerKind.DATE, AnswerKind.YES_NO)


def extract_answer(
    parts: TemplateParts, *, kind: AnswerKind, choices: Sequence[str] = (), is_cut: bool = False, several: bool = False
) -> str | None:
    """The final answer as written in the completion, or None.

    `is_cut`: the completion was stopped by its length limit, so only an answer that was closed (by its tag, by the
    brace of its box) is complete; the last number of a truncated text is not its answer. `several`: the gold answer has
    several values, which a sentence may give in a box each.
    """
    if parts.answer is not None:
        if is_cut and not parts.answer_closed:
            return None
        boxed = last_boxed(parts.answer[-_SEARCHED_CHARS:], several=several)
        return _settle(boxed or strip_markdown(parts.answer, has_quotes=False), kind, choices) if parts.answer else None
    visible = parts.visible[-_SEARCHED_CHARS:]
    boxed = last_boxed(visible, several=several)
    if boxed is not None or is_cut:
        return None if boxed is None else _settle(boxed, kind, choices)
    if (hashed := after_hashes(visible)) is not None:
        return _settle(strip_markdown(hashed), kind, choices)
    visible = strip_markdown(visible)
    return _announced(visible, kind, choices) or _last_candidate(visible, kind, choices)


def _announced(text: str, kind: AnswerKind, choices: Sequence[str]) -> str | None:
    """The answer in the last announcement that gives one: "The answer is correct, because …" gives no number."""
    for said in announced(text):
        if kind not in _SOME or _reads_as(said, kind, choices) or _candidates(said, kind, choices):
            return _settle(said, kind, choices)
    return None


def _settle(text: str, kind: AnswerKind, choices: Sequence[str]) -> str:
    """The answer within a short text: the text itself if it parses as one, else, if it is a sentence with just one
    candidate, that candidate ("She makes 18 dollars."). A sentence with several stays whole, and is wrong."""
    text = text.strip()
    if len(text) > MAX_CHARS or _reads_as(text, kind, choices):
        return text
    if said := next(announced(text), None):
        return _settle(said, kind, choices)
    chain = _CHAIN.fullmatch(text)
    if chain and is_prose(clean(text)) and _reads_as(chain[1], kind, choices) and " and " not in text:
        return chain[1].strip()
    if kind is AnswerKind.STRING and is_prose(text) and (quoted := _QUOTED_LAST.search(text)):
        return next(filter(None, quoted.groups()))
    candidates = _candidates(text, kind, choices) if is_prose(clean(text)) else []
    return _with_joined(text, candidates, kind) if len(set(candidates)) == 1 else text


def _reads_as(text: str, kind: AnswerKind, choices: Sequence[str]) -> bool:
    cleaned = clean(text)
    if kind is AnswerKind.NUMBER:
        return parse_quantity(cleaned) is not None
    if kind is AnswerKind.CHOICE:
        return choice_of(cleaned, choices) is not None
    if kind is AnswerKind.YES_NO:
        return yes_no_of(cleaned) is not None
    return kind is AnswerKind.DATE and parse_date(cleaned) is not None


def _candidates(text: str, kind: AnswerKind, choices: Sequence[str]) -> list[str]:
    """All candidates for an answer of the kind in a text, in order."""
    if kind is AnswerKind.NUMBER:
        return find_numbers(text)
    if kind is AnswerKind.CHOICE:
        return find_choices(text, choices)
    if kind is AnswerKind.YES_NO:
        return find_replies(text)
    if kind is AnswerKind.DATE:
        return find_dates(text)
    if kind in (AnswerKind.EXPRESSION, AnswerKind.SET):
        return _find_formulas(text, _BETWEEN if kind is AnswerKind.SET else _OR)
    return []


def _find_formulas(text: str, between: re.Pattern[str]) -> list[str]:
    """The formulas that are marked up and not denied; those of one list together, with `between` between them."""
    found: list[str] = []
    end = None
    for match in _MATHS.finditer(text):
        formula = next(filter(None, match.groups()))
        if found and end is not None and between.fullmatch(text, end, match.start()):
            found[-1] = f"{found[-1]}, {formula}"
        elif not is_denied(text, *match.span()):
            found.append(formula)
        end = match.end()
    return found


def _with_joined(text: str, candidates: list[str], kind: AnswerKind) -> str:
    """The last candidate, with the one before it where the two are joined and neither is chosen."""
    last = candidates[-1].strip()
    if kind in (AnswerKind.EXPRESSION, AnswerKind.SET):
        return last
    before = text[: text.rindex(last)] if last in text else ""
    joined = _JOINED.search(before, max(0, len(before) - 20))
    if joined is None:
        return last
    # A capital A may be an article to `find_choices`.
    other = _LETTER_LAST.search(before, 0, joined.start()) if kind is AnswerKind.CHOICE else None
    if other is not None:
        return f"{other[1]} and {last}"
    is_second = len(candidates) > 1 and before[: joined.start()].endswith(candidates[-2].strip())
    return f"{candidates[-2].strip()} and {last}" if is_second else last


def _last_candidate(text: str, kind: AnswerKind, choices: Sequence[str]) -> str | None:
    """The last candidate of the kind; for words, and where mathematics is not marked up, a short last line."""
    tail = text.rstrip()[-_TAIL_CHARS:]
    candidates = _candidates(tail, kind, choices)
    if candidates:
        return _with_joined(tail, candidates, kind)
    if kind is AnswerKind.STRING and (quoted := _QUOTED_LAST.search(tail)):
        return next(filter(None, quoted.groups()))
    if kind not in (AnswerKind.STRING, AnswerKind.EXPRESSION, AnswerKind.SET, AnswerKind.CHOICE):
        return None
    line = tail.rpartition("\n")[2].strip()
    return line if 0 < len(line.split()) <= _MAX_WORDS and len(line) <= MAX_CHARS else None
