"""Whether two expressions are equal: exactly where both have an exact value, else by their values to many digits."""

from functools import lru_cache

from stillery.maths import exact, numeric
from stillery.maths.expressions import Expression
from stillery.maths.quotients import Quotient


def equal(first: Expression, second: Expression) -> bool | None:
    """Whether two expressions are equal for all values of their names; None where that cannot be told cheaply."""
    if first == second:
        return True
    one, two = exact_value(first), exact_value(second)
    same = exact.same(one, two) if one is not None and two is not None else None
    return numeric.agree(first, second) if same is None else same


@lru_cache(maxsize=4096)
def exact_value(expression: Expression) -> Quotient | None:
    """The exact value of an expression, remembered: one gold answer is compared with many predictions."""
    return exact.evaluate(expression)
