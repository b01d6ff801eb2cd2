"""Parses plain arithmetic into a tree of exact values: numbers, + - * / ^, brackets and fractions.

Units and currency signs are skipped. Anything else is refused, so that a tree covers the whole text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from stillery.bonds.claims.tokens import ClaimToken
from stillery.bonds.claims.units import exponent_length

_MAX_DEPTH = 12
_MAX_EXPONENT = 12
SUM, PRODUCT, POWER, NUMBER = range(4)
LEVELS = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "^": POWER}
_SKIPPED = ("word", "money")


@dataclass(frozen=True, slots=True)
class Node:
    """A number, or an operation on two nodes. A number may be written as a percentage."""

    value: Fraction
    operator: str = ""
    is_percent: bool = False
    sides: "tuple[Node, Node] | None" = None


class UnreadableError(ValueError):
    """Tokens that are not plain arithmetic."""


def read_tree(tokens: Sequence[ClaimToken]) -> Node:
    """The tree of an expression; raises UnreadableError for tokens that are more than plain arithmetic."""
    return _Reader(tokens).read()


class _Reader:
    """Plain arithmetic: numbers, + - * / ^, brackets and fractions; units and currency signs are skipped."""

    def __init__(self, tokens: Sequence[ClaimToken]) -> None:
        self._tokens = _without_units(tokens)
        self._at = 0

    def read(self) -> Node:
        node = self._operation(SUM, 0)
        if self._at < len(self._tokens):
            raise UnreadableError(self._tokens[self._at].text)
        return node

    def _operation(self, level: int, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise UnreadableError("nested too deeply")
        if level == NUMBER:
            return self._number(depth)
        node = self._operation(level + 1, depth)
        while self._at < len(self._tokens) and LEVELS.get(self._tokens[self._at].text) == level:
            operator = self._tokens[self._at].text
            self._at += 1
            node = _combine(node, operator, self._operation(level + 1, depth))
        return node

    def _number(self, depth: int) -> Node:
        token = self._take()
        if token.kind == "num" and token.value is not None:
            is_percent = self._at < len(self._tokens) and self._tokens[self._at].text == "%"
            self._at += is_percent
            return Node(token.value / 100 if is_percent else token.value, is_percent=is_percent)
        if token.kind == "open":
            node = self._operation(SUM, depth + 1)
            if self._take().kind != "close":
                raise UnreadableError("no closing bracket")
            return node
        if token.kind == "frac":
            return _combine(self._number(depth + 1), "/", self._number(depth + 1))
        raise UnreadableError(token.text)

    def _take(self) -> ClaimToken:
        if self._at >= len(self._tokens):
            raise UnreadableError("the expression ends")
        self._at += 1
        return self._tokens[self._at - 1]


def _without_units(tokens: Sequence[ClaimToken]) -> list[ClaimToken]:
    kept: list[ClaimToken] = []
    at = 0
    while at < len(tokens):
        is_per = tokens[at].text == "/" and at + 1 < len(tokens) and tokens[at + 1].kind == "word"
        if tokens[at].kind in _SKIPPED:
            at += exponent_length(tokens, at + 1)
        elif not is_per:
            kept.append(tokens[at])
        at += 1
    return kept


def _combine(left: Node, operator: str, right: Node) -> Node:
    one, two = left.value, right.value
    if operator == "/" and not two:
        raise UnreadableError("division by zero")
    if operator == "^":
        if two.denominator != 1 or not 0 < two <= _MAX_EXPONENT:
            raise UnreadableError("exponent")
        value = one ** int(two)
    else:
        value = {"+": one + two, "-": one - two, "*": one * two, "/": one / two if two else one}[operator]
    return Node(Fraction(value), operator, sides=(left, right))
