"""Reads a whole normalised text as a value: number, expression, list, relation, set of real numbers or matrix.

Pure, and cached: a text is parsed once however often it is compared.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from stillery.maths import exact, numeric
from stillery.maths.equality import equal
from stillery.maths.exact import evaluate
from stillery.maths.expressions import Expression
from stillery.maths.intervals import looks_like_region, parse_region
from stillery.maths.lists import parse_list
from stillery.maths.parser import readings
from stillery.maths.quantities import Numeral, Quantity, parse_numeral, parse_quantity
from stillery.maths.quotients import Quotient
from stillery.maths.regions import Region
from stillery.maths.residues import Residues, parse_residues
from stillery.maths.spans import Spans, parse_spans
from stillery.maths.units import strip_unit

# Longer texts are not parsed here: parsing in the calling process must take microseconds.
MAX_CHARS = 500
_MAX_SIGNS = 3

_SIGN = re.compile(r"\\(?:pm|mp)(?![a-zA-Z])")
_EQUALS = re.compile(r"(?<![<>!:=\\])=(?!=)")
_INEQUALITY = re.compile(r"(<=|>=|<|>|\\(?:le|ge|lt|gt)(?![a-zA-Z]))")
_INEQUALITIES = {r"\le": "<=", r"\ge": ">=", r"\lt": "<", r"\gt": ">"}
_APPROXIMATELY = re.compile(r"\\(?:approx|simeq)(?![a-zA-Z])|~=")
_MATRIX = re.compile(r"\\begin\{([pbvVB]?matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\1\}", re.DOTALL)
# A system: one relation per row.
_CASES = re.compile(
    r"(?:\\\{\s*)?\\begin\{(cases|aligned|align\*?|gathered)\}((?:[^&\\]|\\(?!\\)|&(?=\s*=)|\\\\)*)\\end\{\1\}\s*\.?"
)
# Negated relations, and derivatives: not d times y over d times x.
_UNREAD = re.compile(r"\\not(?![a-zA-Z]).*|\\frac\s*\{\s*d\s*[a-zA-Z]\s*\}\s*\{\s*d\s*[a-zA-Z]\s*\}")
_FUNCTION = re.compile(r"\\?(?:sin|cos|tan|cot|sec|csc|cis)")


@dataclass(frozen=True, slots=True)
class Formula:
    """An expression, without its unit and percent sign, and its exact value, if it has one. `other` is the second
    reading of an ambiguous text: 1/2x is 1/(2x) and (1/2)x."""

    expression: Expression
    exact: Quotient | None
    other: Expression | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """A list of values. `opening` and `closing` are its brackets: "" for none, `\\{` for a set; "±" as `opening` stands
    for the two values of a ± sign."""

    opening: str
    elements: "tuple[Value, ...]"
    closing: str


@dataclass(frozen=True, slots=True)
class Equation:
    """The sides of a chain of equalities, of which those up to the first approximation, `num_exact`, are exact."""

    sides: "tuple[Value, ...]"
    num_exact: int

    @property
    def is_exact(self) -> bool:
        return self.num_exact == len(self.sides)

    @property
    def results(self) -> "tuple[Value, ...]":
        """The exact value of the chain and its approximation; one where it has no other."""
        exact = self.sides[self.num_exact - 1]
        return (exact,) if self.is_exact else (exact, self.sides[-1])


@dataclass(frozen=True, slots=True)
class Inequality:
    """The lesser and the greater side, and whether they may be equal."""

    lesser: "Value"
    greater: "Value"
    may_be_equal: bool


@dataclass(frozen=True, slots=True)
class Matrix:
    """`kind` is the environment's: `vmatrix` stands for a determinant."""

    kind: str
    rows: "tuple[tuple[Value, ...], ...]"


@dataclass(frozen=True, slots=True)
class Intervals:
    """A union of intervals with names in their bounds."""

    spans: Spans


Meaning = Quantity | Numeral | Formula | Series | Equation | Inequality | Region | Intervals | Residues | Matrix


@dataclass(frozen=True, slots=True)
class Value:
    """A text and its meaning; None for unsupported mathematics."""

    text: str
    meaning: Meaning | None


@lru_cache(maxsize=8192)
def read(text: str) -> Value:
    """The value of a normalised text."""
    text = text.strip()
    if (quantity := parse_quantity(text)) is not None:
        return Value(text, quantity)
    if len(text) > MAX_CHARS or not text or _UNREAD.fullmatch(text):
        return Value(text, None)
    return Value(text, parse_numeral(text) or _read_structure(text) or _read_formula(text))


def _read_structure(text: str) -> Meaning | None:
    if match := _CASES.fullmatch(text):
        text = ", ".join(filter(str.strip, re.split(r"\\\\(?:\[[^\]]*\])?", match[2].replace("&", ""))))
    if match := _MATRIX.fullmatch(text):
        rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?", match[2]) if row.strip()]
        return Matrix(match[1], tuple(tuple(map(read, row.split("&"))) for row in rows))
    if (residues := parse_residues(text)) is not None:
        return residues
    if looks_like_region(text):
        if (region := parse_region(text)) is not None:
            return region
        if not _is_inequality(text) and (spans := parse_spans(text)) is not None:
            return Intervals(spans)
    listed = parse_list(text)
    if listed is not None and (len(listed.elements) > 1 or listed.elements[0] != text):
        return Series(listed.opening, tuple(map(read, listed.elements)), listed.closing)
    return _read_relation(text) or _read_signs(text)


def _is_inequality(text: str) -> bool:
    return len(_INEQUALITY.split(text)) == 3


def _read_relation(text: str) -> Meaning | None:
    if "=" in text or _APPROXIMATELY.search(text):
        exact = _APPROXIMATELY.sub("=", text)
        sides = _sides(exact)
        if len(sides) > 1 and all(map(str.strip, sides)) and not _INEQUALITY.search(exact):
            first = _APPROXIMATELY.split(text, maxsplit=1)[0]
            return Equation(tuple(map(read, sides)), len(_sides(first)))
    sides = _INEQUALITY.split(text)
    if len(sides) != 3:
        return None
    left, sign, right = read(sides[0]), _INEQUALITIES.get(sides[1], sides[1]), read(sides[2])
    lesser, greater = (left, right) if "<" in sign else (right, left)
    return Inequality(lesser, greater, "=" in sign)


def _sides(text: str) -> list[str]:
    """A text split at its equals signs outside all brackets."""
    sides: list[str] = []
    for piece in _EQUALS.split(text):
        if sides and sum(map(sides[-1].count, "([{")) > sum(map(sides[-1].count, ")]}")):
            sides[-1] += f"={piece}"
        else:
            sides.append(piece)
    return sides


def _read_signs(text: str) -> Series | None:
    """The values of a ± b: one for either sign. Several signs are independent, unless one of them is ∓."""
    signs = [match.group() for match in _SIGN.finditer(text)]
    if not 0 < len(signs) <= _MAX_SIGNS:
        return None
    pieces = _SIGN.split(text)
    coupled = r"\mp" in signs
    choices = (
        [["+-"[s == r"\mp"] for s in signs], ["-+"[s == r"\mp"] for s in signs]]
        if coupled
        else product("+-", repeat=len(signs))
    )
    texts = ["".join(piece + sign for piece, sign in zip(pieces, [*choice, ""], strict=True)) for choice in choices]
    return Series("±", tuple(read(re.sub(r"^\s*\+\s*", "", value)) for value in texts), "")


def _read_formula(text: str) -> Formula | None:
    text = re.sub(r"\s*\\?%$|^[$€£¥₹]\s*", "", strip_unit(text))
    if text.endswith(r"^\circ") and not _FUNCTION.search(text):
        text = text.removesuffix(r"^\circ")
    found = readings(text)
    return formula_of(*found) if found else None


def formula_of(expression: Expression, other: Expression | None = None) -> Formula:
    return Formula(expression, evaluate(expression) if other is None else None, other)


def same_formula(first: Formula, second: Formula) -> bool | None:
    """Whether two formulas are equal, in both readings if ambiguous; None where that cannot be decided cheaply."""
    if first.other is not None or second.other is not None:
        pairs = (first.expression, second.expression), (first.other, second.other)
        return all(equal(one or first.expression, two or second.expression) is True for one, two in pairs)
    same = None
    if first.exact is not None and second.exact is not None:
        same = exact.same(first.exact, second.exact)
    return numeric.agree(first.expression, second.expression) if same is None else same
