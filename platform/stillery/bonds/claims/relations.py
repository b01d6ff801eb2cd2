"""Whether a relation between two expressions holds, read leniently: a rounded decimal is not a mistake.

A side that may extend beyond the parsed part, in either direction, decides nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

from stillery.bonds.claims import algebra
from stillery.bonds.claims.conversions import needs_conversion
from stillery.bonds.claims.expressions import Expression
from stillery.bonds.claims.tokens import ClaimToken
from stillery.bonds.claims.wording import changes_after, changes_before, is_operand
from stillery.maths.quotients import Quotient

_CLEAN = frozenset(("stop", "comma", "word", "relword", "rel", "money", "close", "open", "other", "bar"))
_CLEAN_BEFORE = _CLEAN - {"close"}
NO_SUBJECT = frozenset(
    "so then thus hence therefore because since that which and but or if when where we i it this now just also let "
    "there here what have get gives have's has".split()
)
_REMAINDER = frozenset("remainder mod modulo r base".split())
_LEFT_OVER = frozenset("remaining leftover left over remainder".split())
_REMAINDER_REACH = 9
_LARGE_UNITS = frozenset("hundred thousand million billion dozen percent".split())
_RELATIVE_TOLERANCE = 0.01


def settle(
    tokens: Sequence[ClaimToken], left: Expression, right: Expression, at: int, relation: str
) -> tuple[Expression, Expression]:
    """The readings of two sides that make the relation hold, as the only ones; where none do, the usual ones."""
    if left.other is None and right.other is None:
        return left, right
    if decide(tokens, left, right, at, relation):
        return replace(left, other=None), replace(right, other=None)
    for one in _readings(left):
        if decide(tokens, one, right, at, relation):
            return one, replace(right, other=None)
        for two in _readings(right)[1:]:
            is_same = relation == "=" and algebra.equal(one.value, two.value)
            if is_same or (relation != "=" and decide(tokens, one, two, at, relation)):
                return one, two
    return left, right


def _readings(side: Expression) -> list[Expression]:
    if side.other is None:
        return [side]
    return [side, replace(side.other, end=side.end, has_unit=side.has_unit)]


def decide(tokens: Sequence[ClaimToken], left: Expression, right: Expression, at: int, relation: str) -> bool | None:
    """Whether the relation holds; None where a side is unknown, conditional on a variable, or not fully parsed."""
    if left.value is None or right.value is None:
        return None
    if not is_clean_before(tokens, left.first) or not is_clean(tokens, right.end):
        return None
    if relation in ("=", "≈"):
        holds = _decide_equal(tokens, left, right, at, relation)
        if holds is not None and needs_conversion(tokens, left.first, at, right.end, is_equal=holds):
            return None
        return holds
    one, two = left.value.approximate(), right.value.approximate()
    if one is None or two is None or (left.num_operations == 0 and right.num_operations == 0 and left.has_unit):
        return None
    if relation == "≠":
        is_same = algebra.equal(left.value, right.value)
        return None if is_same is None else not is_same
    holds = {"<": one < two, ">": one > two, "≤": one <= two, "≥": one >= two}[relation]
    return holds or (None if _is_ranking(tokens, left, right, relation) else False)


def _is_ranking(tokens: Sequence[ClaimToken], left: Expression, right: Expression, relation: str) -> bool:
    """Whether two numbers are items in a chain of three or more that are ordered by something else: "3 > 1 > 4"."""
    before, after = tokens[max(0, left.first - 1) : left.first], tokens[right.end : right.end + 1]
    is_chain = any(token.text == relation for token in (*before, *after))
    return is_chain and left.num_operations == right.num_operations == 0


def _decide_equal(
    tokens: Sequence[ClaimToken], left: Expression, right: Expression, at: int, relation: str
) -> bool | None:
    assert left.value is not None
    assert right.value is not None
    if algebra.equal(left.value, right.value):
        return True
    if left.value.names() or right.value.names():
        return None
    if left.num_operations == 0 and (right.num_operations == 0 or left.has_unit or _is_named(tokens, left.first)):
        return None
    is_inexact = any(operand.denominator != 1 for operand in left.operands)
    if _is_rounding(left.value, right, tokens, is_stated=relation == "≈", is_inexact=is_inexact):
        return True
    leading = right.operands[0] if right.num_operations and right.operands else None
    if leading is not None and left.value.rational() == leading and not left.has_unit:
        return True
    one, two = left.value.rational(), right.value.rational()
    is_percent = tokens[right.end - 1].text == "%" or any(t.text == "%" for t in tokens[left.first : at])
    if one is not None and two is not None and is_percent and one in (two * 100, two / 100):
        return True
    if _is_prefix(tokens, right, left) or _is_range(tokens, left) or is_operand(tokens, left.first):
        return None
    if tokens[at].kind != "rel" and _is_named(tokens, left.first):
        return None
    following = [t.text.casefold() for t in tokens[right.end : right.end + _REMAINDER_REACH]]
    if following[:1] and following[0] in _LARGE_UNITS:
        return None
    if following[:1] in (["cents"], ["cent"]) and any(t.kind == "money" for t in tokens[left.first : at]):
        return None
    if any(t.text == "/" for t in tokens[left.first : at]) and _LEFT_OVER & set(following):
        return None
    return False


def _is_rounding(
    value: Quotient, right: Expression, tokens: Sequence[ClaimToken], *, is_stated: bool, is_inexact: bool
) -> bool:
    """Whether the right side is the value to the digits that it gives, rounded or truncated; for ≈ also within 1%.

    A value that itself comes from decimals may be off by one in the last digit.
    """
    one, two = value.approximate(), right.value.approximate() if right.value else None
    if one is None or two is None:
        return False
    if is_stated and abs(one - two) <= _RELATIVE_TOLERANCE * max(abs(one), abs(two)):
        return True
    decimals = [t.text.partition(".")[2] for t in tokens[right.first : right.end] if t.kind == "num" and "." in t.text]
    if decimals and right.num_operations:
        return abs(one - two) < sum(10.0 ** -len(digits) for digits in decimals)
    if not decimals and (not is_stated or right.num_operations):
        return False
    unit = 10.0 ** -len(decimals[0]) if decimals else 1.0
    is_cut_off = abs(two) <= abs(one) < abs(two) + unit and one * two >= 0
    slack = 1.0001 if is_inexact else 0.5001
    return abs(one - two) <= slack * unit or is_cut_off


def is_clean_before(tokens: Sequence[ClaimToken], first: int) -> bool:
    """Whether no mathematical text that could belong to the expression precedes it."""
    if first == 0:
        return True
    if changes_before(tokens, first):
        return False
    before = tokens[first - 1]
    two_before = tokens[first - 2] if first > 1 else None
    if two_before is not None and two_before.kind in ("num", "close") and before.text in (",", ":"):
        return not tokens[first].glued
    if before.kind == "word" and before.text.casefold() in _REMAINDER:
        return False
    if before.kind == "op":
        is_dash = before.end - before.start == 1 and before.text == "-" and not tokens[first].glued
        return is_dash and (two_before is None or two_before.kind in ("word", "stop"))
    return before.kind in _CLEAN_BEFORE


def is_clean(tokens: Sequence[ClaimToken], end: int) -> bool:
    """Whether no mathematical text that could belong to the expression follows it."""
    if end >= len(tokens):
        return True
    if changes_after(tokens, end):
        return False
    following = {t.text.casefold() for t in tokens[end : end + _REMAINDER_REACH]}
    if _REMAINDER & following or any(t.kind == "func" for t in tokens[end : end + 2]):
        return False
    after = tokens[end + 1] if end + 1 < len(tokens) else None
    if tokens[end].text in (".", ":") and after is not None and after.kind in ("command", "num", "op"):
        return tokens[end].text == "." and tokens[end].end < after.start
    if tokens[end].text == "." and after is not None and after.text in (".", "…"):
        return False
    if tokens[end].text == "/" and after is not None and after.kind == "word":
        return True
    is_word_operator = tokens[end].kind == "op" and tokens[end].end - tokens[end].start > 3
    if is_word_operator and (after is None or after.kind not in ("num", "name", "open", "money")):
        return True
    return tokens[end].kind in _CLEAN or tokens[end].text == "!"


def _is_named(tokens: Sequence[ClaimToken], first: int) -> bool:
    """Whether words before a number make it part of a name ("the divisors of 284 = ...")."""
    return first > 0 and tokens[first - 1].kind == "word" and tokens[first - 1].text.casefold() not in NO_SUBJECT


def _is_range(tokens: Sequence[ClaimToken], side: Expression) -> bool:
    """Whether a side reads as a range ("so far 1-5 and 6-10 = 10") rather than as a difference below zero."""
    if side.end - side.first != 3 or not all(token.glued for token in tokens[side.first + 1 : side.end]):
        return False
    low, dash, high = tokens[side.first : side.end]
    return dash.text == "-" and low.value is not None and high.value is not None and 0 <= low.value < high.value


def _is_prefix(tokens: Sequence[ClaimToken], short: Expression, long: Expression) -> bool:
    """Whether one side is the beginning of the other: a product that is computed piece by piece."""
    width = short.end - short.first
    pieces = [[t.text for t in tokens[side.first : side.first + width]] for side in (short, long)]
    return 2 < width < long.end - long.first and pieces[0] == pieces[1]
