"""Intervals with names in their bounds: (a,b), a < x \\le b, x > a -> one value.

`regions` handles numeric bounds, which have an order; these intervals are compared bound by bound. Pure.
"""

from dataclasses import dataclass

from stillery.maths.equality import equal
from stillery.maths.expressions import Expression, Name
from stillery.maths.intervals import MEMBER, OR, RELATION, SIGNS, half_open, number_of, split_outside, variable_of
from stillery.maths.lists import parse_list
from stillery.maths.regions import infinite

_MAX_PARTS = 8


@dataclass(frozen=True, slots=True)
class NumberRange:
    """The numbers between two bounds, None for a missing bound, and whether these belong to it. `name` is the variable
    whose values they are, if the text names one."""

    low: Expression | None
    has_low: bool
    high: Expression | None
    has_high: bool
    name: str | None


Spans = tuple[tuple[NumberRange, ...], ...]


def parse_spans(text: str) -> Spans | None:
    """The parts of a union, and the readings of each: x > a bounds x, and a. None for a text that is not a union of
    intervals."""
    parts = split_outside(text, OR)
    found = [_readings(part.strip()) for part in parts] if len(parts) <= _MAX_PARTS else []
    return tuple(found) if found and all(found) else None


def same_spans(first: Spans, second: Spans) -> bool:
    """Whether two unions have the same parts, in any order."""
    return len(first) == len(second) and all(
        any(_same_part(part, other) for other in others)
        for parts, others in ((first, second), (second, first))
        for part in parts
    )


def _same_part(first: tuple[NumberRange, ...], second: tuple[NumberRange, ...]) -> bool:
    return any(_same(one, two) for one in first for two in second)


def _same(first: NumberRange, second: NumberRange) -> bool:
    if (first.has_low, first.has_high) != (second.has_low, second.has_high):
        return False
    if first.name is not None and second.name is not None and first.name != second.name:
        return False
    return all(_same_end(a, b) for a, b in ((first.low, second.low), (first.high, second.high)))


def _same_end(first: Expression | None, second: Expression | None) -> bool:
    return first is second if first is None or second is None else equal(first, second) is True


def _readings(text: str) -> tuple[NumberRange, ...]:
    name = None
    if match := MEMBER.match(text):
        name, text = match.group().strip()[0], text[match.end() :]
    brackets = parse_list(half_open(text))
    if brackets is not None:
        if len(brackets.elements) != 2 or brackets.opening not in ("(", "[") or brackets.closing not in (")", "]"):
            return ()
        low, high = map(number_of, brackets.elements)
        return _between(low, brackets.opening == "[", high, brackets.closing == "]", name)
    sides = RELATION.split(text)
    signs = [SIGNS.get(sign, sign) for sign in sides[1::2]]
    if name is not None or any(sign[0] not in "<>" for sign in signs) or len({sign[0] for sign in signs}) != 1:
        return ()
    operands = sides[::2] if signs[0][0] == "<" else sides[::-2]
    may_be_equal = ["=" in sign for sign in (signs if signs[0][0] == "<" else signs[::-1])]
    ends = [number_of(side) for side in operands]
    names = [variable_of(side) for side in operands]
    if len(ends) == 3 and names[1]:
        return _between(ends[0], may_be_equal[0], ends[2], may_be_equal[1], names[1])
    if len(ends) != 2 or None in ends:
        return ()
    below = [NumberRange(None, False, ends[1], may_be_equal[0], names[0])] if names[0] else []
    above = [NumberRange(ends[0], may_be_equal[0], None, False, names[1])] if names[1] else []
    return (*below, *above)


def _between(
    low: Expression | None, has_low: bool, high: Expression | None, has_high: bool, name: str | None
) -> tuple[NumberRange, ...]:
    if low is None or high is None or (low == Name("infty")) or (infinite(high) and high != Name("infty")):
        return ()
    # Infinite bounds never belong to an interval.
    low_end, high_end = (None if infinite(end) else end for end in (low, high))
    return (NumberRange(low_end, has_low and low_end is not None, high_end, has_high and high_end is not None, name),)
