"""The structure of a cleaned answer: lists, tuples, sets, intervals and equations, by top-level commas and signs.

Pure and linear. Math-Verify reads (2,1) as an open interval, thus empty, and so equal to (5,3): sequences are
therefore compared here, element by element.
"""

import re
from dataclasses import dataclass

_OPENING = re.compile(r"\\\{|\\langle|[({\[]")
_BRACKETS = {"(": ")", "[": "]", "{": "}", r"\{": r"\}", r"\langle": r"\rangle"}
_CONNECTIVE = re.compile(r"\s*,?\s+(?:and|or)\s+")
_MARK = re.compile(r"\\[a-zA-Z]+|\\.|[(){}\[\],;=]")
# Thousands within a list that otherwise separates by comma and space.
_SPACED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_EQUALS = re.compile(r"(?<![<>!:=\\])=(?!=)")
_NAME = re.compile(r"\s*(?:\\?[A-Za-z]\w*(?:\s*\([^()=]{1,20}\))?|[A-Za-z][A-Za-z ]{0,30}|\([A-Za-z, ]+\))\s*")


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list of answers. `opening` and `closing` are its brackets: "" for none, `\\{` for a set; angle brackets are
    read as round ones."""

    opening: str
    elements: list[str]
    closing: str


def parse_sequence(text: str) -> Sequence | None:
    """A text as a list: more than one element, or a set of one; None for a single answer. `f(x, y)` is single."""
    wrapped = _unwrap(text)
    if wrapped is None:
        elements = split_list(text)
        return Sequence("", elements, "") if len(elements) > 1 else None
    opening, inner, closing = wrapped
    elements = split_list(inner)
    if len(elements) < 2 and opening != r"\{":
        return None
    return Sequence(opening, elements, closing)


def split_list(text: str) -> list[str]:
    """A text at its top-level commas, semicolons, "and" and "or"."""
    text = _CONNECTIVE.sub(", ", text)
    if re.search(r",\s", text):
        text = _SPACED.sub("", text)
    parts: list[str] = []
    start = depth = 0
    for mark in _MARK.finditer(text):
        token = mark.group()
        if token in ("(", "[", "{", r"\{", r"\langle"):
            depth += 1
        elif token in (")", "]", "}", r"\}", r"\rangle"):
            depth -= 1
        elif token in (",", ";") and depth == 0:
            parts.append(text[start : mark.start()].strip())
            start = mark.end()
    parts.append(text[start:].strip())
    return [part for part in parts if part]


def align_equations(predicted: str, gold: str) -> tuple[str, str]:
    """What is to be compared where one or both are equations: the gold answer's form decides.

    `x = 5` and `5` name one answer; so do `12 + 5 = 17` and `17`, but `x = 5` and `y = 5` do not.
    """
    p, g = (_EQUALS.split(side) for side in (predicted, gold))
    if len(g) == 1 and len(p) > 1:
        last_is_name = len(p[-1].strip()) == 1 and p[-1].strip().isalpha()
        return (p[0] if last_is_name else p[-1]).strip(), gold
    if len(g) > 1 and len(p) == 1 and _NAME.fullmatch(g[0]):
        return predicted, g[-1].strip()
    if len(g) > 1 and len(p) > 1 and p[0].replace(" ", "") == g[0].replace(" ", "") and _NAME.fullmatch(g[0]):
        return p[-1].strip(), g[-1].strip()
    return predicted, gold


def _unwrap(text: str) -> tuple[str, str, str] | None:
    """Opening bracket, content and closing bracket, where one pair (or a half-open interval's) wraps the whole."""
    match = _OPENING.match(text)
    if match is None or (match.group() == "{" and text.startswith("{}")):
        return None
    opening = match.group()
    depth = 0
    for mark in _MARK.finditer(text):
        token = mark.group()
        depth += (token in _BRACKETS) - (token in _BRACKETS.values())
        if depth == 0 and token in _BRACKETS.values():
            if mark.end() != len(text):
                return None
            inner = text[match.end() : mark.start()]
            same = {"{": r"\{", r"\langle": "("}.get(opening, opening), {"}": r"\}", r"\rangle": ")"}.get(token, token)
            return same[0], inner, same[1]
    return None
