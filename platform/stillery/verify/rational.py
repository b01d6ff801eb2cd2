"""Two cleaned answers -> whether they are equal as rational functions of letters, π and square roots. Pure, exact.

A term is a rational times the root of a squarefree integer times powers of letters; a sum of terms is a dict. Roots
of distinct squarefree integers are linearly independent over the rationals, and π and the letters are independent of
them and of each other, so two sums are equal exactly if their dicts are, and two quotients exactly if their cross
products are. Anything beyond that (other functions, other roots, names of more letters) is not decided here.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

# Past any of these a pair is left to computer algebra, which has a deadline.
MAX_CHARS = 300
MAX_EXPONENT = 64
MAX_RADICAND = 10**6
MAX_BITS = 2048
MAX_PRODUCTS = 4000

_TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?|\\?[A-Za-z]+|[-+*/^(){}])", re.ASCII)
_SHORT_FRACTION = re.compile(r"\\frac\s*(\d)\s*(\d)", re.ASCII)
# Letters that are more than a name somewhere in mathematics: e, i, the d of dx; z and w are taken for complex.
_LETTERS = frozenset("abcfghjklmnopqrstuvxyABCDFGHJKLMPQRTUVWXYZ")
_NAMES = {"\\pi": "π", "pi": "π", "\\theta": "θ", "\\alpha": "α", "\\beta": "β"}
_TIMES = {"*", "\\cdot", "\\times"}
_CLOSING = {"(": ")", "{": "}"}

# Which tokens of 1\frac{1}{4} are whole numbers.
_MIXED_NUMBER = [True, False, False, True, False, False, True, False]

Term = tuple[int, tuple[tuple[str, int], ...]]
Sum = dict[Term, Fraction]
_ONE: Term = (1, ())


class _NotSimpleError(Exception):
    """The text is not an expression of this kind, or one that is too large."""


@dataclass(frozen=True, slots=True)
class Quotient:
    """A sum of terms over another; `bottom` is never the empty sum, which is zero."""

    top: Sum
    bottom: Sum


def equal(predicted: str, gold: str) -> bool | None:
    """Whether two expressions are equal; None where either is not one that this module decides."""
    first, second = parse(predicted), parse(gold)
    if first is None or second is None:
        return None
    budget = _Budget()
    try:
        return budget.multiply(first.top, second.bottom) == budget.multiply(second.top, first.bottom)
    except _NotSimpleError:
        return None


def parse(text: str) -> Quotient | None:
    """The rational function that the whole of a text denotes, or None."""
    if len(text) > MAX_CHARS:
        return None
    try:
        return _Parser(_tokens(_SHORT_FRACTION.sub(r"\\frac{\1}{\2}", text))).whole()
    except (_NotSimpleError, RecursionError):
        return None


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _NotSimpleError
        tokens += _split_letters(match[1])
        position = match.end()
    return tokens


def _split_letters(token: str) -> list[str]:
    """`xy` is x times y; a longer word is a name."""
    if len(token) == 2 and token.isalpha() and token not in _NAMES:
        return list(token)
    return [token]


class _Budget:
    """Arithmetic on sums within a bounded number of products of two terms, for one parse or one comparison."""

    def __init__(self) -> None:
        self._left = MAX_PRODUCTS

    def multiply(self, first: Sum, second: Sum) -> Sum:
        self._left -= len(first) * len(second)
        if self._left < 0:
            raise _NotSimpleError
        result: Sum = {}
        for (root, powers), value in first.items():
            for (other_root, other_powers), other_value in second.items():
                common = _gcd_root(root, other_root)
                key = (root * other_root // common**2, _merge(powers, other_powers))
                result[key] = result.get(key, Fraction(0)) + _bounded(value * other_value * common)
        return {key: value for key, value in result.items() if value}

    def add(self, first: Quotient, second: Quotient) -> Quotient:
        left, right = self.multiply(first.top, second.bottom), self.multiply(second.top, first.bottom)
        top = {key: left.get(key, Fraction(0)) + right.get(key, Fraction(0)) for key in left.keys() | right.keys()}
        return Quotient({k: v for k, v in top.items() if v}, self.multiply(first.bottom, second.bottom))

    def times(self, first: Quotient, second: Quotient) -> Quotient:
        return Quotient(self.multiply(first.top, second.top), self.multiply(first.bottom, second.bottom))

    def over(self, first: Quotient, second: Quotient) -> Quotient:
        if not second.top:
            raise _NotSimpleError
        return self.times(first, Quotient(second.bottom, second.top))

    def power(self, base: Quotient, exponent: int) -> Quotient:
        result = _constant(Fraction(1))
        for _ in range(abs(exponent)):
            result = self.times(result, base)
        return result if exponent >= 0 else self.over(_constant(Fraction(1)), result)


class _Parser:
    """Recursive descent over the tokens of one text; its depth is bounded by that of the text's brackets."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = [*tokens, ""]
        self._at = 0
        self._budget = _Budget()

    def whole(self) -> Quotient:
        value = self._sum()
        if self._peek():
            raise _NotSimpleError
        return value

    def _peek(self) -> str:
        return self._tokens[self._at]

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _sum(self) -> Quotient:
        sign = -1 if self._peek() == "-" else 1
        if self._peek() in ("-", "+"):
            self._next()
        total = self._budget.times(_constant(Fraction(sign)), self._product())
        while self._peek() in ("-", "+"):
            sign = -1 if self._next() == "-" else 1
            total = self._budget.add(total, self._budget.times(_constant(Fraction(sign)), self._product()))
        return total

    def _product(self) -> Quotient:
        """Factors with signs between them or none. After a slash none may be left out: 1/2x is ambiguous."""
        total = self._power()
        divided = False
        while token := self._peek():
            if token == "/":
                self._next()
                total, divided = self._budget.over(total, self._power()), True
            elif token in _TIMES:
                self._next()
                total = self._budget.times(total, self._power())
            elif _starts_factor(token) and not divided:
                total = self._budget.times(total, self._power())
            else:
                break
        return total

    def _power(self) -> Quotient:
        base = self._factor()
        if self._peek() != "^":
            return base
        self._next()
        exponent = self._argument() if self._peek() == "{" else self._digit()
        if self._peek() == "^":
            raise _NotSimpleError
        value = _rational(exponent)
        if value is None or value.denominator != 1 or abs(value) > MAX_EXPONENT:
            raise _NotSimpleError
        return self._budget.power(base, int(value))

    def _factor(self) -> Quotient:
        token = self._next()
        if token[:1].isdigit():
            return _constant(_bounded(Fraction(token) + self._fraction_of_mixed_number()))
        if token in _CLOSING:
            return self._group(token)
        if token == "\\frac":
            return self._budget.over(self._argument(), self._argument())
        if token in ("\\sqrt", "sqrt"):
            return _root(self._argument())
        name = _NAMES.get(token, token)
        # f(x) is a function's value to some, a product to others.
        if (token in _NAMES or token in _LETTERS) and not (name.isascii() and self._peek() == "("):
            return Quotient({(1, ((name, 1),)): Fraction(1)}, {_ONE: Fraction(1)})
        raise _NotSimpleError

    def _fraction_of_mixed_number(self) -> Fraction:
        """The fraction that stands right after a number, read: 1\\frac{1}{4} is 5/4. Only of whole numbers, and
        with no factor after it."""
        if self._peek() != "\\frac":
            return Fraction(0)
        self._next()
        top, bottom = _rational(self._argument()), _rational(self._argument())
        read = self._tokens[self._at - 8 : self._at]
        is_alone = not _starts_factor(self._peek()) and self._peek() != "^"
        if not top or not bottom or not is_alone or [*map(str.isdigit, read)] != _MIXED_NUMBER:
            raise _NotSimpleError
        return top / bottom

    def _argument(self) -> Quotient:
        """What a command takes: a group, or one digit."""
        token = self._peek()
        if token in _CLOSING:
            self._next()
            return self._group(token)
        return self._digit()

    def _digit(self) -> Quotient:
        """A number of one digit. Of a longer one LaTeX takes the first digit alone."""
        token = self._next()
        if len(token) != 1 or not token.isdigit():
            raise _NotSimpleError
        return _constant(Fraction(token))

    def _group(self, opening: str) -> Quotient:
        value = self._sum()
        if self._next() != _CLOSING[opening]:
            raise _NotSimpleError
        return value


def _starts_factor(token: str) -> bool:
    return token in ("(", "{", "\\frac", "\\sqrt", "sqrt") or token in _NAMES or token in _LETTERS


def _constant(value: Fraction) -> Quotient:
    return Quotient({_ONE: value} if value else {}, {_ONE: Fraction(1)})


def _rational(quotient: Quotient) -> Fraction | None:
    """The rational number that a quotient is as it stands, or None."""
    if not quotient.top:
        return Fraction(0)
    if quotient.top.keys() == quotient.bottom.keys() == {_ONE}:
        return quotient.top[_ONE] / quotient.bottom[_ONE]
    return None


def _root(quotient: Quotient) -> Quotient:
    value = _rational(quotient)
    if value is None or value < 0:
        raise _NotSimpleError
    radicand = value.numerator * value.denominator
    outer = isqrt(radicand)
    if outer * outer == radicand:
        return _constant(Fraction(outer, value.denominator))
    if radicand > MAX_RADICAND:
        raise _NotSimpleError
    outer = next(n for n in range(outer, 0, -1) if radicand % (n * n) == 0)
    return Quotient({(radicand // outer**2, ()): Fraction(outer, value.denominator)}, {_ONE: Fraction(1)})


def _gcd_root(first: int, second: int) -> int:
    """What leaves the product of two roots of squarefree integers: √a·√b is g·√(ab/g²)."""
    while second:
        first, second = second, first % second
    return first


def _merge(first: tuple[tuple[str, int], ...], second: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    if not first or not second:
        return first or second
    powers = dict(first)
    for name, power in second:
        powers[name] = powers.get(name, 0) + power
    return tuple(sorted(powers.items()))


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
        raise _NotSimpleError
    return value
