"""Exact arithmetic on quotients of sums of terms: a rational times the root of a squarefree integer times powers of
letters. Pure.

Roots of distinct squarefree integers are linearly independent over the rationals, and π and the letters are independent
of them and of each other, so two sums are equal exactly if their dicts are, and two quotients exactly if their cross
products are.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

# Past any of these a pair is left to computer algebra, which has a deadline.
MAX_RADICAND = 10**6
MAX_BITS = 2048
MAX_PRODUCTS = 4000

Term = tuple[int, tuple[tuple[str, int], ...]]
Sum = dict[Term, Fraction]
ONE: Term = (1, ())


class NotSimpleError(Exception):
    """The value is not of this kind, or too large."""


@dataclass(frozen=True, slots=True)
class Quotient:
    """A sum of terms over another; `bottom` is never the empty sum, which is zero."""

    top: Sum
    bottom: Sum


class Budget:
    """Arithmetic on sums within a bounded number of products of two terms, for one parse or one comparison."""

    def __init__(self) -> None:
        self._left = MAX_PRODUCTS

    def multiply(self, first: Sum, second: Sum) -> Sum:
        self._left -= len(first) * len(second)
        if self._left < 0:
            raise NotSimpleError
        result: Sum = {}
        for (root, powers), value in first.items():
            for (other_root, other_powers), other_value in second.items():
                common = _gcd_root(root, other_root)
                key = (root * other_root // common**2, _merge(powers, other_powers))
                result[key] = result.get(key, Fraction(0)) + bounded(value * other_value * common)
        return {key: value for key, value in result.items() if value}

    def add(self, first: Quotient, second: Quotient) -> Quotient:
        left, right = self.multiply(first.top, second.bottom), self.multiply(second.top, first.bottom)
        top = {key: left.get(key, Fraction(0)) + right.get(key, Fraction(0)) for key in left.keys() | right.keys()}
        return Quotient({k: v for k, v in top.items() if v}, self.multiply(first.bottom, second.bottom))

    def times(self, first: Quotient, second: Quotient) -> Quotient:
        return Quotient(self.multiply(first.top, second.top), self.multiply(first.bottom, second.bottom))

    def over(self, first: Quotient, second: Quotient) -> Quotient:
        if not second.top:
            raise NotSimpleError
        return self.times(first, Quotient(second.bottom, second.top))

    def power(self, base: Quotient, exponent: int) -> Quotient:
        result = constant(Fraction(1))
        for _ in range(abs(exponent)):
            result = self.times(result, base)
        return result if exponent >= 0 else self.over(constant(Fraction(1)), result)


def constant(value: Fraction) -> Quotient:
    """A rational number as a quotient."""
    return Quotient({ONE: value} if value else {}, {ONE: Fraction(1)})


def as_rational(quotient: Quotient) -> Fraction | None:
    """The rational number that a quotient is as it stands, or None."""
    if not quotient.top:
        return Fraction(0)
    if quotient.top.keys() == quotient.bottom.keys() == {ONE}:
        return quotient.top[ONE] / quotient.bottom[ONE]
    return None


def root_of(quotient: Quotient) -> Quotient:
    """The square root of a rational number. Raises NotSimpleError of anything else."""
    value = as_rational(quotient)
    if value is None or value < 0:
        raise NotSimpleError
    radicand = value.numerator * value.denominator
    outer = isqrt(radicand)
    if outer * outer == radicand:
        return constant(Fraction(outer, value.denominator))
    if radicand > MAX_RADICAND:
        raise NotSimpleError
    outer = next(n for n in range(outer, 0, -1) if radicand % (n * n) == 0)
    return Quotient({(radicand // outer**2, ()): Fraction(outer, value.denominator)}, {ONE: Fraction(1)})


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


def bounded(value: Fraction) -> Fraction:
    """The value itself. Raises NotSimpleError if it is too large."""
    if value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
        raise NotSimpleError
    return value
