"""Parses the expression that starts at a token: its exact value, and the numbers and names it uses.

A recursive-descent parser with a bounded depth, over text as people and models write it: units after numbers, currency
signs, percentages, LaTeX fractions and roots, "9 times 13", "half of 40". Nothing is ever evaluated as code.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from stillery.bonds.claims import algebra
from stillery.bonds.claims.implicit_products import FRACTION_WORDS, is_factorial, is_implicit_product, is_product_by_of
from stillery.bonds.claims.numerals import is_percentage, read_joined_numeral, read_numeral
from stillery.bonds.claims.roots import ROOT_WORDS, index_of
from stillery.bonds.claims.tokens import ClaimToken
from stillery.bonds.claims.units import unit_length
from stillery.maths.quotients import Quotient, constant, named

_MAX_DEPTH = 16
_MAX_TOKENS = 120
_ONE = constant(Fraction(1))
_HUNDRED = constant(Fraction(100))


class NoExpressionError(ValueError):
    """No expression starts at this token."""


@dataclass(slots=True)
class Expression:
    """A parsed expression: tokens `first` up to, not including, `end`. `value` is None where it is out of bounds.

    `other` is the second reading of an ambiguous notation: `2\\frac{1}{2}` is 2½ or 2·½, and 0.1(6) is 0.1·6 or 1/6.
    """

    first: int
    end: int
    value: Quotient | None
    num_operations: int
    operands: list[Fraction] = field(default_factory=list[Fraction])
    has_unit: bool = False
    other: "Expression | None" = None

    def rational(self) -> Fraction | None:
        return None if self.value is None else self.value.rational()


def parse(tokens: Sequence[ClaimToken], first: int, *, functions: frozenset[str] = frozenset()) -> Expression:
    """The longest expression that starts at token `first`.

    `functions` are the names whose application, as in f(2), stands for one unknown and is not a product. Raises
    NoExpressionError where no expression starts.
    """
    parser = _ClaimParser(tokens, first, functions)
    product = parser.expression()
    if not parser.is_ambiguous:
        return product
    joining = _ClaimParser(tokens, first, functions, joins_numerals=True)
    try:
        joined = joining.expression()
    except NoExpressionError:
        return product
    if joined.end != product.end:
        return product
    usual, unusual = (joined, product) if joining.has_mixed else (product, joined)
    usual.other = unusual
    return usual


class _ClaimParser:
    def __init__(
        self, tokens: Sequence[ClaimToken], first: int, functions: frozenset[str], *, joins_numerals: bool = False
    ) -> None:
        self.tokens = tokens
        self.first = self.at = first
        self.joins_numerals = joins_numerals
        self.is_ambiguous = self.has_mixed = False
        self.limit = min(len(tokens), first + _MAX_TOKENS)
        self.functions = functions
        self.depth = 0
        self.num_operations = 0
        self.operands: list[Fraction] = []
        self.has_unit = False

    def expression(self) -> Expression:
        value = self.sum()
        return Expression(self.first, self.at, value, self.num_operations, self.operands, self.has_unit)

    def peek(self, offset: int = 0) -> ClaimToken | None:
        at = self.at + offset
        return self.tokens[at] if at < self.limit else None

    def is_next(self, kind: str, *texts: str) -> bool:
        token = self.peek()
        return token is not None and token.kind == kind and (not texts or token.text in texts)

    def sum(self) -> Quotient | None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise NoExpressionError("nested too deeply")
        start = self.at
        value = self.product()
        is_percent = is_percentage(self.tokens, start, self.at, self.limit)
        while self.is_next("op", "+", "-"):
            sign, at, depth = self.tokens[self.at].text, self.at, self.depth
            self.at += 1
            try:
                other = self.product()
            except NoExpressionError:
                self.at, self.depth = at, depth
                break
            self.num_operations += 1
            is_share = (
                is_percentage(self.tokens, at + 1, self.at, self.limit)
                and not is_percent
                and not algebra.equal(value, _ONE)
            )
            value = None if is_share else algebra.calculate(value, sign, other)
        self.depth -= 1
        return value

    def product(self) -> Quotient | None:
        value = self.signed()
        while True:
            at, depth = self.at, self.depth
            if self.is_next("op", "*", "/"):
                operator = self.tokens[self.at].text
                self.at += 1
            elif is_product_by_of(self.tokens, self.at, self.limit):
                operator = "*"
                self.at += 1
            elif is_implicit_product(self.tokens, self.at, self.limit):
                operator = "*"
            else:
                return value
            try:
                other = self.signed() if self.tokens[at].kind == "op" else self.powered()
            except NoExpressionError:
                self.at, self.depth = at, depth
                return value
            self.num_operations += 1
            value = algebra.calculate(value, operator, other)

    def signed(self) -> Quotient | None:
        if self.is_next("op", "-", "+"):
            negative = self.tokens[self.at].text == "-"
            self.at += 1
            self.depth += 1
            if self.depth > _MAX_DEPTH:
                raise NoExpressionError("nested too deeply")
            value = self.signed()
            self.depth -= 1
            if negative and self.operands and value is not None and value.rational() == -self.operands[-1]:
                self.operands[-1] = -self.operands[-1]
            return algebra.negate(value) if negative else value
        return self.powered()

    def powered(self) -> Quotient | None:
        value = self.primary()
        while True:
            if self.is_next("super"):
                exponent = _read_int(self.tokens[self.at].text)
                self.at += 1
                self.num_operations += 1
                value = algebra.calculate(value, "^", exponent)
            elif self.is_next("op", "^"):
                self.at += 1
                self.depth += 1
                if self.depth > _MAX_DEPTH:
                    raise NoExpressionError("nested too deeply")
                exponent = self.signed() if not self.is_next("open") else self.group()
                self.depth -= 1
                self.num_operations += 1
                value = algebra.calculate(value, "^", exponent)
            elif self.is_next("post"):
                post = self.tokens[self.at]
                if post.text == "!" and not (post.glued and is_factorial(self.tokens, self.at, self.limit)):
                    return value
                self.at += 1
                value = self.posted(value, post.text)
            else:
                return value

    def posted(self, value: Quotient | None, sign: str) -> Quotient | None:
        if sign == "%":
            return algebra.calculate(value, "/", _HUNDRED)
        if sign == "!":
            self.num_operations += 1
            return algebra.factorial(value)
        return value

    def primary(self) -> Quotient | None:
        while self.is_next("money"):
            self.at += 1
        token = self.peek()
        if token is None:
            raise NoExpressionError("the text ends")
        if token.kind == "num" and token.value is not None:
            return self.numeral()
        if token.kind == "name":
            return self.named(token)
        if token.kind == "open":
            return self.group()
        if token.kind == "frac":
            self.at += 1
            top, bottom = self.argument(), self.argument()
            self.num_operations += 1
            return algebra.calculate(top, "/", bottom)
        if token.kind == "sqrt":
            self.at += 1
            value = self.argument()
            self.num_operations += 1
            return algebra.nth_root(value, index_of(token.text))
        if token.kind == "box":
            self.at += 1
            return self.group()
        if token.kind == "word":
            return self.worded(token)
        raise NoExpressionError(token.text)

    def numeral(self) -> Quotient | None:
        joined = read_joined_numeral(self.tokens, self.at, self.limit)
        self.is_ambiguous |= joined is not None
        if joined is not None and self.joins_numerals:
            self.has_mixed |= self.tokens[self.at + 1].kind == "frac"
            self.num_operations += 1
            value, self.at = joined
        else:
            value, self.at = read_numeral(self.tokens, self.at, self.limit)
        self.operands.append(value)
        self.skip_unit()
        return algebra.number(value)

    def skip_unit(self) -> None:
        """Skips the words after a number, if the expression continues after them ("5 apples + 3", "8 (Ann) + 2")."""
        is_of = is_product_by_of(self.tokens, self.at, self.limit)
        length = 0 if is_of else unit_length(self.tokens[self.at : self.limit])
        if length:
            self.at += length
            self.has_unit = True

    def named(self, token: ClaimToken) -> Quotient | None:
        self.at += 1
        name = token.text
        opening = self.peek()
        if name in self.functions and opening is not None and opening.kind == "open" and opening.glued:
            start, depth = self.at, self.depth
            try:
                inner = self.group()
            except NoExpressionError:
                self.at, self.depth = start, depth
                return named(name)
            key = "" if inner is None else str(inner.rational() if inner.rational() is not None else inner.key())
            return named(f"{name}({key})")
        return named(name)

    def group(self) -> Quotient | None:
        """A parenthesis or a LaTeX group, including its closing bracket."""
        if not self.is_next("open"):
            raise NoExpressionError("no bracket")
        self.at += 1
        value = self.sum()
        if not self.is_next("close"):
            raise NoExpressionError("no closing bracket")
        self.at += 1
        return value

    def argument(self) -> Quotient | None:
        """The argument of a LaTeX command or a root: a group, or one number or name."""
        return self.group() if self.is_next("open") else self.primary()

    def worded(self, token: ClaimToken) -> Quotient | None:
        """A fraction in words before "of" ("half of 40"), or "square root of 9"."""
        words = [t.text.casefold() for i in range(3) if (t := self.peek(i)) is not None and t.kind == "word"]
        if words[1:] == ["root", "of"] and words[0] in ROOT_WORDS:
            self.at += 3
            value = self.powered()
            self.num_operations += 1
            return algebra.nth_root(value, ROOT_WORDS[words[0]])
        after = self.peek(1)
        factor = FRACTION_WORDS.get(token.text.casefold())
        if factor is None or after is None:
            raise NoExpressionError(token.text)
        if after.text.casefold() == "of" or (token.text.casefold() == "twice" and after.kind in ("num", "money")):
            self.at += 1
            if token.text.casefold() == "twice":
                other = self.primary()
                self.num_operations += 1
                return algebra.calculate(constant(factor), "*", other)
            return constant(factor)
        raise NoExpressionError(token.text)


def _read_int(text: str) -> Quotient | None:
    return algebra.number(int(text)) if text.lstrip("-").isdigit() and len(text) < 4 else None
