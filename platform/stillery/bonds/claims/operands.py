"""The expressions on the two sides of a relation, parsed forwards or backwards from a token position."""

from collections.abc import Sequence

from stillery.bonds.claims.expressions import Expression, NoExpressionError, parse
from stillery.bonds.claims.tokens import ClaimToken

_MAX_BACK_TOKENS = 60
_MAX_STARTS = 14
MATHS = frozenset(("num", "name", "op", "open", "close", "super", "frac", "sqrt", "post", "money", "func", "box"))


def parse_at(tokens: Sequence[ClaimToken], first: int, functions: frozenset[str]) -> Expression | None:
    try:
        return parse(tokens, first, functions=functions)
    except NoExpressionError:
        return None


def parse_back(tokens: Sequence[ClaimToken], at: int, done: int, functions: frozenset[str]) -> Expression | None:
    """The longest expression that ends just before token `at`."""
    first = at
    while first > max(done, at - _MAX_BACK_TOKENS):
        token = tokens[first - 1]
        if token.kind in MATHS or (token.kind == "word" and first < at) or _is_unit(tokens, first - 1):
            first -= 1
        else:
            break
    starts = 0
    while first < at and starts < _MAX_STARTS:
        token = tokens[first]
        if token.kind in MATHS or token.kind == "word":
            is_dash = (
                token.kind == "op" and first > 0 and tokens[first - 1].kind == "word" and not _glues(tokens, first)
            )
            is_bullet = (
                token.kind == "op" and (first == 0 or tokens[first - 1].text == "\n") and not _glues(tokens, first)
            )
            is_loose = token.text == "+" and first > 0 and tokens[first - 1].kind not in ("rel", "stop", "open")
            if not is_dash and not is_bullet and not is_loose and token.kind not in ("close", "post", "super"):
                expression = parse_at(tokens, first, functions)
                starts += token.kind != "word"
                if expression is not None and _ends_at(tokens, expression, at):
                    return expression
        first += 1
    return None


def _glues(tokens: Sequence[ClaimToken], at: int) -> bool:
    return at + 1 < len(tokens) and tokens[at + 1].glued


def _is_unit(tokens: Sequence[ClaimToken], at: int) -> bool:
    """Whether a word may be the unit of a number before it."""
    return tokens[at].kind == "word" and any(t.kind in ("num", "close", "post") for t in tokens[max(0, at - 8) : at])


def _ends_at(tokens: Sequence[ClaimToken], expression: Expression, at: int) -> bool:
    """Whether an expression reaches up to a relation, apart from the unit of its last number."""
    between = tokens[expression.end : at]
    if len(between) > 3 or any(t.kind not in ("word", "money") for t in between):
        return False
    if between:
        expression.has_unit = True
        expression.end = at
    return True
