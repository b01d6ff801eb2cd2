"""Equality of two expressions: exact where both have an exact value, else numerical to many digits."""

from fractions import Fraction

from stillery.maths import exact, numeric
from stillery.maths.expressions import Expression
from stillery.maths.quotients import NotSimpleError, Quotient, TermBudget


def equal(first: Expression, second: Expression) -> bool | None:
    """Whether two expressions are equal for all values of their names; None where that cannot be decided cheaply."""
    if first == second:
        return True
    one, two = exact.evaluate(first), exact.evaluate(second)
    same = exact.same(one, two) if one is not None and two is not None else None
    return numeric.agree(first, second) if same is None else same


def proportion(left: Quotient, right: Quotient, other_left: Quotient, other_right: Quotient) -> Fraction | None:
    """The ratio of left - right to other_left - other_right, where it is a nonzero rational number: whether two
    equations, or two inequalities, are multiples of each other."""
    budget, minus = TermBudget(), exact.constant(Fraction(-1))
    try:
        first = budget.add(left, budget.times(minus, right))
        second = budget.add(other_left, budget.times(minus, other_right))
        top, bottom = budget.multiply(first.top, second.bottom), budget.multiply(second.top, first.bottom)
    except NotSimpleError:
        return None
    if not top or top.keys() != bottom.keys():
        return None
    ratios = {top[key] / bottom[key] for key in top}
    return ratios.pop() if len(ratios) == 1 else None
