"""Whether adjacent tokens in an expression form a product.

`at` is the token in question, `limit` the end of the tokens considered.
"""

from collections.abc import Sequence
from fractions import Fraction

from stillery.bonds.claims.tokens import VULGAR, ClaimToken
from stillery.maths.quotients import PI

FRACTION_WORDS = {"half": Fraction(1, 2), "third": Fraction(1, 3), "quarter": Fraction(1, 4), "twice": Fraction(2)}


def is_product_by_of(tokens: Sequence[ClaimToken], at: int, limit: int) -> bool:
    """Whether "of" multiplies: after a per cent sign or a fraction, before a number."""
    if at + 1 >= limit or tokens[at].text.casefold() != "of" or tokens[at + 1].kind not in ("num", "money", "frac"):
        return False
    before = tokens[at - 1]
    is_fraction = before.kind == "num" and (before.text in VULGAR or (at > 1 and tokens[at - 2].text == "/"))
    return is_fraction or before.text in ("%", "percent", ")") or before.text.casefold() in FRACTION_WORDS


def is_implicit_product(tokens: Sequence[ClaimToken], at: int, limit: int) -> bool:
    """Whether two factors stand side by side: 2x, 3(4), (a)(b), 3√13; never number by number."""
    if at >= limit or tokens[at - 1].kind not in ("num", "name", "close", "super"):
        return False
    token, before = tokens[at], tokens[at - 1]
    if token.kind == "open":
        return token.text == "(" and (token.glued or before.kind == "close")
    if token.kind in ("frac", "sqrt"):
        return True
    return token.kind == "name" and (token.glued or before.kind == "name" or token.text == PI)


def is_factorial(tokens: Sequence[ClaimToken], at: int, limit: int) -> bool:
    """Whether an exclamation mark is followed by more of the expression, and so does not end a sentence."""
    return at + 1 < limit and (tokens[at + 1].glued or tokens[at + 1].kind in ("op", "rel", "close"))
