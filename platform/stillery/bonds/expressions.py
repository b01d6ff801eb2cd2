"""Tokens in, the expression that starts at one of them out: its exact value, and the numbers and names it uses.

A recursive-descent parser with a bounded depth, over text as people and models write it: units after numbers, currency
signs, per cent, LaTeX fractions and roots, "9 times 13", "half of 40". Nothing is ever evaluated as code.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from stillery.bonds import algebra
from stillery.bonds.algebra import UnboundedError, Value
from stillery.bonds.tokens import Token
from stillery.bonds.units import unit_length

_MAX_DEPTH = 16
_MAX_TOKENS = 120
_MAX_FACTORIAL = 100
_FRACTION_WORDS = {"half": Fraction(1, 2), "third": Fraction(1, 3), "quarter": Fraction(1, 4), "twice": Fraction(2)}


class NoExpressionError(ValueError):
    """No expression starts at this token."""


@dataclass(slots=True)
class Expression:
    """What was parsed: tokens `first` up to, not including, `end`. `value` is None where it is out of bounds."""

    first: int
    end: int
    value: Value | None
    num_operations: int
    operands: list[Fraction] = field(default_factory=list[Fraction])
    has_unit: bool = False

    def constant(self) -> Fraction | None:
        return None if self.value is None else self.value.constant()


def parse(tokens: Sequence[Token], first: int, *, functions: frozenset[str] = frozenset()) -> Expression:
    """The longest expression that starts at token `first`.

    `functions` are the names whose application, as in f(2), stands for one unknown and is no product. Raises
    NoExpressionError where none starts.
    """
    parser = _Parser(tokens, first, functions)
    value = parser.sum()
    return Expression(first, parser.at, value, parser.num_operations, parser.operands, parser.has_unit)


class _Parser:
    def __init__(self, tokens: Sequence[Token], first: int, functions: frozenset[str]) -> None:
        self.tokens = tokens
        self.at = first
        self.limit = min(len(tokens), first + _MAX_TOKENS)
        self.functions = functions
        self.depth = 0
        self.num_operations = 0
        self.operands: list[Fraction] = []
        self.has_unit = False

    def peek(self, offset: int = 0) -> Token | None:
        at = self.at + offset
        return self.tokens[at] if at < self.limit else None

    def is_next(self, kind: str, *texts: str) -> bool:
        token = self.peek()
        return token is not None and token.kind == kind and (not texts or token.text in texts)

    def sum(self) -> Value | None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise NoExpressionError("nested too deeply")
        value = self.product()
        while self.is_next("op", "+", "-"):
            sign, at, depth = self.tokens[self.at].text, self.at, self.depth
            self.at += 1
            try:
                other = self.product()
            except NoExpressionError:
                self.at, self.depth = at, depth
                break
            self.num_operations += 1
            value = _work(algebra.add if sign == "+" else algebra.subtract, value, other)
        self.depth -= 1
        return value

    def product(self) -> Value | None:
        value = self.signed()
        while True:
            at, depth = self.at, self.depth
            if self.is_next("op", "*", "/"):
                operation = algebra.multiply if self.tokens[self.at].text == "*" else algebra.divide
                self.at += 1
            elif self.is_of():
                operation = algebra.multiply
                self.at += 1
            elif self.is_implicit():
                operation = algebra.multiply
            else:
                return value
            try:
                other = self.signed() if self.tokens[at].kind == "op" else self.powered()
            except NoExpressionError:
                self.at, self.depth = at, depth
                return value
            self.num_operations += 1
            value = _work(operation, value, other)

    def is_of(self) -> bool:
        """Whether "of" multiplies: after a per cent sign or a fraction, before a number."""
        token, after, before = self.peek(), self.peek(1), self.tokens[self.at - 1]
        if (
            token is None
            or after is None
            or token.text.casefold() != "of"
            or after.kind not in ("num", "money", "frac")
        ):
            return False
        is_fraction = before.kind == "num" and self.at > 1 and self.tokens[self.at - 2].text == "/"
        return is_fraction or before.text in ("%", "percent", ")") or before.text.casefold() in _FRACTION_WORDS

    def is_implicit(self) -> bool:
        """Whether two factors stand side by side: 2x, 3(4), (a)(b), 3√13; never number by number."""
        token, before = self.peek(), self.tokens[self.at - 1]
        if token is None or before.kind not in ("num", "name", "close", "super"):
            return False
        if token.kind == "open":
            return token.text == "(" and (token.glued or before.kind == "close")
        if token.kind in ("frac", "sqrt"):
            return before.kind in ("num", "name", "close", "super")
        return token.kind == "name" and (token.glued or before.kind == "name" or token.text == algebra.PI)

    def signed(self) -> Value | None:
        if self.is_next("op", "-", "+"):
            negative = self.tokens[self.at].text == "-"
            self.at += 1
            self.depth += 1
            if self.depth > _MAX_DEPTH:
                raise NoExpressionError("nested too deeply")
            value = self.signed()
            self.depth -= 1
            if negative and self.operands and value is not None and value.constant() == -self.operands[-1]:
                self.operands[-1] = -self.operands[-1]
            return _work(lambda a, _: algebra.negate(a), value, value) if negative else value
        return self.powered()

    def powered(self) -> Value | None:
        value = self.primary()
        while True:
            if self.is_next("super"):
                exponent = _read_int(self.tokens[self.at].text)
                self.at += 1
                self.num_operations += 1
                value = _work(algebra.power, value, exponent)
            elif self.is_next("op", "^"):
                self.at += 1
                self.depth += 1
                if self.depth > _MAX_DEPTH:
                    raise NoExpressionError("nested too deeply")
                exponent = self.signed() if not self.is_next("open") else self.group()
                self.depth -= 1
                self.num_operations += 1
                value = _work(algebra.power, value, exponent)
            elif self.is_next("post"):
                post = self.tokens[self.at]
                if post.text == "!" and not (post.glued and self.has_factorial()):
                    return value
                self.at += 1
                value = self.posted(value, post.text)
            else:
                return value

    def has_factorial(self) -> bool:
        """Whether an exclamation mark goes on to something, and so does not end a sentence."""
        after = self.peek(1)
        return after is not None and (after.glued or after.kind in ("op", "rel", "close"))

    def posted(self, value: Value | None, sign: str) -> Value | None:
        if sign == "%":
            return _work(algebra.divide, value, algebra.number(100))
        if sign == "!":
            self.num_operations += 1
            return _factorial(value)
        return value

    def primary(self) -> Value | None:
        while self.is_next("money"):
            self.at += 1
        token = self.peek()
        if token is None:
            raise NoExpressionError("the text ends")
        if token.kind == "num" and token.value is not None:
            return self.numeral(token.value)
        if token.kind == "name":
            return self.named(token)
        if token.kind == "open":
            return self.group()
        if token.kind == "frac":
            self.at += 1
            top, bottom = self.argument(), self.argument()
            self.num_operations += 1
            return _work(algebra.divide, top, bottom)
        if token.kind == "sqrt":
            self.at += 1
            value = self.argument()
            self.num_operations += 1
            return _work(lambda a, _: algebra.root(a), value, value)
        if token.kind == "box":
            self.at += 1
            return self.group()
        if token.kind == "word":
            return self.worded(token)
        raise NoExpressionError(token.text)

    def numeral(self, value: Fraction) -> Value | None:
        self.at += 1
        joined = int(self.is_next("word", "and"))
        top, slash, bottom = (self.peek(joined + i) for i in range(3))
        is_mixed = (
            top is not None and slash is not None and bottom is not None
            and top.kind == bottom.kind == "num" and slash.text == "/" and not top.glued and value.denominator == 1
            and top.value is not None and bottom.value is not None and 0 < top.value < bottom.value
        )  # fmt: skip
        if is_mixed and top and bottom and top.value is not None and bottom.value is not None:
            value += top.value / bottom.value
            self.at += joined + 3
        elif self.is_tight_fraction() and slash is not None and (tight := self.peek(1)) is not None and tight.value:
            value /= tight.value
            self.at += 2
        self.operands.append(value)
        self.skip_unit()
        return algebra.number(value)

    def is_tight_fraction(self) -> bool:
        """Whether a fraction without blanks is the divisor of a division with blanks: "3 / 1/2" is six."""
        divided, slash, bottom = self.tokens[self.at - 2] if self.at > 1 else None, self.peek(), self.peek(1)
        if divided is None or slash is None or bottom is None or divided.text != "/" or divided.glued:
            return False
        return slash.text == "/" and slash.glued and bottom.kind == "num" and bottom.glued

    def skip_unit(self) -> None:
        """Past the words after a number, if the expression goes on behind them ("5 apples + 3", "8 (Ann) + 2")."""
        length = 0 if self.is_of() else unit_length(self.tokens[self.at : self.limit])
        if length:
            self.at += length
            self.has_unit = True

    def named(self, token: Token) -> Value | None:
        self.at += 1
        name = token.text
        opening = self.peek()
        if name in self.functions and opening is not None and opening.kind == "open" and opening.glued:
            start, depth = self.at, self.depth
            try:
                inner = self.group()
            except NoExpressionError:
                self.at, self.depth = start, depth
                return algebra.symbol(name)
            key = "" if inner is None else str(inner.constant() if inner.constant() is not None else inner.key())
            return algebra.symbol(f"{name}({key})")
        return algebra.symbol(name)

    def group(self) -> Value | None:
        """A parenthesis or a LaTeX group, its closing bracket included."""
        if not self.is_next("open"):
            raise NoExpressionError("no bracket")
        self.at += 1
        value = self.sum()
        if not self.is_next("close"):
            raise NoExpressionError("no closing bracket")
        self.at += 1
        return value

    def argument(self) -> Value | None:
        """What a LaTeX command or a root is applied to: a group, or one number or name."""
        return self.group() if self.is_next("open") else self.primary()

    def worded(self, token: Token) -> Value | None:
        """A fraction in words before "of" ("half of 40"), or "square root of 9"."""
        words = [t.text.casefold() for i in range(3) if (t := self.peek(i)) is not None and t.kind == "word"]
        if words[:3] == ["square", "root", "of"]:
            self.at += 3
            value = self.powered()
            self.num_operations += 1
            return _work(lambda a, _: algebra.root(a), value, value)
        after = self.peek(1)
        factor = _FRACTION_WORDS.get(token.text.casefold())
        if factor is None or after is None:
            raise NoExpressionError(token.text)
        if after.text.casefold() == "of" or (token.text.casefold() == "twice" and after.kind in ("num", "money")):
            self.at += 1
            if token.text.casefold() == "twice":
                other = self.primary()
                self.num_operations += 1
                return _work(algebra.multiply, algebra.number(factor), other)
            return algebra.number(factor)
        raise NoExpressionError(token.text)


def _work(operation: Callable[[Value, Value], Value], a: Value | None, b: Value | None) -> Value | None:
    """The result, or None where an operand is out of bounds or the result would be."""
    if a is None or b is None:
        return None
    try:
        return operation(a, b)
    except UnboundedError:
        return None


def _factorial(value: Value | None) -> Value | None:
    n = None if value is None else value.constant()
    if n is None or n.denominator != 1 or not 0 <= n <= _MAX_FACTORIAL:
        return None
    product = algebra.number(1)
    for k in range(2, int(n) + 1):
        product = algebra.multiply(product, algebra.number(k))
    return product


def _read_int(text: str) -> Value | None:
    return algebra.number(int(text)) if text.lstrip("-").isdigit() and len(text) < 4 else None
