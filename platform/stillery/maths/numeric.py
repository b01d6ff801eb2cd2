"""Numerical value of an expression to many digits, and numerical agreement of two.

Two values are equal if they agree to `DIGITS` digits, relative to the larger one, or if their difference shrinks as
fast as the precision grows, as an exactly zero difference does. Names are given a few fixed values of both signs:
expressions that agree at all of them to so many digits are identical for all practical purposes.
"""

import math
import threading
import zlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from stillery.maths.exact import evaluate
from stillery.maths.expressions import Apply, Expression, Name, Number

DIGITS = 50
# Past any of these limits the value is not computed.
MAX_NODES = 400
MAX_EXPONENT = 10**8
MAX_ARGUMENT_BITS = 2000

_PRECISIONS = (DIGITS + 20, 2 * DIGITS + 40)
_NUM_POINTS = 4
_SHRINKING = 10 ** (-DIGITS // 2)

_local = threading.local()


class NoValueError(Exception):
    """The expression has no value at this point, or none that is cheap to compute."""


def agree(first: Expression, second: Expression) -> bool | None:
    """Whether two expressions have the same value at every sampled point; None where undecided."""
    if _num_nodes(first) + _num_nodes(second) > MAX_NODES:
        return None
    names = sorted(names_of(first) | names_of(second))
    num_compared = 0
    for point in range(_NUM_POINTS if names else 1):
        try:
            equal = _agree_at(first, second, {name: _value_of(name, point) for name in names})
        except (NoValueError, ArithmeticError, ValueError):
            continue
        if not equal:
            return False
        num_compared += 1
    return True if num_compared >= (2 if names else 1) else None


def compare_reals(first: Expression, second: Expression) -> int | None:
    """-1, 0 or 1 as the first of two real numbers is less than, equal to or greater than the second; None where
    undecided. ±∞ are numbers here."""
    ends = [_infinity(value) for value in (first, second)]
    if any(ends):
        return (ends[0] > ends[1]) - (ends[0] < ends[1])
    if first == second:
        return 0
    one, two = _ratio(first), _ratio(second)
    if one is not None and two is not None:
        return (one > two) - (one < two)
    if names_of(first) | names_of(second) or _num_nodes(first) + _num_nodes(second) > MAX_NODES:
        return None
    try:
        if _agree_at(first, second, {}):
            return 0
        ctx = _context(_PRECISIONS[1])
        difference = _evaluate(first, {}, ctx) - _evaluate(second, {}, ctx)
        return None if ctx.im(difference) else (1 if ctx.re(difference) > 0 else -1)
    except (NoValueError, ArithmeticError, ValueError):
        return None


def _infinity(value: Expression) -> int:
    if value == Name("infty"):
        return 1
    return -1 if value == Apply("neg", (Name("infty"),)) else 0


def _agree_at(first: Expression, second: Expression, values: Mapping[str, Fraction]) -> bool:
    differences: list[Any] = []
    for precision in _PRECISIONS:
        ctx = _context(precision)
        one, two = (_evaluate(side, values, ctx) for side in (first, second))
        difference, scale = abs(one - two), max(abs(one), abs(two))
        if not ctx.isfinite(difference):
            raise NoValueError
        if difference <= scale * ctx.mpf(10) ** -DIGITS:
            return True
        differences.append(difference)
    return bool(differences[1] < differences[0] * _SHRINKING)


def _context(precision: int) -> Any:
    """A context of this thread: mpmath's own one is shared, including its precision."""
    from mpmath import MPContext

    contexts: dict[int, Any] = _local.__dict__.setdefault("contexts", {})
    if precision not in contexts:
        contexts[precision] = MPContext()
        contexts[precision].dps = precision
    return contexts[precision]


def _value_of(name: str, point: int) -> Fraction:
    """The value of a name at a point: of either sign, of magnitude 0.3 to 3, and not a simple fraction."""
    seed = zlib.crc32(f"{name} {point}".encode())
    sign = -1 if point % 2 else 1
    return sign * Fraction(300_007 + seed % 2_700_000, 1_000_003)


def names_of(expression: Expression) -> set[str]:
    """The names in an expression; π, e and i are numbers, and a call of an unknown function stands for one."""
    if isinstance(expression, Name):
        return set() if expression.text in ("pi", "e", "i") else {expression.text}
    if isinstance(expression, Number):
        return set()
    own = {_call_key(expression)} if expression.head.endswith("()") else set[str]()
    return own if own else set[str]().union(*map(names_of, expression.args))


def _call_key(call: Apply) -> str:
    """The name that stands for the value of an unknown function."""
    exact = [evaluate(arg) for arg in call.args]
    keys = [arg if value is None else value.key() for arg, value in zip(call.args, exact, strict=True)]
    return f"{call.head}{keys}"


def _num_nodes(expression: Expression) -> int:
    return 1 + (sum(map(_num_nodes, expression.args)) if isinstance(expression, Apply) else 0)


def _evaluate(expression: Expression, values: Mapping[str, Fraction], ctx: Any) -> Any:
    if isinstance(expression, Number):
        return _fraction(expression.value, ctx)
    if isinstance(expression, Name):
        if expression.text in ("pi", "e"):
            return +getattr(ctx, expression.text)
        if expression.text == "infty":
            raise NoValueError
        return ctx.mpc(0, 1) if expression.text == "i" else _fraction(values[expression.text], ctx)
    head = expression.head
    if head.endswith("()"):
        return _fraction(values[_call_key(expression)], ctx)
    if head in ("^", "root"):
        return _powered(expression, values, ctx)
    args = [_evaluate(arg, values, ctx) for arg in expression.args]
    if head == "+":
        return sum(args[1:], args[0])
    if head == "*":
        return math.prod(args[1:], start=args[0])
    if head == "/":
        return args[0] / args[1]
    if head == "neg":
        return -args[0]
    if head == "deg":
        return args[0]
    return _applied(head, args, expression, ctx)


def _fraction(value: Fraction, ctx: Any) -> Any:
    return ctx.mpf(value.numerator) / value.denominator


def _powered(expression: Apply, values: Mapping[str, Fraction], ctx: Any) -> Any:
    """A power or root. Of a negative number an odd root is the real one."""
    base, exponent = (_evaluate(arg, values, ctx) for arg in expression.args)
    ratio = _ratio(expression.args[1])
    if expression.head == "root":
        exponent, ratio = 1 / exponent, 1 / ratio if ratio else None
    if base == 0:
        if ctx.im(exponent) or exponent < 0:
            raise NoValueError
        return ctx.mpf(exponent == 0)
    if abs(exponent) * abs(ctx.log(abs(base))) > MAX_EXPONENT:
        raise NoValueError
    if ratio is not None and ratio.denominator == 1:
        return base ** int(ratio)
    if ratio is not None and ratio.denominator % 2 and not ctx.im(base) and ctx.re(base) < 0:
        return (-1) ** ratio.numerator * abs(base) ** exponent
    return base**exponent


def _ratio(expression: Expression) -> Fraction | None:
    value = evaluate(expression)
    return None if value is None else value.rational()


def _applied(head: str, args: list[Any], expression: Apply, ctx: Any) -> Any:
    bits = max((ctx.mag(arg) if arg else 0) for arg in args)
    if bits > (30 if head in ("exp", "cis", "!", "binom", "sinh", "cosh", "tanh") else MAX_ARGUMENT_BITS):
        raise NoValueError
    if head in ("sin", "cos", "tan", "cot", "sec", "csc", "cis"):
        angle = ctx.radians(args[0]) if _is_in_degrees(expression.args[0]) else args[0]
        return ctx.expj(angle) if head == "cis" else getattr(ctx, head)(angle)
    if head.startswith("arc"):
        return getattr(ctx, f"a{head[3:]}")(args[0])
    if head == "log":
        return ctx.ln(args[0]) / ctx.ln(args[1])
    if head == "!":
        return ctx.factorial(args[0])
    if head == "binom":
        return ctx.binomial(*args)
    if head == "abs":
        return abs(args[0])
    if head == "ceil":
        return ctx.ceil(args[0])
    return getattr(ctx, head)(args[0])  # ln exp sinh cosh tanh floor


def _is_in_degrees(expression: Expression) -> bool:
    if not isinstance(expression, Apply) or expression.head.endswith("()"):
        return False
    return expression.head == "deg" or any(map(_is_in_degrees, expression.args))
