"""Equations as answers: the value that one gives, its subject, and when two equations are the same.

Pure. The sides are values; `same_maths` decides whether two of those are the same.
"""

import re
from fractions import Fraction

from stillery.maths.equality import proportion
from stillery.maths.expressions import Apply, Expression, Name, Number
from stillery.maths.notation import normalize
from stillery.maths.numeric import names_of
from stillery.maths.quantities import Quantity
from stillery.maths.values import MAX_CHARS, Equation, Formula, Value, formula_of, read, same_formula
from stillery.verify.cleaning import clean

# Possible subjects of an equation: a variable, a function's value, words, a tuple of names.
NAME = re.compile(
    r"\s*(?:[A-Za-z]\^\{?-1\}?\s*\([^()=]{1,20}\)|\\frac\s*\{\s*(?:d|\\partial)[^{}=]{0,20}\}\s*\{\s*(?:d|\\partial)[^{}=]{1,20}\}"
    r"|\\?[A-Za-z]\w*(?:_\{\w+\})?'*(?:\s*\([^()=]{1,20}\))?|[A-Za-z][A-Za-z ]{0,30}|\([A-Za-z, ]+\))\s*"
)
_CALL = re.compile(r"[a-zA-Z]\(([a-zA-Z])\)")
_ARITHMETIC = ("+", "*", "/", "^", "neg", "root")


def is_name(value: Value) -> bool:
    """Whether a side can be the subject whose value an equation gives."""
    return NAME.fullmatch(value.text) is not None


def given_value(equation: Equation) -> Value | None:
    """The value that an equation gives: of `x = 5` the 5, of `12 + 5 = 17` the 17, of `V = 2πr = 6π` the last.

    None where it states a relation between unknowns and gives no value: the right side of `x^2 + y^2 = 25` is not an
    answer, unless the two sides are the same for all values of their names.
    """
    first, last = equation.sides[0], equation.sides[-1]
    if len(last.text) == 1 and last.text.isalpha() and not is_name(first):
        return first
    if is_name(first) or len(equation.sides) > 2:
        return last
    left, right = formula_of_side(first), formula_of_side(last)
    if left is None or not _relates_unknowns(left):
        return last
    return last if right is not None and same_formula(left, right) else None


def value_asked_for(predicted: str, question: str) -> str:
    """The right side of `x + y = 5` where the question asks for x + y, so that the left side only names the value; any
    other answer unchanged."""
    if "=" not in predicted or not question or len(predicted) > MAX_CHARS:
        return predicted
    equation = read(clean(predicted)).meaning
    if not isinstance(equation, Equation) or len(equation.sides) != 2 or given_value(equation) is not None:
        return predicted
    left = r"\s*".join(map(re.escape, equation.sides[0].text.replace(" ", "")))
    asked = re.search(rf"(?<![\w^+*/=<>(-])(?<![+*/=<>-]\s){left}(?![\w^(])(?!\s*[-+*/=<>])", normalize(question))
    return predicted if asked is None else equation.sides[-1].text


def same_subject(first: Equation, second: Equation) -> bool:
    """Whether two equations have the same subject: `y = …` and `f(x) = …` both give a function's value."""
    one, two = (equation.sides[0].text.replace(" ", "") for equation in (first, second))
    if one == two:
        return is_name(second.sides[0])
    call = _CALL.fullmatch(two if one == "y" else one if two == "y" else "")
    return call is not None and call[1] != "y" and len(first.sides) == len(second.sides) == 2


def is_assignment(left: Value, right: Value) -> bool:
    """Whether an equation gives a number to a variable, so that it has no multiples: 2x = 6 is not yet x = 3."""
    return any(is_number(one) and is_variable(other) for one, other in ((left, right), (right, left)))


def ratio_of(a: Value, b: Value, c: Value, d: Value) -> Fraction | None:
    """The ratio of a - b to c - d, where it is a nonzero number."""
    formulas = [formula_of_side(value) for value in (a, b, c, d)]
    exact = [formula.exact for formula in formulas if formula is not None and formula.exact is not None]
    return proportion(*exact) if len(exact) == 4 else None


def is_number(value: Value) -> bool:
    """Whether a side is a number with a known exact value."""
    formula = formula_of_side(value)
    return formula is not None and formula.exact is not None and not formula.exact.names()


def is_variable(value: Value) -> bool:
    """Whether a side is a single variable."""
    return isinstance(value.meaning, Formula) and isinstance(value.meaning.expression, Name)


def formula_of_side(value: Value) -> Formula | None:
    """The expression on a side; None for anything else."""
    if isinstance(value.meaning, Quantity):
        return formula_of(Number(value.meaning.value))
    return value.meaning if isinstance(value.meaning, Formula) else None


def _relates_unknowns(formula: Formula) -> bool:
    expressions = [formula.expression, *([formula.other] if formula.other else [])]
    return any(_is_arithmetic(expression) and names_of(expression) for expression in expressions)


def _is_arithmetic(expression: Expression) -> bool:
    return isinstance(expression, Apply) and (
        expression.head in _ARITHMETIC or (expression.head == "abs" and isinstance(expression.args[0], Name))
    )
