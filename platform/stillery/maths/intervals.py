"""Reads intervals, inequalities and "all real x except 3" as regions. Pure."""

import re
from collections.abc import Callable, Sequence

from stillery.maths.expressions import Apply, Expression, Name
from stillery.maths.lists import parse_list, split_at, split_list
from stillery.maths.numeric import names_of
from stillery.maths.parser import parse
from stillery.maths.regions import (
    ALL,
    EMPTY,
    MIRRORED,
    NoRegionError,
    Region,
    combine,
    half,
    half_of_magnitude,
    infinite,
    interval,
    named,
)

_EMPTY_WORDS = re.compile(
    r"(?:(?:the\s+)?(?:empty|null)\s+set|none|no\s+(?:real\s+)?(?:solutions?|values?|roots?)(?:\s+exists?)?"
    r"|(?:there\s+(?:is|are)\s+)?no\s+(?:real\s+)?solutions?)",
    re.IGNORECASE,
)
_ALL_REALS = re.compile(
    r"(?:\\mathbb\s*\{?\s*R\s*\}?|(?:the\s+set\s+of\s+)?(?:all\s+)?real(?:s|\s+numbers?(?:\s+[a-zA-Z])?|\s+values?(?:\s+of\s+[a-zA-Z])?"
    r"|\s+[a-zA-Z])(?![a-zA-Z]))",
    re.IGNORECASE,
)
_EXCEPT = re.compile(
    r"\s*(?:\\setminus|-(?=\s*\\\{)|(?:,\s*)?(?:except(?:\s+for)?|excluding|other\s+than|but\s+not|without|such\s+that)(?![a-zA-Z]))\s*"
)
OR = re.compile(r"\s*(?:\\cup|\\vee|\\lor|,?\s+or(?=\s))\s*")
_AND = re.compile(r"\s*(?:\\cap|\\wedge|\\land|,?\s+and(?=\s))\s*")
MEMBER = re.compile(r"\s*[a-zA-Z]\s*\\in(?![a-zA-Z])\s*")
_BUILDER = re.compile(
    r"\\\{\s*([a-zA-Z])\s*(?:\\in\s*\\mathbb\s*\{?R\}?\s*)?(?:\\mid|\\vert|:|\|)\s*(.+)\\\}", re.DOTALL
)
RELATION = re.compile(
    r"\s*(<=|>=|<|>|\\le(?![a-zA-Z])|\\ge(?![a-zA-Z])|\\lt(?![a-zA-Z])|\\gt(?![a-zA-Z])|\\ne(?![a-zA-Z])|!=|=)\s*"
)
_UNEQUAL = re.compile(r"\\ne(?![a-zA-Z])|!=")
SIGNS = {r"\le": "<=", r"\ge": ">=", r"\lt": "<", r"\gt": ">", r"\ne": "!="}
_HINT = re.compile(
    r"\\(?:cup|cap|setminus|mathbb|emptyset|infty|le|ge|lt|gt|ne|in)(?![a-zA-Z])|[<>]|!=|\breal\b|\b(?:empty|no)\s",
    re.IGNORECASE,
)
_MAX_CHARS = 500


def parse_region(text: str) -> Region | None:
    """The set of real numbers that a normalised text denotes; None if it denotes none, or one with a name in its
    bounds."""
    if len(text) > _MAX_CHARS:
        return None
    try:
        return _union(text)
    except NoRegionError:
        return None


def looks_like_region(text: str) -> bool:
    """Whether a text has a sign that tuples, lists and numbers lack."""
    return _HINT.search(text) is not None or (text[:1] + text[-1:]) in ("[)", "(]", "][", "]]", "[[")


def is_empty_set(text: str) -> bool:
    """Whether a text denotes the empty set or says that there is no solution."""
    return text.replace(" ", "") in (r"\emptyset", r"\{\}") or _EMPTY_WORDS.fullmatch(text) is not None


def _union(text: str) -> Region:
    text = text.strip()
    if is_empty_set(text):
        return EMPTY
    if match := _BUILDER.fullmatch(text):
        return named(_union(match[2]), match[1])
    if match := MEMBER.match(text):
        return named(_union(text[match.end() :]), match.group().strip()[0])
    return _joined(text, OR, lambda part: _joined(part, _AND, _difference, lambda a, b: a and b), lambda a, b: a or b)


def _joined(
    text: str, sign: re.Pattern[str], read: Callable[[str], Region], operation: Callable[[bool, bool], bool]
) -> Region:
    parts = split_outside(text, sign)
    region = read(parts[0])
    for part in parts[1:]:
        other = read(part)
        if region.name and other.name and region.name != other.name:
            raise NoRegionError
        region = named(combine(region, other, operation), region.name or other.name)
    return region


def split_outside(text: str, sign: re.Pattern[str]) -> list[str]:
    """A text split at a sign outside all brackets."""
    parts, start = [], 0
    for match in sign.finditer(text):
        before = text[: match.start()]
        if all(
            before.count(a) - before.count(b) == before.count("\\" + a) - before.count("\\" + b) for a, b in ("{}",)
        ):
            parts.append(text[start : match.start()])
            start = match.end()
    return [*parts, text[start:]]


def _difference(text: str) -> Region:
    parts = split_outside(text, _EXCEPT)
    region = _primary(parts[0])
    for part in parts[1:]:
        taken = _relation(part) if RELATION.search(part) else _points(part)
        if r"\ne" in part or "!=" in part:
            taken = combine(taken, ALL, lambda a, _: not a)
        region = combine(region, taken, lambda a, b: a and not b)
    return region


def _primary(text: str) -> Region:
    text = half_open(text.strip())
    if _ALL_REALS.fullmatch(text):
        return ALL
    if is_empty_set(text):
        return EMPTY
    brackets = parse_list(text)
    if brackets is not None and brackets.opening == r"\{":
        return _points(text)
    if brackets is not None and brackets.opening in ("(", "[") and brackets.closing in (")", "]"):
        if len(brackets.elements) != 2:
            raise NoRegionError
        low, high = map(_number, brackets.elements)
        return interval(low, brackets.opening == "[", high, brackets.closing == "]")
    if text.startswith("(") and text.endswith(")"):
        return _union(text[1:-1])
    if RELATION.search(text):
        return _relation(text)
    raise NoRegionError


def half_open(text: str) -> str:
    """An interval in the notation with reversed brackets for excluded bounds, as ]0,1], rewritten with round ones."""
    if text.startswith("]") and text[-1:] in "[]":
        text = "(" + text[1:]
    return text[:-1] + ")" if text.endswith("[") and text[:1] in "([" else text


def points_of(elements: Sequence[str]) -> Region | None:
    """The region that holds just these numbers; None where one of them is not a number."""
    try:
        return _points_of(elements)
    except NoRegionError:
        return None


def _points(text: str) -> Region:
    brackets = parse_list(text.strip())
    return _points_of(brackets.elements if brackets else split_list(text.strip()))


def _points_of(elements: Sequence[str]) -> Region:
    region = EMPTY
    for element in elements:
        value = _number(element.rpartition("=")[2])
        region = combine(region, interval(value, True, value, True), lambda a, b: a or b)
    return region


def _relation(text: str) -> Region:
    """x < 3, 3 > x, 1 < x \\le 4: one variable among numbers."""
    head, *others = split_at(text, ",")
    if others:
        return _listed(head, others)
    sides = RELATION.split(text)
    operands, signs = sides[::2], [SIGNS.get(sign, sign) for sign in sides[1::2]]
    if not 2 <= len(operands) <= 3:
        raise NoRegionError
    at = next((i for i, side in enumerate(operands) if variable_of(side) or _in_bars(side)), None)
    if sum(variable_of(side) is not None for side in operands) > 1:
        raise NoRegionError
    if at is None or (len(operands) == 3 and (at != 1 or signs[0][0] != signs[1][0])):
        raise NoRegionError
    region = ALL
    for i, operand in enumerate(operands):
        if i != at:
            sign = signs[min(i, at)]
            sign, end, bars = sign if i > at else MIRRORED[sign], _number(operand), _in_bars(operands[at])
            part = half(sign, end) if bars is None else half_of_magnitude(sign, end)
            region = combine(region, part, lambda a, b: a and b)
    return named(region, variable_of(operands[at]) or _in_bars(operands[at]))


def _listed(head: str, others: list[str]) -> Region:
    """Relations separated by commas: x \\ne 1, 2 means all of them, x < 1, x > 4 either; x > 1, x < 4 is ambiguous."""
    if _UNEQUAL.search(head) and not any(map(RELATION.search, others)):
        region = _relation(head)
        for number in others:
            region = named(combine(region, _points(number), lambda a, b: a and not b), region.name)
        return region
    parts = [_relation(part) for part in (head, *others)]
    if len({part.name for part in parts}) > 1:
        raise NoRegionError
    both = either = parts[0]
    for part in parts[1:]:
        both = combine(both, part, lambda a, b: a and b)
        either = combine(either, part, lambda a, b: a or b)
    if any(both.members) and not all(map(_UNEQUAL.search, (head, *others))):
        raise NoRegionError
    return named(both if any(both.members) else either, parts[0].name)


def variable_of(text: str) -> str | None:
    """The variable that a text consists of."""
    value = parse(text.strip())
    return value.text if isinstance(value, Name) and value.text not in ("e", "i", "pi", "infty") else None


def _in_bars(text: str) -> str | None:
    """The variable between bars in a text: |x|."""
    value = parse(text.strip()) if "|" in text or r"\vert" in text else None
    return variable_of(text.strip().strip("|").replace(r"\vert", "")) if _is_magnitude(value) else None


def _is_magnitude(value: Expression | None) -> bool:
    return isinstance(value, Apply) and value.head == "abs" and isinstance(value.args[0], Name)


def number_of(text: str) -> Expression | None:
    """The bound of an interval in a text; +∞ is ∞."""
    return parse(text.strip().removeprefix("+"))


def _number(text: str) -> Expression:
    value = number_of(text)
    if value is None or (not infinite(value) and names_of(value)):
        raise NoRegionError
    return value
