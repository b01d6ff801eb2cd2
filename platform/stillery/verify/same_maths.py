"""Whether two mathematical values are the same answer, by the policy of docs/concepts/verification.md. Pure."""

import re
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

from stillery.maths.equality import proportion
from stillery.maths.expressions import Number
from stillery.maths.quantities import Numeral, Quantity, group_thousands, parse_quantity, same_quantity, strip_unit
from stillery.maths.regions import Region, parse_region, same_region
from stillery.maths.values import Equation, Formula, Inequality, Matrix, Series, Value, formula_of, same_formula
from stillery.verify.cleaning import clean_text
from stillery.verify.words import is_clock, is_prose

# The elements of a set are compared each with each.
MAX_INLINE_ELEMENTS = 16

_STRUCTURED = (Series, Equation, Inequality, Region, Matrix)
# What an equation gives the value of: a variable, a function's value, words, a tuple of names.
_NAME = re.compile(
    r"\s*(?:\\?[A-Za-z]\w*(?:_\{\w+\})?'*(?:\s*\([^()=]{1,20}\))?|[A-Za-z][A-Za-z ]{0,30}|\([A-Za-z, ]+\))\s*"
)

Leaf = Callable[[str, str], bool | None]


def undecided(predicted: str, gold: str) -> bool | None:  # noqa: ARG001
    """The leaf of the cheap way: it decides nothing."""
    return None


def same_maths(predicted: Value, gold: Value, leaf: Leaf = undecided, *, unordered: bool = False) -> bool | None:
    """Whether two values are the same answer; `unordered`: as sets. None where only computer algebra could tell and
    `leaf` does not."""
    if not predicted.text or not gold.text or predicted.text == gold.text:
        return predicted.text == gold.text != ""
    p, g = predicted.meaning, gold.meaning
    if isinstance(g, Quantity) and not isinstance(p, Quantity):
        # Of a list, a gold number knows that its comma and thin space are those of thousands.
        grouped = parse_quantity(group_thousands(predicted.text))
        predicted, p = (predicted, p) if grouped is None else (Value(predicted.text, grouped), grouped)
    if isinstance(p, Quantity) and isinstance(g, Quantity):
        return same_quantity(p, g)
    if isinstance(p, Numeral) or isinstance(g, Numeral):
        return _same_numeral(predicted, gold)
    if _assignments(gold) is not None:
        return _same_assignments(predicted, gold, leaf)
    if isinstance(p, Region) or isinstance(g, Region):
        return _same_region(predicted, gold, leaf)
    if (isinstance(p, Equation) or isinstance(g, Equation)) and not (unordered and _is_sign(predicted)):
        return _same_equation(predicted, gold, leaf, unordered=unordered)
    if unordered or _is_set(gold) or (isinstance(p, Series) and p.opening == "±"):
        return _same_set(predicted, gold, leaf)
    if isinstance(p, Inequality) and isinstance(g, Inequality):
        return _same_inequality(p, g, leaf)
    if isinstance(p, Series) and isinstance(g, Series):
        written = p.opening and g.opening
        if (written and (p.opening, p.closing) != (g.opening, g.closing)) or len(p.elements) != len(g.elements):
            return False
        return _all(same_maths(a, b, leaf) for a, b in zip(p.elements, g.elements, strict=True))
    if isinstance(p, Matrix) and isinstance(g, Matrix):
        return _same_matrix(p, g, leaf)
    return _same_single(predicted, gold, leaf)


def _is_set(value: Value) -> bool:
    return isinstance(value.meaning, Series) and value.meaning.opening in (r"\{", "±")


def _same_numeral(predicted: Value, gold: Value) -> bool:
    """Digits are the same in the same base, or where one side does not write its base. None is converted."""
    p, g = predicted.meaning, gold.meaning
    if isinstance(p, Numeral) and isinstance(g, Numeral):
        return p == g
    numeral, other = (p, gold) if isinstance(p, Numeral) else (g, predicted)
    assert isinstance(numeral, Numeral)
    plain = other.text.replace(" ", "").upper().lstrip("0") or "0"
    return plain == numeral.digits and not isinstance(other.meaning, Series)


def _same_equation(predicted: Value, gold: Value, leaf: Leaf, *, unordered: bool) -> bool | None:
    """The gold answer's form decides: `x = 5` and `5` name one answer; so do `12 + 5 = 17` and `17`, but `x = 5` and
    `y = 5` do not."""
    p, g = predicted.meaning, gold.meaning
    if isinstance(p, Equation) and not p.is_exact and not isinstance(g, Equation):
        # An exact value with its approximation beside it gives both.
        return _any(same_maths(side, gold, leaf, unordered=unordered) for side in (p.sides[0], p.sides[-1]))
    if not isinstance(g, Equation):
        assert isinstance(p, Equation)
        last = p.sides[-1].text
        named_last = len(last) == 1 and last.isalpha()
        return same_maths(p.sides[0] if named_last else p.sides[-1], gold, leaf, unordered=unordered)
    if not isinstance(p, Equation):
        return _is_name(g.sides[0]) and same_maths(predicted, g.sides[-1], leaf, unordered=unordered)
    if _is_name(g.sides[0]) and p.sides[0].text.replace(" ", "") == g.sides[0].text.replace(" ", ""):
        return same_maths(p.sides[-1], g.sides[-1], leaf, unordered=unordered)
    if len(p.sides) == len(g.sides) == 2:
        return _same_two_sides(p.sides, g.sides, leaf)
    return len(p.sides) == len(g.sides) and _all(same_maths(a, b, leaf) for a, b in zip(p.sides, g.sides, strict=True))


def _is_name(value: Value) -> bool:
    return _NAME.fullmatch(value.text) is not None


def _same_two_sides(first: Sequence[Value], second: Sequence[Value], leaf: Leaf) -> bool | None:
    """Two equations are the same if their sides are, in either order, or if one is a multiple of the other. One that
    gives a variable's value has no multiples."""
    (a, b), (c, d) = first, second
    straight = _all((same_maths(a, c, leaf), same_maths(b, d, leaf)))
    crossed = _all((same_maths(a, d, leaf), same_maths(b, c, leaf)))
    if straight is not False or crossed is not False or _is_number(c) or _is_number(d):
        return _any((straight, crossed))
    return _proportion(a, b, c, d) is not None


def _same_inequality(p: Inequality, g: Inequality, leaf: Leaf) -> bool | None:
    if p.may_be_equal != g.may_be_equal:
        return False
    straight = _all((same_maths(p.lesser, g.lesser, leaf), same_maths(p.greater, g.greater, leaf)))
    ratio = None if straight is not False else _proportion(p.lesser, p.greater, g.lesser, g.greater)
    return straight if ratio is None else ratio > 0


def _proportion(a: Value, b: Value, c: Value, d: Value) -> Fraction | None:
    """The ratio of a - b to c - d, where it is a number other than zero."""
    formulas = [_formula(value) for value in (a, b, c, d)]
    exact = [formula.exact for formula in formulas if formula is not None and formula.exact is not None]
    return proportion(*exact) if len(exact) == 4 else None


def _is_number(value: Value) -> bool:
    formula = _formula(value)
    return formula is not None and formula.exact is not None and not formula.exact.names()


def _formula(value: Value) -> Formula | None:
    if isinstance(value.meaning, Quantity):
        return formula_of(Number(value.meaning.value))
    return value.meaning if isinstance(value.meaning, Formula) else None


def _same_region(predicted: Value, gold: Value, leaf: Leaf) -> bool | None:
    """A tuple beside a region is an interval."""
    regions = [parse_region(v.text) if not isinstance(v.meaning, Region) else v.meaning for v in (predicted, gold)]
    if regions[0] is not None and regions[1] is not None:
        return same_region(regions[0], regions[1])
    other = predicted if regions[0] is None else gold
    return leaf(predicted.text, gold.text) if other.meaning is None and not is_prose(other.text) else False


def _same_matrix(p: Matrix, g: Matrix, leaf: Leaf) -> bool | None:
    if (p.kind == "vmatrix") != (g.kind == "vmatrix") or [*map(len, p.rows)] != [*map(len, g.rows)]:
        return False
    entries = [zip(mine, theirs, strict=True) for mine, theirs in zip(p.rows, g.rows, strict=True)]
    return _all(same_maths(a, b, leaf) for row in entries for a, b in row)


def _same_single(predicted: Value, gold: Value, leaf: Leaf) -> bool | None:
    """Two answers without structure: expressions by their values, words as text, the rest is for `leaf`."""
    p, g = _formula(predicted), _formula(gold)
    if p is not None and g is not None:
        same = same_formula(p, g)
        return leaf(predicted.text, gold.text) if same is None else same
    if is_prose(predicted.text) or is_prose(gold.text) or is_clock(predicted.text) or is_clock(gold.text):
        return clean_text(predicted.text) == clean_text(gold.text)
    if isinstance(gold.meaning, _STRUCTURED) or isinstance(predicted.meaning, _STRUCTURED):
        is_other_read = predicted.meaning is not None and gold.meaning is not None
        return False if is_other_read else leaf(predicted.text, gold.text)
    return leaf(strip_unit(predicted.text), strip_unit(gold.text))


def _same_set(predicted: Value, gold: Value, leaf: Leaf) -> bool | None:
    """Order, repeats and brackets do not matter, and ± is two elements."""
    mine, theirs = _elements(predicted), _elements(gold)
    numbers = [[v.meaning for v in side if isinstance(v.meaning, Quantity)] for side in (mine, theirs)]
    if [len(mine), len(theirs)] == [*map(len, numbers)] and not any(
        q.is_percent or q.unit is not None for side in numbers for q in side
    ):
        return {q.value for q in numbers[0]} == {q.value for q in numbers[1]}
    if leaf is undecided and max(len(mine), len(theirs)) > MAX_INLINE_ELEMENTS:
        return None
    return _all(
        _any(same_maths(a, b, leaf) for a, b in pairs)
        for pairs in [[(a, b) for b in theirs] for a in mine] + [[(a, b) for a in mine] for b in theirs]
    )


def _elements(value: Value) -> list[Value]:
    """The elements of a list; the value itself where it is none."""
    meaning = value.meaning
    if isinstance(meaning, Equation) and isinstance(meaning.sides[-1].meaning, Series) and _is_name(meaning.sides[0]):
        meaning = meaning.sides[-1].meaning
        return _elements(Value(value.text, meaning)) if _is_open(meaning) else [value]
    if not isinstance(meaning, Series):
        return [value]
    return [part for element in meaning.elements for part in (_elements(element) if _is_sign(element) else [element])]


def _same_assignments(predicted: Value, gold: Value, leaf: Leaf) -> bool | None:
    """x = 3 and y = 4, in any order, for (x, y) = (3, 4); without names in the order of the gold answer's."""
    wanted, given = _assignments(gold), _assignments(predicted)
    assert wanted is not None
    if given is not None:
        return wanted.keys() == given.keys() and _all(same_maths(given[n], wanted[n], leaf) for n in wanted)
    elements = predicted.meaning.elements if isinstance(predicted.meaning, Series) else ()
    if len(elements) != len(wanted):
        return False
    return _all(same_maths(a, b, leaf) for a, b in zip(elements, wanted.values(), strict=True))


def _assignments(value: Value) -> dict[str, Value] | None:
    """The values of two or more different names; None where a text gives no such."""
    meaning = value.meaning
    if isinstance(meaning, Equation) and len(meaning.sides) == 2:
        names, values = (side.meaning for side in meaning.sides)
        if (
            not isinstance(names, Series)
            or not isinstance(values, Series)
            or len(names.elements) != len(values.elements)
        ):
            return None
        pairs = [(name.text, side) for name, side in zip(names.elements, values.elements, strict=True)]
    elif isinstance(meaning, Series) and all(isinstance(e.meaning, Equation) for e in meaning.elements):
        sides = [e.meaning.sides for e in meaning.elements if isinstance(e.meaning, Equation)]
        pairs = [(side[0].text, side[-1]) for side in sides]
    else:
        return None
    found = dict(pairs)
    return found if len(found) == len(pairs) > 1 and all(map(_NAME.fullmatch, found)) else None


def _is_open(series: Series) -> bool:
    return series.opening in ("±", "")


def _is_sign(value: Value) -> bool:
    meaning = value.meaning.sides[-1].meaning if isinstance(value.meaning, Equation) else value.meaning
    return isinstance(meaning, Series) and meaning.opening == "±"


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    known = list(verdicts)
    return False if False in known else None if None in known else True


def _any(verdicts: Iterable[bool | None]) -> bool | None:
    known = list(verdicts)
    return True if True in known else None if None in known else False
