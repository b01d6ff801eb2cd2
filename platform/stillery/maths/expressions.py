"""An expression: a tree of numbers, names and applications of an operation or function to its arguments."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Number:
    """A rational number."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Name:
    """A variable or constant, with its subscript and primes. `pi`, `e` and `i` are the constants."""

    text: str


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation (+ * / ^ neg root deg ! abs floor ceil binom), a function of `FUNCTIONS` or, with the sign of a call
    after it ("f()"), an unknown function; `root` takes the radicand and the degree, `log` the base second."""

    head: str
    args: "tuple[Expression, ...]"


Expression = Number | Name | Apply
