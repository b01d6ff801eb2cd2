"""Exact values with a bound on their size: quotients of polynomials with rational coefficients.

The indeterminates are variables, π and square roots of whole numbers (a root of 12 is twice the root of 3, and its
square is 3). That is enough to decide school arithmetic and identities without a computer algebra system; whatever
would grow past the bounds raises `UnboundedError`, so nothing that a trace writes can take long.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

Monomial = tuple[tuple[str, int], ...]
Polynomial = dict[Monomial, Fraction]

MAX_TERMS = 32
MAX_DEGREE = 16
MAX_BITS = 1024
_MAX_ROOT = 10**10
PI = "π"
_ROOT = "√"


class UnboundedError(ValueError):
    """A value that is too large to work out, or that has no value (a division by zero)."""


@dataclass(frozen=True, slots=True)
class Value:
    """The quotient of two polynomials; `top` and `bottom` are never changed."""

    top: Polynomial
    bottom: Polynomial

    def constant(self) -> Fraction | None:
        """The rational number that it is, or None."""
        if self.bottom != _ONE or len(self.top) > 1:
            return None
        return self.top.get((), None) if self.top else Fraction(0)

    def names(self) -> frozenset[str]:
        """The variables in it. π and roots are numbers, not variables."""
        return frozenset(
            name
            for side in (self.top, self.bottom)
            for monomial in side
            for name, _ in monomial
            if name != PI and not name.startswith(_ROOT)
        )

    def is_number(self) -> bool:
        return not self.names()

    def key(self) -> tuple[object, ...]:
        """Equal for equal numbers and polynomials; usable as a dictionary key."""
        return (tuple(sorted(self.top.items())), tuple(sorted(self.bottom.items())))

    def approximate(self) -> float | None:
        """The number as a float; None for what is no number, or too large for one."""
        try:
            return _float_of(self.top) / _float_of(self.bottom) if self.is_number() else None
        except (OverflowError, ZeroDivisionError):
            return None


_ONE: Polynomial = {(): Fraction(1)}


def number(value: Fraction | int) -> Value:
    """A rational number as a value."""
    fraction = Fraction(value)
    _check(fraction)
    return Value({(): fraction} if fraction else {}, _ONE)


def symbol(name: str) -> Value:
    """An indeterminate."""
    return Value({((name, 1),): Fraction(1)}, _ONE)


def add(a: Value, b: Value) -> Value:
    if a.bottom == b.bottom:
        return _reduced(_plus(a.top, b.top), a.bottom)
    return _reduced(_plus(_times(a.top, b.bottom), _times(b.top, a.bottom)), _times(a.bottom, b.bottom))


def negate(a: Value) -> Value:
    return Value({monomial: -factor for monomial, factor in a.top.items()}, a.bottom)


def subtract(a: Value, b: Value) -> Value:
    return add(a, negate(b))


def multiply(a: Value, b: Value) -> Value:
    return _reduced(_times(a.top, b.top), _times(a.bottom, b.bottom))


def divide(a: Value, b: Value) -> Value:
    if not b.top:
        raise UnboundedError("division by zero")
    return _reduced(_times(a.top, b.bottom), _times(a.bottom, b.top))


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
    return scale if inside == 1 else multiply(scale, symbol(f"{_ROOT}{inside}"))


def equal(a: Value, b: Value) -> bool:
    """Whether two values are the same for all values of their variables."""
    return _times(a.top, b.bottom) == _times(b.top, a.bottom)


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


def _plus(a: Polynomial, b: Polynomial) -> Polynomial:
    result = dict(a)
    for monomial, factor in b.items():
        result[monomial] = result.get(monomial, Fraction(0)) + factor
        _check(result[monomial])
    return _bounded({m: f for m, f in result.items() if f})


def _times(a: Polynomial, b: Polynomial) -> Polynomial:
    if a == _ONE:
        return b
    if b == _ONE:
        return a
    result: Polynomial = {}
    for left, one in a.items():
        for right, two in b.items():
            monomial, scale = _product(left, right)
            result[monomial] = result.get(monomial, Fraction(0)) + one * two * scale
            _check(result[monomial])
    return _bounded({m: f for m, f in result.items() if f})


def _product(left: Monomial, right: Monomial) -> tuple[Monomial, int]:
    """The product of two monomials, and the number that comes out of products of roots."""
    if not left or not right:
        return left or right, 1
    exponents = dict(left)
    for name, exponent in right:
        exponents[name] = exponents.get(name, 0) + exponent
    scale = 1
    roots = [name for name in exponents if name.startswith(_ROOT)]
    inside = 1
    for name in roots:
        inside_one, exponent = int(name[1:]), exponents.pop(name)
        scale *= inside_one ** (exponent // 2)
        if exponent % 2:
            common = math.gcd(inside, inside_one)
            scale *= common
            inside = inside * inside_one // (common * common)
    if inside > 1:
        exponents[f"{_ROOT}{inside}"] = 1
    if sum(exponents.values()) > MAX_DEGREE:
        raise UnboundedError("degree")
    return tuple(sorted(exponents.items())), scale


def _reduced(top: Polynomial, bottom: Polynomial) -> Value:
    """The quotient with a denominator of one where it divides out."""
    if not bottom:
        raise UnboundedError("division by zero")
    if len(bottom) == 1:
        ((monomial, factor),) = bottom.items()
        if not monomial:
            return Value({m: f / factor for m, f in top.items()}, _ONE)
        if all(_divides(monomial, m) for m in top):
            return Value({_quotient(m, monomial): f / factor for m, f in top.items()}, _ONE)
    if top == bottom:
        return Value(_ONE, _ONE)
    return Value(top, bottom)


def _divides(small: Monomial, large: Monomial) -> bool:
    exponents = dict(large)
    return all(exponents.get(name, 0) >= exponent for name, exponent in small)


def _quotient(large: Monomial, small: Monomial) -> Monomial:
    exponents = dict(large)
    for name, exponent in small:
        exponents[name] -= exponent
    return tuple(sorted((name, e) for name, e in exponents.items() if e))


def _bounded(polynomial: Polynomial) -> Polynomial:
    if len(polynomial) > MAX_TERMS:
        raise UnboundedError("too many terms")
    return polynomial


def _check(factor: Fraction) -> None:
    if factor.numerator.bit_length() > MAX_BITS or factor.denominator.bit_length() > MAX_BITS:
        raise UnboundedError("too many digits")


def _float_of(side: Polynomial) -> float:
    total = 0.0
    for monomial, factor in side.items():
        term = float(factor)
        for name, exponent in monomial:
            term *= (math.pi if name == PI else math.sqrt(int(name[1:]))) ** exponent
        total += term
    return total
