"""The first derivation of each value in a trace, as a formula in the given numbers.

Two computations of a value are two routes to it only if their formulas are equal for all values of the given numbers,
and differ by more than the order of their terms. A numerical coincidence ("60 + 5 = 65"), a detour that cancels out
("65 + 17 = 82, 82 - 17 = 65") and the same sum in one line do not count as routes.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fractions import Fraction

from stillery.bonds.claims import algebra
from stillery.bonds.claims.equations import StatedRelation, operands_of
from stillery.bonds.claims.reading import Key, Step, key_of
from stillery.bonds.claims.tokens import ClaimToken
from stillery.bonds.claims.trees import Node, UnreadableError, read_tree
from stillery.maths.quotients import Quotient, constant, named

_MAX_SHAPE_CHARS = 400
_ANYWHERE = frozenset((Fraction(0), Fraction(1)))
_NEUTRAL = {"+": (0,), "-": (0,), "*": (1,), "/": (1,), "^": (1,)}
# Numbers of clocks, circles, percentages and pairs, which any computation may start from.
COMMON = frozenset(map(Fraction, (2, 10, 12, 24, 30, 52, 60, 90, 100, 180, 360, 365, 1000))) | {Fraction(1, 2)}


@dataclass(frozen=True, slots=True)
class OperandFormula:
    """A value in terms of given numbers. `shape` is equal for the same terms in any order; `num_terms` counts the terms
    before like ones are combined; `cancels` says that some term cancels out."""

    value: Quotient
    parts: tuple[tuple[str, int], ...]
    operator: str
    num_terms: int
    cancels: bool

    @property
    def shape(self) -> str:
        return f"{self.operator}{self.parts}" if self.operator else self.parts[0][0]

    def is_another_route_than(self, other: "OperandFormula") -> bool:
        """Whether it gives the same for all given numbers, without a detour, and differs by more than order or a
        removed detour."""
        is_direct = self.num_terms == len(self.value.top)
        is_direct = is_direct and len(self.shape) >= len(other.shape)
        return is_direct and self.shape != other.shape and algebra.equal(self.value, other.value) is True


@dataclass(frozen=True, slots=True)
class Derivation:
    """The first computation of a value: its step, its number of operations, the values that it started from, and
    whether all of them go back to given numbers. `formula` is None where it is not plain arithmetic, or too large."""

    step: int
    num_operations: int
    sources: frozenset[Key]
    is_grounded: bool
    formula: OperandFormula | None


# Each value, with its derivations that have different formulas: quantities that happen to be equal.
Derivations = Mapping[Key, Sequence[Derivation]]


def derive(
    step: Step, equation: StatedRelation, known: Derivations, given: AbstractSet[Fraction] | None
) -> Derivation | None:
    """The derivation of a computation's value; None for one that changes nothing (adds 0, multiplies by 1) or in which
    a term cancels out (subtracts what was added).

    `given` are the numbers of the question; None where there is no question, so that any number may have been given.
    """
    left = equation.left
    assert left is not None, "a computation has a left side"
    tree = _tree(step.tokens[left.first : left.end])
    if tree is not None and _changes_nothing(tree):
        return None
    operands = set(operands_of(equation))
    # A number of the question is given, whatever other computations yield it, and 0 and 1 are available everywhere.
    before = {o: known[o] for o in operands if o in known and o not in _ANYWHERE and not (given and o in given)}
    is_grounded = all(
        before[o][0].is_grounded if o in before else given is None or o in given or o in COMMON or o in known
        for o in operands
    )
    formula = None if tree is None else _formula(tree, known, given or frozenset())
    if formula is not None and formula.cancels:
        # Two independently computed numbers may be equal, and their quotient 1.
        if key_of(equation) not in _ANYWHERE or any(len(known.get(o, ())) < 2 for o in operands):
            return None
        formula = None
    return Derivation(step.index, left.num_operations, frozenset(before), is_grounded, formula)


def is_another_route(
    step: Step, equation: StatedRelation, known: Derivations, given: AbstractSet[Fraction] | None
) -> bool:
    """Whether a computation reaches a known value by a route other than its first."""
    key = key_of(equation)
    first = known.get(key, ()) if key is not None else ()
    mine = derive(step, equation, known, given) if first else None
    if mine is None or not mine.is_grounded or mine.formula is None:
        return False
    return any(f.formula is not None and mine.formula.is_another_route_than(f.formula) for f in first)


def is_shorter(one: Derivation, two: Derivation) -> bool:
    """Whether a derivation reaches the same quantity as another by a shorter formula."""
    if one.formula is None or two.formula is None or len(one.formula.shape) >= len(two.formula.shape):
        return False
    return algebra.equal(one.formula.value, two.formula.value) is True


def is_another_quantity(one: Derivation, two: Derivation) -> bool:
    """Whether two derivations of one value have unequal formulas."""
    if one.formula is None or two.formula is None:
        return False
    return algebra.equal(one.formula.value, two.formula.value) is False


def _tree(tokens: Sequence[ClaimToken]) -> Node | None:
    try:
        return read_tree(tokens)
    except UnreadableError:
        return None


def _changes_nothing(tree: Node) -> bool:
    """Whether an operation leaves one of its numbers unchanged."""
    if tree.sides is None:
        return True
    one, two = tree.sides
    idle = _NEUTRAL[tree.operator]
    if two.value in idle:
        return two.sides is None
    return tree.operator in "+*" and one.value in idle and one.sides is None


def _formula(node: Node, known: Derivations, given: AbstractSet[Fraction]) -> OperandFormula | None:
    if node.sides is None:
        return _leaf(node.value, known, given)
    one = _formula(node.sides[0], known, given)
    if node.operator == "^":
        return None if one is None else _power(one, node.sides[1].value)
    two = _formula(node.sides[1], known, given)
    if one is None or two is None:
        return None
    value = algebra.calculate(one.value, node.operator, two.value)
    if value is None:
        return None
    family, sign = ("+", -1 if node.operator == "-" else 1) if node.operator in "+-" else ("*", 1)
    if node.operator == "/":
        sign = -1
    parts = sorted([*_parts(one, family, 1), *_parts(two, family, sign)])
    if sum(len(text) for text, _ in parts) > _MAX_SHAPE_CHARS:
        return None
    cancels = one.cancels or two.cancels or any((text, -power) in parts for text, power in parts)
    is_sum = family == "+"
    num_terms = one.num_terms + two.num_terms if is_sum else one.num_terms * (1 if sign < 0 else two.num_terms)
    return OperandFormula(value, tuple(parts), family, num_terms, cancels)


def _leaf(number: Fraction, known: Derivations, given: AbstractSet[Fraction]) -> OperandFormula | None:
    if number in known and number not in given:
        return known[number][0].formula
    return OperandFormula(named(f"n{number}"), ((str(number), 1),), "", 1, False)


def _power(base: OperandFormula, exponent: Fraction) -> OperandFormula | None:
    value = algebra.calculate(base.value, "^", constant(exponent))
    return (
        None
        if value is None
        else OperandFormula(value, ((f"{base.shape}^{exponent}", 1),), "", len(value.top), base.cancels)
    )


def _parts(formula: OperandFormula, family: str, sign: int) -> list[tuple[str, int]]:
    """The terms or factors that a formula contributes to a sum or product: its own parts where it is one, else
    itself."""
    if formula.operator == family:
        return [(text, power * sign) for text, power in formula.parts]
    return [(formula.shape, sign)]
