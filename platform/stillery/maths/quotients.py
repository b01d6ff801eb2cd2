"""Exact arithmetic on quotients of sums of terms: a rational times the root of a squarefree integer times powers of
names. Pure.

The root of −1 is the imaginary unit. Roots of distinct squarefree integers are linearly independent over the rationals,
and π, ℯ and the names are taken as independent of them and of each other, so two sums are equal exactly if their dicts
are, and two quotients exactly if their cross products are.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, isqrt

# Past any of these limits the value is not computed.
MAX_RADICAND = 10**6
MAX_BITS = 4096
MAX_PRODUCTS = 4000
MAX_POWER = 64

Powers = tuple[tuple[str, int], ...]
Term = tuple[int, Powers]
Sum = dict[Term, Fraction]
ONE: Term = (1, ())
_UNIT: Sum = {ONE: Fraction(1)}
PI, EULER = "π", "ℯ"
# The values of the constants, for `approximate`. A letter e is a name like any other.
CONSTANTS = {PI: math.pi, EULER: math.e}


class NotSimpleError(Exception):
    """The value cannot be represented as a quotient, or is too large."""


@dataclass(frozen=True, slots=True)
class Quotient:
    """A sum of terms over another. Neither is ever mutated; `bottom` is never the empty sum, which is zero."""

    top: Sum
    bottom: Sum

    def rational(self) -> Fraction | None:
        """The rational number in its present form, or None."""
        if not self.top:
            return Fraction(0)
        if len(self.top) == len(self.bottom) == 1 and ONE in self.top and ONE in self.bottom:
            return self.top[ONE] / self.bottom[ONE]
        return None

    def key(self) -> tuple[object, ...]:
        """Equal for the same terms, in whichever order they were written."""
        return (tuple(sorted(self.top.items())), tuple(sorted(self.bottom.items())))

    def names(self) -> frozenset[str]:
        """The names in it; π and ℯ are numbers."""
        terms = [*self.top, *self.bottom]
        return frozenset(name for _, powers in terms for name, _ in powers) - CONSTANTS.keys()

    def approximate(self) -> float | None:
        """The real number as a float; None for a value with a name, a non-real one, and one too large for a float."""
        try:
            return _approximate(self.top) / _approximate(self.bottom)
        except (KeyError, OverflowError, ValueError, ZeroDivisionError):
            return None


class TermBudget:
    """Arithmetic on quotients within a bounded number of products of two terms, for one expression or comparison. Its
    methods raise NotSimpleError past that, and past the bounds above."""

    def __init__(self, products: int = MAX_PRODUCTS) -> None:
        self._left = products

    def multiply(self, first: Sum, second: Sum) -> Sum:
        self._left -= len(first) * len(second)
        if self._left < 0:
            raise NotSimpleError
        if len(first) == len(second) == 1 and ONE in first and ONE in second:
            return {ONE: bounded(first[ONE] * second[ONE])}
        result: Sum = {}
        for (root, powers), value in first.items():
            for (other_root, other_powers), other_value in second.items():
                common = gcd(root, other_root)
                # √−a·√−b is −√ab.
                sign = -1 if root < 0 and other_root < 0 else 1
                key = (root * other_root // common**2, _merge(powers, other_powers))
                result[key] = result.get(key, Fraction(0)) + bounded(value * other_value * (sign * common))
        return {key: value for key, value in result.items() if value}

    def add(self, first: Quotient, second: Quotient) -> Quotient:
        if first.bottom == second.bottom:
            return Quotient(_plus(first.top, second.top), first.bottom)
        left, right = self.multiply(first.top, second.bottom), self.multiply(second.top, first.bottom)
        return _reduced(_plus(left, right), self.multiply(first.bottom, second.bottom))

    def times(self, first: Quotient, second: Quotient) -> Quotient:
        return _reduced(self.multiply(first.top, second.top), self.multiply(first.bottom, second.bottom))

    def over(self, first: Quotient, second: Quotient) -> Quotient:
        if not second.top:
            raise NotSimpleError
        return self.times(first, Quotient(second.bottom, second.top))

    def power(self, base: Quotient, exponent: Fraction) -> Quotient:
        """An integer power of any value, or the square root of a rational number."""
        if exponent.denominator == 2:
            return self.power(root_of(base), exponent * 2)
        if exponent.denominator != 1:
            raise NotSimpleError
        value = base.rational()
        if value is not None:
            return constant(_rational_power(value, int(exponent)))
        if abs(exponent) > MAX_POWER:
            raise NotSimpleError
        result = constant(Fraction(1))
        for _ in range(abs(int(exponent))):
            result = self.times(result, base)
        return result if exponent >= 0 else self.over(constant(Fraction(1)), result)

    def equal(self, first: Quotient, second: Quotient) -> bool:
        """Whether two values are the same for all values of their names."""
        return self.multiply(first.top, second.bottom) == self.multiply(second.top, first.bottom)

    def substitute(self, value: Quotient, known: Mapping[str, Quotient]) -> Quotient:
        """The value with some of its names replaced."""
        return self.over(self._put(value.top, known), self._put(value.bottom, known))

    def _put(self, side: Sum, known: Mapping[str, Quotient]) -> Quotient:
        total = constant(Fraction(0))
        for (root, powers), factor in side.items():
            term = Quotient({(root, ()): factor}, {ONE: Fraction(1)})
            for name, exponent in powers:
                term = self.times(term, self.power(known.get(name) or named(name), Fraction(exponent)))
            total = self.add(total, term)
        return total


def constant(value: Fraction) -> Quotient:
    """A rational number as a quotient."""
    return Quotient({ONE: bounded(value)} if value else {}, _UNIT)


def named(name: str) -> Quotient:
    """A letter, π or ℯ as a quotient."""
    return Quotient({(1, ((name, 1),)): Fraction(1)}, _UNIT)


def root_of(quotient: Quotient) -> Quotient:
    """The square root of a rational number. Raises NotSimpleError for anything else."""
    value = quotient.rational()
    if value is None:
        raise NotSimpleError
    sign, radicand = (-1 if value < 0 else 1), abs(value.numerator) * value.denominator
    outer = isqrt(radicand)
    if outer * outer != radicand:
        if radicand > MAX_RADICAND:
            raise NotSimpleError
        outer = next(n for n in range(outer, 0, -1) if radicand % (n * n) == 0)
    inner = sign * (radicand // outer**2 if outer else 1)
    return Quotient({(inner, ()): Fraction(outer, value.denominator)} if outer else {}, {ONE: Fraction(1)})


def _rational_power(value: Fraction, exponent: int) -> Fraction:
    bits = (value.numerator.bit_length() + value.denominator.bit_length()) * abs(exponent)
    if (value == 0 and exponent < 0) or (bits > MAX_BITS and abs(value) != 1 and value != 0):
        raise NotSimpleError
    return value**exponent if value else Fraction(exponent == 0)


def _reduced(top: Sum, bottom: Sum) -> Quotient:
    """The quotient, divided out where the denominator is one term that divides all of the numerator's."""
    if len(bottom) != 1 or bottom == _UNIT:
        return Quotient(top, bottom)
    (((root, powers), factor),) = bottom.items()
    if root != 1 or not all(_divides(powers, term) for _, term in top):
        return Quotient(top, bottom)
    return Quotient({(r, _without(term, powers)): value / factor for (r, term), value in top.items()}, _UNIT)


def _divides(powers: Powers, term: Powers) -> bool:
    known = dict(term)
    return all(0 < power <= known.get(name, 0) for name, power in powers)


def _without(term: Powers, powers: Powers) -> Powers:
    if not powers:
        return term
    taken = dict(powers)
    return tuple((name, rest) for name, power in term if (rest := power - taken.get(name, 0)))


def _approximate(side: Sum) -> float:
    return sum(
        float(value) * math.sqrt(root) * math.prod(CONSTANTS[name] ** power for name, power in powers)
        for (root, powers), value in side.items()
    )


def _plus(first: Sum, second: Sum) -> Sum:
    result = dict(first)
    for key, value in second.items():
        result[key] = bounded(result.get(key, Fraction(0)) + value)
    return {key: value for key, value in result.items() if value}


def _merge(first: Powers, second: Powers) -> Powers:
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
