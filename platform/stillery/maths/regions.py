"""Sets of real numbers that are unions of intervals, and operations on them.

A region consists of the sorted bounds of its intervals and, for each bound and each gap between bounds, whether it
belongs to the region. Two regions are compared on the bounds of both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cmp_to_key

from stillery.maths.expressions import Apply, Expression, Name
from stillery.maths.numeric import compare_reals

MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}


class NoRegionError(Exception):
    """The text is not a region, or its bounds cannot be ordered."""


@dataclass(frozen=True, slots=True)
class Region:
    """`members` has an entry for the numbers below the first bound, for that bound, for the numbers between it and the
    second, and so on: one more than twice the number of bounds. `name` is the variable whose values it holds, if the
    text names one."""

    ends: tuple[Expression, ...]
    members: tuple[bool, ...]
    name: str | None = None


EMPTY = Region((), (False,))
ALL = Region((), (True,))


def same_region(first: Region, second: Region) -> bool | None:
    """Whether two regions hold the same numbers of the same variable, if both name one; None if undecided."""
    try:
        return combine(first, second, lambda a, b: a == b).members.count(False) == 0 and (
            first.name is None or second.name is None or first.name == second.name
        )
    except NoRegionError:
        return None


def half(sign: str, end: Expression) -> Region:
    """The numbers less than a bound, or in another relation by the sign."""
    if infinite(end):
        raise NoRegionError
    below, at, above = "<" in sign, "=" in sign and sign != "!=", ">" in sign
    return Region((end,), (below or sign == "!=", at, above or sign == "!="))


def half_of_magnitude(sign: str, end: Expression) -> Region:
    """The numbers whose magnitude is less than a bound, or greater."""
    if sign[0] not in "<>":
        raise NoRegionError
    mirrored = half(MIRRORED[sign], Apply("neg", (end,)))
    return combine(half(sign, end), mirrored, (lambda a, b: a and b) if sign[0] == "<" else (lambda a, b: a or b))


def interval(low: Expression, has_low: bool, high: Expression, has_high: bool) -> Region:
    """The numbers between two bounds, and the bounds that belong to it."""
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


def infinite(end: Expression) -> bool:
    """Whether a bound is ∞ or −∞."""
    return end in (Name("infty"), Apply("neg", (Name("infty"),)))


def named(region: Region, name: str | None) -> Region:
    """The region as values of a variable."""
    return Region(region.ends, region.members, name)


def combine(first: Region, second: Region, operation: Callable[[bool, bool], bool]) -> Region:
    """The numbers for which the operation holds on their membership in both regions."""
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
    """The members of a region on a finer set of bounds."""
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
