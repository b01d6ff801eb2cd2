"""Structure of a normalised text: lists, tuples, sets and the sides of relations, by top-level signs.

Pure and linear.
"""

import re
from dataclasses import dataclass

from stillery.maths.notation import THIN

_OPENING = re.compile(r"\\\{|\\langle|[({\[]")
_BRACKETS = {"(": ")", "[": "]", "{": "}", r"\{": r"\}", r"\langle": r"\rangle"}
_CLOSING = frozenset(_BRACKETS.values())
_CONNECTIVE = re.compile(r"\s*,?\s+(?:and|or)\s+")
_MARK = re.compile(r"\\[a-zA-Z]+|\\.|[(){}\[\],;=<>!:|]")
# Thousands within a list whose elements are otherwise separated by comma and space.
_SPACED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_THOUSANDS = re.compile(r"(?<![\d.,])(\d{1,3}(?:,\d{3})+)(?![\d,])")


@dataclass(frozen=True, slots=True)
class Brackets:
    """A text as a list. `opening` and `closing` are its brackets: "" for none, `\\{` for a set; angle brackets are read
    as round ones."""

    opening: str
    elements: list[str]
    closing: str


def parse_list(text: str) -> Brackets | None:
    """A text as a list: more than one element, or a set of one; None for a single answer. `f(x, y)` is single."""
    wrapped = _unwrap(text)
    if wrapped is None:
        elements = split_list(text, grouped=True)
        return Brackets("", elements, "") if len(elements) > 1 else None
    opening, inner, closing = wrapped
    elements = split_list(inner)
    if len(elements) < 2 and (opening != r"\{" or not elements):
        return None
    return Brackets(opening, elements, closing)


def split_list(text: str, *, grouped: bool = False) -> list[str]:
    """A text split at its top-level commas, semicolons, "and" and "or". With `grouped`, its commas are read as
    thousands separators where all of them may be."""
    if "," not in text and ";" not in text and " and " not in text and " or " not in text:
        return [text.strip()] if text.strip() else []
    text = _CONNECTIVE.sub(", ", text)
    if re.search(rf",[\s{THIN}]", text):
        text = _SPACED.sub("", text)
    parts = split_at(text, ",", ";")
    if (
        grouped
        and len(parts) > 1
        and all(map(str.strip, parts))
        and "," not in _THOUSANDS.sub("", text)
        and ";" not in text
    ):
        return [_THOUSANDS.sub(lambda m: m[1].replace(",", ""), text).strip()]
    return [part for part in map(str.strip, parts) if part]


def split_at(text: str, *signs: str) -> list[str]:
    """A text split at those of its signs (commands, punctuation) that are outside all brackets."""
    parts: list[str] = []
    start = depth = 0
    for mark in _MARK.finditer(text):
        token = mark.group()
        if token in _BRACKETS:
            depth += 1
        elif token in _CLOSING:
            depth -= 1
        elif depth == 0 and token in signs:
            parts.append(text[start : mark.start()])
            start = mark.end()
    return [*parts, text[start:]]


def _unwrap(text: str) -> tuple[str, str, str] | None:
    """Opening bracket, content and closing bracket, where one pair (or a half-open interval's) encloses the whole."""
    match = _OPENING.match(text)
    if match is None or (match.group() == "{" and text.startswith("{}")):
        return None
    opening = match.group()
    depth = 0
    for mark in _MARK.finditer(text):
        token = mark.group()
        depth += (token in _BRACKETS) - (token in _CLOSING)
        if depth == 0 and token in _CLOSING:
            if mark.end() != len(text):
                return None
            inner = text[match.end() : mark.start()]
            same = {"{": r"\{", r"\langle": "("}.get(opening, opening), {"}": r"\}", r"\rangle": ")"}.get(token, token)
            return same[0], inner, same[1]
    return None
