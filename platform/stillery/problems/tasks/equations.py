"""Linear equations in one variable. One step is one value to be computed on the way to the variable.

Every coefficient, constant and side of the equation lies in 0..99.
"""

import random
import re

from stillery.problems.problems import Fact, Problem

_LETTERS = "xynkmzat"
_Solved = tuple[str, str, tuple[Fact, ...]]  # left side, right side, and the solution in terms of x


def make_equation(rng: random.Random, num_steps: int) -> Problem:
    """A linear equation that takes `num_steps` steps: 1 to 7."""
    assert 1 <= num_steps <= 7, f"equations take 1 to 7 steps, not {num_steps}"
    while (solved := _draw_one_sided(rng, num_steps) if num_steps <= 2 else _draw_two_sided(rng, num_steps)) is None:
        pass
    left, right, (*before, last) = solved
    letter = rng.choice(_LETTERS)
    question = f"Solve for {letter}: {left} = {right}.".replace("x", letter)
    facts = (*before, Fact(letter, last.value, last.expression, last.depends_on))
    signature = f"equations:{left} = {right}"
    return Problem("equations", question, last.value, "number", (), num_steps, facts, signature)


def sides_of(question: str) -> tuple[str, str, str]:
    """The variable, the left and the right side of a question's equation."""
    match = re.fullmatch(r"Solve for (\w): (.+) = (.+)\.", question)
    assert match is not None, f"not an equation: {question!r}"
    return match[1], match[2], match[3]


def _draw_one_sided(rng: random.Random, num_steps: int) -> _Solved | None:
    a, x, b = rng.randint(2, 9), rng.randint(0, 30), rng.randint(1, 50)
    if num_steps == 1 and rng.random() < 0.7:
        if rng.random() < 0.5:
            return f"x + {b}", str(x + b), (Fact("x", str(x), f"{x + b} - {b}", ()),)
        return f"x - {b}", str(x), (Fact("x", str(x + b), f"{x} + {b}", ()),)
    if a * x > 99:
        return None
    if num_steps == 1:
        return f"{a}*x", str(a * x), (Fact("x", str(x), f"{a * x} / {a}", ()),)
    sign, back, right = rng.choice((("+", "-", a * x + b), ("-", "+", a * x - b)))
    if not 0 <= right <= 99:
        return None
    constant = Fact("constant", str(a * x), f"{right} {back} {b}", ())
    return f"{a}*x {sign} {b}", str(right), (constant, Fact("x", str(x), f"constant / {a}", ("constant",)))


def _draw_two_sided(rng: random.Random, num_steps: int) -> _Solved | None:
    """a*(x + b) + e = d*(x + f) + c, where the number of steps decides which terms exist: b from 4 on, f from 6 on, e
    if it is odd."""
    x, a, d = rng.randint(0, 12), rng.randint(3, 9), rng.randint(1, 6)
    b = rng.randint(1, 9) if num_steps >= 4 else 0
    e = rng.randint(1, 20) if num_steps % 2 else 0
    f = rng.randint(1, 9) if num_steps >= 6 else 0
    side = a * (x + b) + e
    c = side - d * (x + f)
    # A difference of coefficients of 1 leaves nothing to divide by: keep few of those.
    if side > 99 or c < 1 or a <= d or (a - d == 1 and rng.random() < 0.8):
        return None
    left = f"{a}*(x + {b})" if b else f"{a}*x"
    right = f"{d}*(x + {f})" if f else f"{d}*x" if d > 1 else "x"
    return f"{left} + {e}" if e else left, f"{right} + {c}", _solve(a=a, b=b, e=e, d=d, f=f, c=c)


def _solve(*, a: int, b: int, e: int, d: int, f: int, c: int) -> tuple[Fact, ...]:
    """The solution of a*(x + b) + e = d*(x + f) + c step by step; b, e and f may be 0, and then take no step."""
    facts: list[Fact] = []

    def derive(name: str, value: int, expression: str) -> str:
        depends_on = tuple(word for word in expression.split() if word.isalpha())
        facts.append(Fact(name, str(value), expression, depends_on))
        return name

    left, right = str(e), str(c)
    if b:
        left = derive("bracket", a * b, f"{a} * {b}")
    if b and e:
        left = derive("left", a * b + e, f"bracket + {e}")
    if f:
        derive("other", d * f, f"{d} * {f}")
        right = derive("right", d * f + c, f"other + {c}")
    derive("coefficient", a - d, f"{a} - {d}")
    constant = d * f + c - a * b - e
    derive("constant", constant, f"{right} - {left}")
    derive("x", constant // (a - d), "constant / coefficient")
    return tuple(facts)
