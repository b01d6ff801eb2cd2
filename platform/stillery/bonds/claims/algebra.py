"""Exact values with a bound on their size: quotients of polynomials with rational coefficients.

The indeterminates are variables, π and square roots of whole numbers (a root of 12 is twice the root of 3, and its
square is 3). That is enough to decide school arithmetic and identities without a computer algebra system; whatever
would grow past the bounds raises `UnboundedError`, so nothing that a trace writes can take long.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from stillery.bonds.claims.polynomials import (
    ONE,
    PI,
    ROOT,
    Polynomial,
    UnboundedError,
    approximate,
    check_size,
    divides,
    plus,
    quotient,
    times,
)

_MAX_FACTORIAL = 100
_MAX_ROOT = 10**10


@dataclass(frozen=True, slots=True)
class Value:
    """The quotient of two polynomials; `top` and `bottom` are never changed."""

    top: Polynomial
    bottom: Polynomial

    def constant(self) -> Fraction | None:
        """The rational number that it is, or None."""
        if self.bottom != ONE or len(self.top) > 1:
            return None
        return self.top.get((), None) if self.top else Fraction(0)

    def names(self) -> frozenset[str]:
        """The variables in it. π and roots are numbers, not variables."""
        return frozenset(
            name
            for side in (self.top, self.bottom)
            for monomial in side
            for name, _ in monomial
            if name != PI and not name.startswith(ROOT)
        )

    def is_number(self) -> bool:
        return not self.names()

    def key(self) -> tuple[object, ...]:
        """Equal for equal numbers and polynomials; usable as a dictionary key."""
        return (tuple(sorted(self.top.items())), tuple(sorted(self.bottom.items())))

    def approximate(self) -> float | None:
        """The number as a float; None for what is no number, or too large for one."""
        try:
            return approximate(self.top) / approximate(self.bottom) if self.is_number() else None
        except (OverflowError, ZeroDivisionError):
            return None


def number(value: Fraction | int) -> Value:
    """A rational number as a value."""
    fraction = Fraction(value)
    check_size(fraction)
    return Value({(): fraction} if fraction else {}, ONE)


def symbol(name: str) -> Value:
    """An indeterminate."""
    return Value({((name, 1),): Fraction(1)}, ONE)


def add(a: Value, b: Value) -> Value:
    if a.bottom == b.bottom:
        return _reduced(plus(a.top, b.top), a.bottom)
    return _reduced(plus(times(a.top, b.bottom), times(b.top, a.bottom)), times(a.bottom, b.bottom))


def negate(a: Value) -> Value:
    return Value({monomial: -factor for monomial, factor in a.top.items()}, a.bottom)


def subtract(a: Value, b: Value) -> Value:
    return add(a, negate(b))


def multiply(a: Value, b: Value) -> Value:
    return _reduced(times(a.top, b.top), times(a.bottom, b.bottom))


def divide(a: Value, b: Value) -> Value:
    if not b.top:
        raise UnboundedError("division by zero")
    return _reduced(times(a.top, b.bottom), times(a.bottom, b.top))


def power(base: Value, exponent: Value) -> Value:
    """A whole power, or the square root for an exponent of one half. Other exponents raise UnboundedError."""
    e = exponent.constant()
    if e == Fraction(1, 2):
        return root(base)
    if e is None or e.denominator != 1 or abs(e) > 64:
        raise UnboundedError("an exponent that is not a small whole number")
    result, factor = number(1), base if e >= 0 else divide(number(1), base)
    for _ in range(abs(int(e))):
        result = multiply(result, factor)
    return result


def root(a: Value) -> Value:
    """The square root of a rational number (a multiple of the root of a square-free one); of other values an
    indeterminate of its own."""
    c = a.constant()
    if c is None or c < 0:
        return symbol(f"sqrt{a.key()}")
    product = c.numerator * c.denominator
    if product > _MAX_ROOT:
        whole = math.isqrt(product)
        if whole * whole != product:
            raise UnboundedError("root of a large number")
        return number(Fraction(whole, c.denominator))
    outside, inside, factor = 1, product, 2
    while factor * factor <= inside:
        while inside % (factor * factor) == 0:
            inside //= factor * factor
            outside *= factor
        factor += 1
    scale = number(Fraction(outside, c.denominator))
    return scale if inside == 1 else multiply(scale, symbol(f"{ROOT}{inside}"))


def equal(a: Value, b: Value) -> bool:
    """Whether two values are the same for all values of their variables."""
    return times(a.top, b.bottom) == times(b.top, a.bottom)


def substitute(value: Value, known: dict[str, Value]) -> Value:
    """The value with some of its variables replaced."""
    if not value.names() & known.keys():
        return value
    return divide(_put(value.top, known), _put(value.bottom, known))


def _put(side: Polynomial, known: dict[str, Value]) -> Value:
    total = number(0)
    for monomial, factor in side.items():
        term = number(factor)
        for name, exponent in monomial:
            term = multiply(term, power(known.get(name) or symbol(name), number(exponent)))
        total = add(total, term)
    return total


def _reduced(top: Polynomial, bottom: Polynomial) -> Value:
    """The quotient with a denominator of one where it divides out."""
    if not bottom:
        raise UnboundedError("division by zero")
    if len(bottom) == 1:
        ((monomial, factor),) = bottom.items()
        if not monomial:
            return Value({m: f / factor for m, f in top.items()}, ONE)
        if all(divides(monomial, m) for m in top):
            return Value({quotient(m, monomial): f / factor for m, f in top.items()}, ONE)
    if top == bottom:
        return Value(ONE, ONE)
    return Value(top, bottom)


def attempt(operation: Callable[[Value, Value], Value], a: Value | None, b: Value | None) -> Value | None:
    """The result of an operation, or None where an operand is out of bounds or the result would be."""
    if a is None or b is None:
        return None
    try:
        return operation(a, b)
    except UnboundedError:
        return None


def factorial(value: Value | None) -> Value | None:
    """The factorial of a small whole number; None for anything else."""
    n = None if value is None else value.constant()
    if n is None or n.denominator != 1 or not 0 <= n <= _MAX_FACTORIAL:
        return None
    return number(math.factorial(int(n)))
