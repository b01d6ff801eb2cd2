"""Arithmetic on the exact values in a trace: `maths.quotients`, each operation within a budget of its own.

A value that would grow past the bounds, or does not exist (a division by zero), is None, so nothing in a trace can take
long or end its analysis.
"""

import math
from collections.abc import Mapping
from fractions import Fraction

from stillery.maths.quotients import NotSimpleError, Quotient, TermBudget, constant, named, root_of

_MAX_FACTORIAL = 100
_MAX_ROOT = 20
# The maximum number of terms in one operation: a trace has thousands of expressions, and each is read from several
# places.
_MAX_PRODUCTS = 400
_MINUS_ONE = Fraction(-1)


def number(value: Fraction | int) -> Quotient | None:
    """A rational number as a value."""
    try:
        return constant(Fraction(value))
    except NotSimpleError:
        return None


def calculate(first: Quotient | None, operator: str, second: Quotient | None) -> Quotient | None:
    """`first` + - * / ^ `second`; None where an operand is None, and where the result is out of bounds."""
    if first is None or second is None:
        return None
    budget = TermBudget(_MAX_PRODUCTS)
    try:
        if operator == "+":
            return budget.add(first, second)
        if operator == "-":
            return budget.add(first, budget.times(constant(_MINUS_ONE), second))
        if operator == "*":
            return budget.times(first, second)
        if operator == "/":
            return budget.over(first, second)
        exponent = second.rational()
        return None if exponent is None else budget.power(first, exponent)
    except NotSimpleError:
        return None


def negate(value: Quotient | None) -> Quotient | None:
    return calculate(constant(_MINUS_ONE), "*", value)


def root(value: Quotient | None) -> Quotient | None:
    """The square root of a rational number; the root of an expression becomes a new name."""
    if value is None:
        return None
    try:
        return named(f"sqrt{value.key()}") if value.rational() is None else root_of(value)
    except NotSimpleError:
        return None


def nth_root(value: Quotient | None, index: int | None) -> Quotient | None:
    """The real root of a rational number; the square root, and a root that is rational. None for any other."""
    if index == 2:
        return root(value)
    radicand = None if value is None else value.rational()
    if index is None or not 2 < index <= _MAX_ROOT or radicand is None or (radicand < 0 and index % 2 == 0):
        return None
    top, bottom = _whole_root(abs(radicand.numerator), index), _whole_root(radicand.denominator, index)
    if top is None or bottom is None:
        return None
    return number(Fraction(top if radicand >= 0 else -top, bottom))


def _whole_root(radicand: int, index: int) -> int | None:
    """The whole number with this power, if there is one, by bisection."""
    low, high = 0, 1 << (radicand.bit_length() // index + 1)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if middle**index < radicand else (low, middle)
    return low if low**index == radicand else None


def factorial(value: Quotient | None) -> Quotient | None:
    """The factorial of a small whole number; None for anything else."""
    n = None if value is None else value.rational()
    if n is None or n.denominator != 1 or not 0 <= n <= _MAX_FACTORIAL:
        return None
    return number(math.factorial(int(n)))


def equal(first: Quotient | None, second: Quotient | None) -> bool | None:
    """Whether two values are the same for all values of their names; None where unknown."""
    if first is None or second is None:
        return None
    try:
        return TermBudget(_MAX_PRODUCTS).equal(first, second)
    except NotSimpleError:
        return None


def substitute(value: Quotient | None, known: Mapping[str, Quotient]) -> Quotient | None:
    """The value with some of its names replaced."""
    if value is None or not value.names() & known.keys():
        return value
    try:
        return TermBudget(_MAX_PRODUCTS).substitute(value, known)
    except NotSimpleError:
        return None
