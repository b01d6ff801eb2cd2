"""The numbers that a text gives as answers: whole quantities, not digits of a larger expression. Pure and linear."""

import re

from stillery.maths.quantities import SCALE_WORDS

_NUMBER = re.compile(
    r"(?:(?<![\w)}\]])[-\u2010-\u2013\u2212]\s?)?[$€£]?\s?(?:(?:\d++\s*)?\\d?frac\{-?\d+\}\{-?\d+\}|\d{1,3}(?:[,']\d{3})++(?!\d)(?:\.\d+)?+"
    r"|\d{1,3}(?:(?:[ \u00a0\u2009\u202f]|\\[,;:! ]|\{,\})\d{3})++(?![\d-])(?:\.\d+)?+"
    r"|\d++(?:\.\d++)?+(?:\s*/\s*\d++(?:\.\d++)?+)?|\.\d++)(?:\s?\\?%)?(?=[eE][+-]?\d|\W|\Z)",
    re.ASCII,
)
# What may follow a number and belongs to its value.
_GROWTH = re.compile(
    r"\s?[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞]"
    r"|\s?(?:\\times|\\cdot|[×*·x])\s?10\s?(?:\^\s?\{?-?\d{1,4}\}?|[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]{1,4})"
    r"|[eE][+-]?\d{1,4}(?!\w)"
    r"|\.?\\(?:overline|bar|dot)\s?\{?\d+\}?"
    rf"|\s{SCALE_WORDS}",
    re.IGNORECASE,
)
# A number there is a part of an expression that is not read: an exponent, an index, a radicand, a factor.
_PART_BEFORE = re.compile(r"(?:[\^_√]\s?[{(]?-?|\\(?:sqrt|overline|bar|dot|log|ln)(?:\[\w*\])?\s?\{?|[½⅓⅔¼¾π])\Z")
_PART_AFTER = re.compile(r"\s?(?:\\pi(?![a-zA-Z])|π|√|\\sqrt)|\^(?!\s?\{?\s?\\?circ)")
_IN_TUPLE = r"-?[\d.]+(?:\s*,\s*-?[\d.]+)*\s*[)\]]"
_TUPLE_BEFORE = re.compile(r"[(\[]\s*(?:-?[\d.]+\s*,\s*)*\Z")
_TUPLE_AFTER = re.compile(rf"\s*,\s*{_IN_TUPLE}|\s*[)\]]")
# "More than 5", "x > 5" and "not 5" do not give 5; "at least 5" does.
_BOUND = re.compile(
    r"(?:\b(?:more|less|greater|fewer|larger|smaller|higher|lower)\s+than(?:\s+or\s+equal\s+to)?"
    r"|\bnot|(?:(?<=\s)|(?<=[\s$(][a-zA-Z]))[<>]=?|[≤≥]|\\(?:leq?|geq?|leqslant|geqslant|lt|gt)(?![a-zA-Z]))"
    r"\s*[$\\({*]*\Z",
    re.IGNORECASE,
)
_OR_MORE = re.compile(
    r"(?:\s+[a-z]+)?\s+(?:or|and)\s+(?:more|less|fewer|greater|above|below|higher|lower)\b|\s?\w?(?:以上|以下|以内|이상|이하)",
    re.IGNORECASE,
)
_REACH_CHARS = 40


def find_numbers(text: str) -> list[str]:
    """The quantities in a text, in order, each as it is written, without bounds and parts of unread expressions."""
    found: list[str] = []
    at = 0
    while match := _NUMBER.search(text, at):
        start, end = match.span()
        grown = _GROWTH.match(text, end)
        end = grown.end() if grown else end
        at = end
        if not (_is_part(text, start, end) or _is_bound(text, start, end)):
            found.append(text[start:end].strip())
    return found


def _is_part(text: str, start: int, end: int) -> bool:
    first = max(0, start - _REACH_CHARS)
    if _PART_BEFORE.search(text, first, start) or _PART_AFTER.match(text, end):
        return True
    opened, closed = _TUPLE_BEFORE.search(text, first, start), _TUPLE_AFTER.match(text, end)
    return opened is not None and closed is not None and "," in opened.group() + closed.group()


def _is_bound(text: str, start: int, end: int) -> bool:
    return _BOUND.search(text, max(0, start - _REACH_CHARS), start) is not None or _OR_MORE.match(text, end) is not None
