"""Exact value of an expression as a quotient, where it has one that is cheap to compute. Pure.

Computed are the values that `quotients` can represent: rational functions of names, π and e, square roots of rational
numbers, the imaginary unit. Anything beyond that (other functions, other roots) has no exact value here.
"""

import math
from fractions import Fraction
from functools import reduce

from stillery.maths.expressions import Expression, Name, Number
from stillery.maths.quotients import EULER, NotSimpleError, Quotient, TermBudget, constant, named, root_of

MAX_FACTORIAL = 300
_CONSTANTS = {"pi": "π", "e": EULER}
_MINUS_ONE = Fraction(-1)


def evaluate(expression: Expression, budget: TermBudget | None = None) -> Quotient | None:
    """The exact value of an expression, or None."""
    try:
        return _value(expression, budget or TermBudget())
    except NotSimpleError:
        return None


def same(first: Quotient, second: Quotient) -> bool | None:
    """Whether two exact values are equal for all values of their names; None where that is too expensive."""
    try:
        return TermBudget().equal(first, second)
    except NotSimpleError:
        return None


def _value(expression: Expression, budget: TermBudget) -> Quotient:
    if isinstance(expression, Number):
        return constant(expression.value)
    if isinstance(expression, Name):
        if expression.text == "i":
            return root_of(constant(_MINUS_ONE))
        if expression.text == "infty":
            raise NotSimpleError
        return named(_CONSTANTS.get(expression.text, expression.text))
    if expression.head == "^":
        return budget.power(_value(expression.args[0], budget), _rational(_value(expression.args[1], budget)))
    args = [_value(arg, budget) for arg in expression.args]
    return _apply(expression.head, args, budget)


def _apply(head: str, args: list[Quotient], budget: TermBudget) -> Quotient:
    if head in ("+", "*"):
        return reduce(budget.add if head == "+" else budget.times, args)
    if head == "/":
        return budget.over(*args)
    if head == "neg":
        return budget.times(constant(_MINUS_ONE), args[0])
    if head == "deg":
        return args[0]
    if head == "root" and _rational(args[1]) == 2:
        return root_of(args[0])
    if head == "!":
        return constant(Fraction(math.factorial(_small(args[0]))))
    if head == "binom":
        return constant(Fraction(math.comb(_small(args[0]), _small(args[1]))))
    if head == "abs":
        return constant(abs(_rational(args[0])))
    if head == "floor":
        return constant(Fraction(math.floor(_rational(args[0]))))
    if head == "ceil":
        return constant(Fraction(math.ceil(_rational(args[0]))))
    raise NotSimpleError


def _rational(value: Quotient) -> Fraction:
    rational = value.rational()
    if rational is None:
        raise NotSimpleError
    return rational


def _small(value: Quotient) -> int:
    n = _rational(value)
    if n.denominator != 1 or not 0 <= n <= MAX_FACTORIAL:
        raise NotSimpleError
    return int(n)
