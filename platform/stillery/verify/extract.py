"""A completion's parts -> the text of its final answer, before any comparison. Pure and linear.

Where the answer is looked for, in this order: the last answer block; else, after the thinking, the last
`\\boxed{}`, a last line `#### …`, the last "the answer is …", the last candidate of the answer's kind.
The gold answer is never looked for: an answer that is mentioned is not an answer that is given.
"""

import re
from collections.abc import Sequence

from stillery.records import AnswerKind
from stillery.verify.choices import choice_of, find_choices
from stillery.verify.cleaning import clean
from stillery.verify.compare import is_prose, yes_no_of
from stillery.verify.dates import find_dates, parse_date
from stillery.verify.quantity import parse_quantity
from stillery.verify.template import Parts

_BRACE = re.compile(r"\\boxed\s*\{|\\fbox\s*\{|\\.|[{}]", re.DOTALL)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_ANSWER_IS = re.compile(
    r"\banswer(?:\s+to\s+[^.:\n]{1,80}?)?\s*(?:\*\*)?\s*(?:\bis\b|\bare\b|:)\s*(?:\*\*)?\s*:?\s*", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"\n|[.!?;](?:\s|$)|,?\s(?:because|since|as|which|so)\s")
_NUMBER = re.compile(
    r"(?:(?<![\w)}\]])-\s?)?[$€£]?\s?(?:(?:\d++\s*)?\\d?frac\{-?\d+\}\{-?\d+\}|\d{1,3}(?:,\d{3})++(?!\d)(?:\.\d+)?+"
    r"|\d++(?:\.\d++)?+(?:\s*/\s*\d++(?:\.\d++)?+)?|\.\d++)(?:\s?\\?%)?(?!\w)",
    re.ASCII,
)
_MATHS = re.compile(
    r"\$\$([^$]{1,2000})\$\$|\$([^$\n]{1,500})\$|\\\(([^\n]{1,500}?)\\\)|\\\[(.{1,2000}?)\\\]", re.DOTALL
)
_MAX_LINE_CHARS = 200
# A last line with more words is a sentence about the answer, from which it cannot be told.
_MAX_WORDS = 5
# The last candidate is looked for at the end, where a final answer stands.
_TAIL_CHARS = 4000
# No boxed answer is looked for further from the end: no context window holds that much.
_SEARCHED_CHARS = 1_000_000


def extract_answer(parts: Parts, *, kind: AnswerKind, choices: Sequence[str] = (), is_cut: bool = False) -> str | None:
    """The final answer as the completion writes it, or None.

    `is_cut`: the completion was stopped by its length limit, so only an answer that was closed (by its tag, by the
    brace of its box) is whole; the last number of a text that broke off is not its answer.
    """
    if parts.answer is not None:
        if is_cut and not parts.answer_closed:
            return None
        boxed = last_boxed(parts.answer[-_SEARCHED_CHARS:])
        return _settle(boxed or parts.answer, kind, choices) if parts.answer else None
    visible = parts.visible.rpartition("</think>")[2][-_SEARCHED_CHARS:]
    boxed = last_boxed(visible)
    if boxed is not None or is_cut:
        return boxed
    return _announced(visible, kind, choices) or _last_candidate(visible, kind, choices)


def last_boxed(text: str) -> str | None:
    """The content of the outermost `\\boxed{}` that closes last, without boxes within; None if none closes."""
    stack: list[int | None] = []
    found: tuple[int, int] | None = None
    for mark in _BRACE.finditer(text):
        token = mark.group()
        if token.endswith("{") and token != r"\{":
            stack.append(mark.end() if token != "{" else None)
        elif token == "}" and stack:
            start = stack.pop()
            if start is not None:
                found = (start, mark.start())
    if found is None:
        return None
    inner = text[found[0] : found[1]]
    while (match := _BOX.match(inner)) and inner.endswith("}"):
        inner = inner[match.end() : -1].strip()
    return inner.strip() or None


def _announced(text: str, kind: AnswerKind, choices: Sequence[str]) -> str | None:
    """What follows `####` on the last line, or the last "the answer is"."""
    last_line = text.rstrip().rpartition("\n")[2].strip()
    if last_line.startswith("####") and last_line.strip("# "):
        return _settle(last_line.strip("# "), kind, choices)
    *_, last = [None, *_ANSWER_IS.finditer(text)]
    if last is None:
        return None
    rest = text[last.end() :].lstrip()[:_MAX_LINE_CHARS]
    said = _SENTENCE_END.split(rest, maxsplit=1)[0]
    # "The answer is correct, because …" announces none.
    is_none = kind in (AnswerKind.NUMBER, AnswerKind.DATE) and not any(map(str.isdigit, said))
    return None if is_none or not said.strip() else _settle(said, kind, choices)


def _settle(text: str, kind: AnswerKind, choices: Sequence[str]) -> str:
    """The answer within a short text: the text itself if it reads as one, else, if it is a sentence that names just
    one candidate, that one ("She makes 18 dollars."). A sentence that names several stays whole, and is wrong."""
    text = text.strip()
    if len(text) > _MAX_LINE_CHARS or _reads_as(text, kind, choices):
        return text
    said = [*_ANSWER_IS.finditer(text)]
    if said and (rest := text[said[-1].end() :].strip()):
        return _settle(rest, kind, choices)
    candidates = _candidates(text, kind, choices) if is_prose(clean(text)) else []
    return candidates[0] if len(set(candidates)) == 1 else text


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
    """Everything in a text that could be an answer of the kind, in order."""
    if kind is AnswerKind.NUMBER:
        return [m.group().strip() for m in _NUMBER.finditer(text)]
    if kind is AnswerKind.CHOICE:
        return find_choices(text, choices)
    if kind is AnswerKind.YES_NO:
        return re.findall(r"\b(?:yes|no|true|false)\b", text, re.IGNORECASE)
    if kind is AnswerKind.DATE:
        return find_dates(text)
    if kind in (AnswerKind.EXPRESSION, AnswerKind.SET):
        return [next(filter(None, m.groups())) for m in _MATHS.finditer(text)]
    return []


def _last_candidate(text: str, kind: AnswerKind, choices: Sequence[str]) -> str | None:
    """The last candidate of the kind; for words, and where mathematics is not marked as such, a short last line."""
    tail = text.rstrip()[-_TAIL_CHARS:]
    candidates = _candidates(tail, kind, choices)
    if candidates:
        return candidates[-1].strip()
    if kind not in (AnswerKind.STRING, AnswerKind.EXPRESSION, AnswerKind.SET):
        return None
    line = tail.rpartition("\n")[2].strip()
    return line if 0 < len(line.split()) <= _MAX_WORDS and len(line) <= _MAX_LINE_CHARS else None
