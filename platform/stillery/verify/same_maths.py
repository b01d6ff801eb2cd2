"""Whether two mathematical values are the same answer, by the policy of docs/concepts/verification.md. Pure."""

import re
from collections.abc import Sequence

from stillery.maths.intervals import parse_region, points_of
from stillery.maths.quantities import Numeral, Quantity, group_thousands, parse_quantity, same_quantity
from stillery.maths.regions import Region, same_region
from stillery.maths.residues import Residues, same_residues
from stillery.maths.spans import parse_spans, same_spans
from stillery.maths.units import strip_unit
from stillery.maths.values import Equation, Inequality, Intervals, Matrix, Series, Value, read, same_formula
from stillery.verify.equations import NAME, formula_of_side, given_value, is_assignment, is_name, ratio_of, same_subject
from stillery.verify.matrices import same_matrix, same_vector
from stillery.verify.undecided import Leaf, all_of, any_of, undecided
from stillery.verify.words import is_clock, is_prose, same_words

# The elements of a set are compared pairwise.
MAX_INLINE_ELEMENTS = 16

_STRUCTURED = (Series, Equation, Inequality, Region, Intervals, Residues, Matrix)
_POINT = re.compile(r"[A-Z]'?(?:_\w|_\{\w+\})?\s*(?=\()")


def same_maths(predicted: Value, gold: Value, leaf: Leaf = undecided, *, unordered: bool = False) -> bool | None:
    """Whether two values are the same answer; `unordered`: as sets. None where only computer algebra could decide and
    `leaf` does not."""
    if not predicted.text or not gold.text or predicted.text == gold.text:
        return predicted.text == gold.text != ""
    p, g = predicted.meaning, gold.meaning
    if isinstance(g, Quantity) and not isinstance(p, Quantity):
        # If the gold answer is a number, a comma with a thin space in a predicted list separates thousands.
        grouped = parse_quantity(group_thousands(predicted.text))
        predicted, p = (predicted, p) if grouped is None else (Value(predicted.text, grouped), grouped)
    if isinstance(p, Quantity) and isinstance(g, Quantity):
        return same_quantity(p, g)
    if isinstance(p, Numeral) or isinstance(g, Numeral):
        return _same_numeral(predicted, gold)
    if _assignments(gold) is not None:
        return _same_assignments(predicted, gold, leaf)
    if isinstance(p, Residues) and isinstance(g, Residues):
        return same_residues(p, g)
    if isinstance(p, Region) or isinstance(g, Region):
        return _same_region(predicted, gold, leaf)
    if isinstance(p, Intervals) or isinstance(g, Intervals) or {type(p), type(g)} == {Inequality, Series}:
        return _same_intervals(predicted, gold, leaf)
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
        return all_of(same_maths(a, b, leaf) for a, b in zip(p.elements, g.elements, strict=True))
    if isinstance(p, Matrix) and isinstance(g, Matrix):
        return same_matrix(p, g, lambda a, b: same_maths(a, b, leaf))
    if isinstance(p, Matrix) and isinstance(g, Series):
        return same_vector(p, g, lambda a, b: same_maths(a, b, leaf))
    if isinstance(g, Matrix) and isinstance(p, Series):
        return same_vector(g, p, lambda a, b: same_maths(b, a, leaf))
    if isinstance(g, Series) and p is None and (point := _POINT.match(predicted.text)):
        return same_maths(read(predicted.text[point.end() :]), gold, leaf)
    return _same_single(predicted, gold, leaf)


def _is_set(value: Value) -> bool:
    return isinstance(value.meaning, Series) and value.meaning.opening in (r"\{", "±")


def _same_numeral(predicted: Value, gold: Value) -> bool:
    """Digits are the same in the same base, or where one side does not write its base. No base is converted."""
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
        return any_of(same_maths(side, gold, leaf, unordered=unordered) for side in p.results)
    if not isinstance(g, Equation):
        assert isinstance(p, Equation)
        given = given_value(p)
        return False if given is None else same_maths(given, gold, leaf, unordered=unordered)
    if not isinstance(p, Equation):
        is_named = is_name(g.sides[0])
        return is_named and any_of(same_maths(predicted, side, leaf, unordered=unordered) for side in g.results)
    if same_subject(p, g):
        return any_of(same_maths(a, b, leaf, unordered=unordered) for a in p.results for b in g.results)
    if len(p.sides) == len(g.sides) == 2:
        return _same_two_sides(p.sides, g.sides, leaf)
    return len(p.sides) == len(g.sides) and all_of(
        same_maths(a, b, leaf) for a, b in zip(p.sides, g.sides, strict=True)
    )


def _same_two_sides(first: Sequence[Value], second: Sequence[Value], leaf: Leaf) -> bool | None:
    """Two equations are the same if their sides are, in either order, or if one is a multiple of the other. An equation
    that gives a variable's value has no multiples."""
    (a, b), (c, d) = first, second
    straight = all_of((same_maths(a, c, leaf), same_maths(b, d, leaf)))
    crossed = all_of((same_maths(a, d, leaf), same_maths(b, c, leaf)))
    if straight is not False or crossed is not False or is_assignment(a, b) or is_assignment(c, d):
        return any_of((straight, crossed))
    return ratio_of(a, b, c, d) is not None


def _same_inequality(p: Inequality, g: Inequality, leaf: Leaf) -> bool | None:
    if p.may_be_equal != g.may_be_equal:
        return False
    straight = all_of((same_maths(p.lesser, g.lesser, leaf), same_maths(p.greater, g.greater, leaf)))
    ratio = None if straight is not False else ratio_of(p.lesser, p.greater, g.lesser, g.greater)
    return straight if ratio is None else ratio > 0


def _same_region(predicted: Value, gold: Value, leaf: Leaf) -> bool | None:
    """Compared with a region, a tuple is an interval, and a list of numbers their set."""
    first, second = _region(predicted), _region(gold)
    if first is not None and second is not None:
        return same_region(first, second)
    other = predicted if first is None else gold
    return leaf(predicted.text, gold.text) if other.meaning is None and not is_prose(other.text) else False


def _region(value: Value) -> Region | None:
    meaning = value.meaning
    if isinstance(meaning, Series) and _is_list(meaning):
        points = points_of([element.text for element in meaning.elements])
        return parse_region(value.text) if points is None else points
    return meaning if isinstance(meaning, Region) else parse_region(value.text)


def _same_intervals(predicted: Value, gold: Value, leaf: Leaf) -> bool | None:
    """Intervals with names in their bounds, as inequalities or in brackets."""
    first, second = parse_spans(predicted.text), parse_spans(gold.text)
    if first is not None and second is not None:
        return same_spans(first, second)
    other = predicted if first is None else gold
    return leaf(predicted.text, gold.text) if other.meaning is None and not is_prose(other.text) else False


def _same_single(predicted: Value, gold: Value, leaf: Leaf) -> bool | None:
    """Two answers without structure: expressions by their values, words as text, all others by `leaf`."""
    p, g = formula_of_side(predicted), formula_of_side(gold)
    if p is not None and g is not None:
        same = same_formula(p, g)
        return leaf(predicted.text, gold.text) if same is None else same
    if is_prose(predicted.text) or is_prose(gold.text) or is_clock(predicted.text) or is_clock(gold.text):
        return same_words(predicted.text, gold.text)
    if isinstance(gold.meaning, _STRUCTURED) or isinstance(predicted.meaning, _STRUCTURED):
        is_other_read = predicted.meaning is not None and gold.meaning is not None
        return False if is_other_read else leaf(predicted.text, gold.text)
    if p is None and g is None and predicted.text.replace(" ", "") == gold.text.replace(" ", ""):
        return True
    return leaf(strip_unit(predicted.text), strip_unit(gold.text))


def _same_set(predicted: Value, gold: Value, leaf: Leaf) -> bool | None:
    """Order and repeats do not matter, and ± is two elements. Brackets may be missing, but those of a tuple or an
    interval are not those of a set."""
    if _opening(gold) == r"\{" and _opening(predicted) in ("(", "["):
        return False
    mine, theirs = _elements(predicted), _elements(gold)
    numbers = [[v.meaning for v in side if isinstance(v.meaning, Quantity)] for side in (mine, theirs)]
    if [len(mine), len(theirs)] == [*map(len, numbers)] and not any(
        q.is_percent or q.unit is not None for side in numbers for q in side
    ):
        return {q.value for q in numbers[0]} == {q.value for q in numbers[1]}
    if leaf is undecided and max(len(mine), len(theirs)) > MAX_INLINE_ELEMENTS:
        return None
    return all_of(
        any_of(same_maths(a, b, leaf) for a, b in pairs)
        for pairs in [[(a, b) for b in theirs] for a in mine] + [[(a, b) for a in mine] for b in theirs]
    )


def _opening(value: Value) -> str | None:
    return value.meaning.opening if isinstance(value.meaning, Series) else None


def _elements(value: Value) -> list[Value]:
    """The elements of a list; for any other value, the value itself."""
    meaning = value.meaning
    if isinstance(meaning, Equation) and isinstance(meaning.sides[-1].meaning, Series) and is_name(meaning.sides[0]):
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
        return wanted.keys() == given.keys() and all_of(same_maths(given[n], wanted[n], leaf) for n in wanted)
    elements = predicted.meaning.elements if isinstance(predicted.meaning, Series) else ()
    if len(elements) != len(wanted):
        return False
    return all_of(same_maths(a, b, leaf) for a, b in zip(elements, wanted.values(), strict=True))


def _assignments(value: Value) -> dict[str, Value] | None:
    """The values of two or more different names; None where a text has no such assignments."""
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
    return found if len(found) == len(pairs) > 1 and all(map(NAME.fullmatch, found)) else None


def _is_list(series: Series) -> bool:
    return series.opening in (r"\{", "")


def _is_open(series: Series) -> bool:
    return series.opening in ("±", "")


def _is_sign(value: Value) -> bool:
    meaning = value.meaning.sides[-1].meaning if isinstance(value.meaning, Equation) else value.meaning
    return isinstance(meaning, Series) and meaning.opening == "±"
