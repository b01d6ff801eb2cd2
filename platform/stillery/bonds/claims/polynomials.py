"""Polynomials with rational coefficients whose size is bounded; a square root of a whole number is an indeterminate.

Polynomials are never changed once made. Whatever would grow past the bounds raises `UnboundedError`.
"""

import math
from fractions import Fraction

Monomial = tuple[tuple[str, int], ...]
Polynomial = dict[Monomial, Fraction]

MAX_TERMS = 32
MAX_DEGREE = 16
MAX_BITS = 1024
PI = "π"
ROOT = "√"


class UnboundedError(ValueError):
    """A value that is too large to work out, or that has no value (a division by zero)."""


ONE: Polynomial = {(): Fraction(1)}


def plus(a: Polynomial, b: Polynomial) -> Polynomial:
    result = dict(a)
    for monomial, factor in b.items():
        result[monomial] = result.get(monomial, Fraction(0)) + factor
        check_size(result[monomial])
    return _bounded({m: f for m, f in result.items() if f})


def times(a: Polynomial, b: Polynomial) -> Polynomial:
    if a == ONE:
        return b
    if b == ONE:
        return a
    result: Polynomial = {}
    for left, one in a.items():
        for right, two in b.items():
            monomial, scale = _product(left, right)
            result[monomial] = result.get(monomial, Fraction(0)) + one * two * scale
            check_size(result[monomial])
    return _bounded({m: f for m, f in result.items() if f})


def _product(left: Monomial, right: Monomial) -> tuple[Monomial, int]:
    """The product of two monomials, and the number that comes out of products of roots."""
    if not left or not right:
        return left or right, 1
    exponents = dict(left)
    for name, exponent in right:
        exponents[name] = exponents.get(name, 0) + exponent
    scale = 1
    roots = [name for name in exponents if name.startswith(ROOT)]
    inside = 1
    for name in roots:
        inside_one, exponent = int(name[1:]), exponents.pop(name)
        scale *= inside_one ** (exponent // 2)
        if exponent % 2:
            common = math.gcd(inside, inside_one)
            scale *= common
            inside = inside * inside_one // (common * common)
    if inside > 1:
        exponents[f"{ROOT}{inside}"] = 1
    if sum(exponents.values()) > MAX_DEGREE:
        raise UnboundedError("degree")
    return tuple(sorted(exponents.items())), scale


def divides(small: Monomial, large: Monomial) -> bool:
    exponents = dict(large)
    return all(exponents.get(name, 0) >= exponent for name, exponent in small)


def quotient(large: Monomial, small: Monomial) -> Monomial:
    exponents = dict(large)
    for name, exponent in small:
        exponents[name] -= exponent
    return tuple(sorted((name, e) for name, e in exponents.items() if e))


def _bounded(polynomial: Polynomial) -> Polynomial:
    if len(polynomial) > MAX_TERMS:
        raise UnboundedError("too many terms")
    return polynomial


def check_size(factor: Fraction) -> None:
    if factor.numerator.bit_length() > MAX_BITS or factor.denominator.bit_length() > MAX_BITS:
        raise UnboundedError("too many digits")


def approximate(side: Polynomial) -> float:
    total = 0.0
    for monomial, factor in side.items():
        term = float(factor)
        for name, exponent in monomial:
            term *= (math.pi if name == PI else math.sqrt(int(name[1:]))) ** exponent
        total += term
    return total
