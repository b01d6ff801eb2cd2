"""Sets of real numbers that are unions of intervals: intervals, inequalities, "all real x except 3" -> one value.

A region is the sorted ends of its intervals and, for each end and each gap between ends, whether it belongs to it. Two
regions are compared on the ends of both.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cmp_to_key

from stillery.maths.expressions import Apply, Expression, Name
from stillery.maths.lists import parse_list, split_at, split_list
from stillery.maths.numeric import compare_reals, names_of
from stillery.maths.parser import parse

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
_MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}
_HINT = re.compile(
    r"\\(?:cup|cap|setminus|mathbb|emptyset|infty|le|ge|lt|gt|ne|in)(?![a-zA-Z])|[<>]|!=|\breal\b|\b(?:empty|no)\s",
    re.IGNORECASE,
)
_MAX_CHARS = 500


class NoRegionError(Exception):
    """The text is no region, or one whose ends cannot be ordered."""


@dataclass(frozen=True, slots=True)
class Region:
    """`members` has an entry for the numbers below the first end, for it, for those between it and the second, and so
    on: one more than twice as many as there are ends. `name` is the variable whose values it holds, if it says so."""

    ends: tuple[Expression, ...]
    members: tuple[bool, ...]
    name: str | None = None


EMPTY = Region((), (False,))
_ALL = Region((), (True,))


def parse_region(text: str) -> Region | None:
    """The set of real numbers that a normalised text denotes; None if it is none, or one with a name in its ends."""
    if len(text) > _MAX_CHARS:
        return None
    try:
        return _union(text)
    except NoRegionError:
        return None


def looks_like_region(text: str) -> bool:
    """Whether a text has a sign that tuples, lists and numbers have not."""
    return _HINT.search(text) is not None or (text[:1] + text[-1:]) in ("[)", "(]", "][", "]]", "[[")


def is_empty_set(text: str) -> bool:
    """Whether a text is a way to write or say that there is none."""
    return text.replace(" ", "") in (r"\emptyset", r"\{\}") or _EMPTY_WORDS.fullmatch(text) is not None


def same_region(first: Region, second: Region) -> bool | None:
    """Whether two regions hold the same numbers of, if both say so, the same variable; None if that cannot be told."""
    try:
        return _combine(first, second, lambda a, b: a == b).members.count(False) == 0 and (
            first.name is None or second.name is None or first.name == second.name
        )
    except NoRegionError:
        return None


def _union(text: str) -> Region:
    text = text.strip()
    if is_empty_set(text):
        return EMPTY
    if match := _BUILDER.fullmatch(text):
        return _named(_union(match[2]), match[1])
    if match := MEMBER.match(text):
        return _named(_union(text[match.end() :]), match.group().strip()[0])
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
        region = _named(_combine(region, other, operation), region.name or other.name)
    return region


def split_outside(text: str, sign: re.Pattern[str]) -> list[str]:
    """A text at a sign outside brackets."""
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
            taken = _combine(taken, _ALL, lambda a, _: not a)
        region = _combine(region, taken, lambda a, b: a and not b)
    return region


def _primary(text: str) -> Region:
    text = half_open(text.strip())
    if _ALL_REALS.fullmatch(text):
        return _ALL
    if is_empty_set(text):
        return EMPTY
    brackets = parse_list(text)
    if brackets is not None and brackets.opening == r"\{":
        return _points(text)
    if brackets is not None and brackets.opening in ("(", "[") and brackets.closing in (")", "]"):
        if len(brackets.elements) != 2:
            raise NoRegionError
        low, high = map(_number, brackets.elements)
        return _interval(low, brackets.opening == "[", high, brackets.closing == "]")
    if text.startswith("(") and text.endswith(")"):
        return _union(text[1:-1])
    if RELATION.search(text):
        return _relation(text)
    raise NoRegionError


def half_open(text: str) -> str:
    """An interval in the notation that turns the brackets of ends that it has not, as ]0,1], with round ones."""
    if text.startswith("]") and text[-1:] in "[]":
        text = "(" + text[1:]
    return text[:-1] + ")" if text.endswith("[") and text[:1] in "([" else text


def points_of(elements: Sequence[str]) -> Region | None:
    """The region that holds just these numbers; None where one of them is no number."""
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
        region = _combine(region, _interval(value, True, value, True), lambda a, b: a or b)
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
    region = _ALL
    for i, operand in enumerate(operands):
        if i != at:
            sign = signs[min(i, at)]
            sign, end, bars = sign if i > at else _MIRRORED[sign], _number(operand), _in_bars(operands[at])
            half = _half(sign, end) if bars is None else _half_of_magnitude(sign, end)
            region = _combine(region, half, lambda a, b: a and b)
    return _named(region, variable_of(operands[at]) or _in_bars(operands[at]))


def _listed(head: str, others: list[str]) -> Region:
    """What relations with commas between them say: x \\ne 1, 2 all of it, x < 1, x > 4 either; x > 1, x < 4 may be
    either."""
    if _UNEQUAL.search(head) and not any(map(RELATION.search, others)):
        region = _relation(head)
        for number in others:
            region = _named(_combine(region, _points(number), lambda a, b: a and not b), region.name)
        return region
    parts = [_relation(part) for part in (head, *others)]
    if len({part.name for part in parts}) > 1:
        raise NoRegionError
    both = either = parts[0]
    for part in parts[1:]:
        both = _combine(both, part, lambda a, b: a and b)
        either = _combine(either, part, lambda a, b: a or b)
    if any(both.members) and not all(map(_UNEQUAL.search, (head, *others))):
        raise NoRegionError
    return _named(both if any(both.members) else either, parts[0].name)


def variable_of(text: str) -> str | None:
    """The variable that a text is."""
    value = parse(text.strip())
    return value.text if isinstance(value, Name) and value.text not in ("e", "i", "pi", "infty") else None


def _half(sign: str, end: Expression) -> Region:
    """The numbers that are less than an end, or whatever else the sign says of them."""
    if infinite(end):
        raise NoRegionError
    below, at, above = "<" in sign, "=" in sign and sign != "!=", ">" in sign
    return Region((end,), (below or sign == "!=", at, above or sign == "!="))


def _in_bars(text: str) -> str | None:
    """The variable that a text puts between bars: |x|."""
    value = parse(text.strip()) if "|" in text or r"\vert" in text else None
    return variable_of(text.strip().strip("|").replace(r"\vert", "")) if _is_magnitude(value) else None


def _is_magnitude(value: Expression | None) -> bool:
    return isinstance(value, Apply) and value.head == "abs" and isinstance(value.args[0], Name)


def _half_of_magnitude(sign: str, end: Expression) -> Region:
    """The numbers whose magnitude is less than an end, or greater."""
    if sign[0] not in "<>":
        raise NoRegionError
    mirrored = _half(_MIRRORED[sign], Apply("neg", (end,)))
    return _combine(_half(sign, end), mirrored, (lambda a, b: a and b) if sign[0] == "<" else (lambda a, b: a or b))


def _interval(low: Expression, has_low: bool, high: Expression, has_high: bool) -> Region:
    order = compare_reals(low, high)
    if order is None:
        raise NoRegionError
    if order > 0:
        return EMPTY
    if order == 0:
        return Region((low,), (False, has_low and has_high, False)) if not infinite(low) else EMPTY
    ends = [(low, has_low), (high, has_high)]
    finite = [(end, has) for end, has in ends if not infinite(end)]
    members = [infinite(low)]
    for i, (_, has) in enumerate(finite):
        is_last = i == len(finite) - 1
        members += [has, not is_last or infinite(high)]
    return Region(tuple(end for end, _ in finite), tuple(members))


def number_of(text: str) -> Expression | None:
    """The end of an interval that a text is; +∞ is ∞."""
    return parse(text.strip().removeprefix("+"))


def _number(text: str) -> Expression:
    value = number_of(text)
    if value is None or (not infinite(value) and names_of(value)):
        raise NoRegionError
    return value


def infinite(end: Expression) -> bool:
    """Whether an end is ∞ or −∞."""
    return end in (Name("infty"), Apply("neg", (Name("infty"),)))


def _named(region: Region, name: str | None) -> Region:
    return Region(region.ends, region.members, name)


def _combine(first: Region, second: Region, operation: Callable[[bool, bool], bool]) -> Region:
    ends = _merged(first.ends, second.ends)
    one, two = _refined(first, ends), _refined(second, ends)
    return Region(ends, tuple(operation(a, b) for a, b in zip(one, two, strict=True)))


def _merged(first: tuple[Expression, ...], second: tuple[Expression, ...]) -> tuple[Expression, ...]:
    merged: list[Expression] = []
    for end in sorted((*first, *second), key=cmp_to_key(_order)):
        if not merged or _order(merged[-1], end):
            merged.append(end)
    return tuple(merged)


def _refined(region: Region, ends: tuple[Expression, ...]) -> list[bool]:
    """The members of a region for more ends than its own."""
    members, at = [region.members[0]], 0
    for end in ends:
        if at < len(region.ends) and _order(region.ends[at], end) == 0:
            members += [region.members[2 * at + 1], region.members[2 * at + 2]]
            at += 1
        else:
            members += [region.members[2 * at]] * 2
    return members


def _order(first: Expression, second: Expression) -> int:
    order = compare_reals(first, second)
    if order is None:
        raise NoRegionError
    return order
