"""Reads the number at a position among tokens: 12, 2 1/2, two and 1/2, or the 1/2 of "3 / 1/2"."""

from collections.abc import Sequence
from fractions import Fraction

from stillery.bonds.claims.tokens import VULGAR, ClaimToken

_BRACED = ["frac", "open", "num", "close", "open", "num", "close"]
_HALF_BRACED = ["frac", "open", "num", "close", "num"]
_BARE = ["frac", "num", "num"]


def read_numeral(tokens: Sequence[ClaimToken], at: int, limit: int) -> tuple[Fraction, int]:
    """The number that starts with the numeral at token `at`, and the token after it, at most `limit`."""
    value = tokens[at].value
    assert value is not None, "a numeral has a value"
    behind = tokens[at + 1 : min(at + 5, limit)]
    joined = int(bool(behind) and behind[0].kind == "word" and behind[0].text == "and")
    fraction = behind[joined : joined + 3]
    if len(fraction) == 3:
        top, slash, bottom = fraction
        is_fraction = top.kind == bottom.kind == "num" and slash.text == "/" and not top.glued
        if is_fraction and value.denominator == 1 and top.value and bottom.value and 0 < top.value < bottom.value:
            return value + top.value / bottom.value, at + joined + 4
    if behind and behind[0].kind == "num" and behind[0].text in VULGAR and value.denominator == 1:
        return value + (behind[0].value or 0), at + 2
    if _is_tight_divisor(tokens, at, behind) and behind[1].value:
        return value / behind[1].value, at + 3
    return value, at + 1


def read_joined_numeral(tokens: Sequence[ClaimToken], at: int, limit: int) -> tuple[Fraction, int] | None:
    r"""The number that a numeral makes with what follows it, if the two may also be a product: 5/2 for `2\frac{1}{2}`,
    1/6 for 0.1(6); and the token after it. None where only one reading is possible."""
    behind = tokens[at + 1 : min(at + 8, limit)]
    whole = tokens[at].value
    if whole is None or not behind or (at and tokens[at - 1].text == "^"):
        return None
    kinds = [token.kind for token in behind]
    if kinds[:3] == ["open", "num", "close"] and behind[0].glued and behind[1].text.isdecimal():
        value = _repeating(tokens[at].text, behind[1].text)
        return None if value is None else (value, at + 4)
    if kinds[0] != "frac" or whole.denominator != 1:
        return None
    for pattern in (_BRACED, _BARE, _HALF_BRACED):
        if kinds[: len(pattern)] == pattern:
            top, bottom = (token.value or Fraction(0) for token in behind[: len(pattern)] if token.kind == "num")
            is_proper = top.denominator == bottom.denominator == 1 and 0 < top < bottom
            return (whole + top / bottom, at + 1 + len(pattern)) if is_proper else None
    return None


def _repeating(decimal: str, period: str) -> Fraction | None:
    """The value of 0.1(6), a decimal with a period; None for a decimal without a point."""
    _, point, digits = decimal.partition(".")
    if not point:
        return None
    return Fraction(decimal) + Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(digits))


def _is_tight_divisor(tokens: Sequence[ClaimToken], at: int, behind: Sequence[ClaimToken]) -> bool:
    """Whether a fraction without blanks is the divisor of a division with blanks: "3 / 1/2" is six."""
    if at < 1 or len(behind) < 2 or tokens[at - 1].text != "/" or tokens[at - 1].glued:
        return False
    slash, bottom = behind[:2]
    return slash.text == "/" and slash.glued and bottom.kind == "num" and bottom.glued


def is_percentage(tokens: Sequence[ClaimToken], first: int, end: int, limit: int) -> bool:
    """Whether tokens are just a number with a per cent sign or word: what 25% in 200 - 25% is of is not said."""
    is_worded = end < limit and tokens[end].text.casefold() == "percent"
    read = tokens[first:end]
    return len(read) == 2 - is_worded and read[0].kind == "num" and (is_worded or read[1].text == "%")
