"""Reads the number at a position among tokens: 12, 2 1/2, two and 1/2, or the 1/2 of "3 / 1/2"."""

from collections.abc import Sequence
from fractions import Fraction

from stillery.bonds.claims.tokens import ClaimToken


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
    if _is_tight_divisor(tokens, at, behind) and behind[1].value:
        return value / behind[1].value, at + 3
    return value, at + 1


def _is_tight_divisor(tokens: Sequence[ClaimToken], at: int, behind: Sequence[ClaimToken]) -> bool:
    """Whether a fraction without blanks is the divisor of a division with blanks: "3 / 1/2" is six."""
    if at < 1 or len(behind) < 2 or tokens[at - 1].text != "/" or tokens[at - 1].glued:
        return False
    slash, bottom = behind[:2]
    return slash.text == "/" and slash.glued and bottom.kind == "num" and bottom.glued
