"""Finds another route to a computation's result: the computation undone, or the result substituted into the equation
that it solves.

The arithmetic is exact, over fractions. There is no route for a computation whose text was not fully parsed, whose
result was rounded, or which cannot be undone to a number without repeating decimals.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from stillery.bonds.claims.claims import is_asserted
from stillery.bonds.claims.equations import StatedRelation, operands_of
from stillery.bonds.claims.memory import Memory
from stillery.bonds.claims.outcome import QUESTION, question_equations
from stillery.bonds.claims.reading import Step
from stillery.bonds.claims.tokens import ClaimToken
from stillery.bonds.claims.trees import LEVELS, NUMBER, POWER, SUM, Node, UnreadableError, read_tree

_MAX_DIGITS = 12
_TYPESET = re.compile(r"\\(?:left|right|,|;|!|quad)|[{}]")


@dataclass(frozen=True, slots=True)
class _Written:
    """An expression as text, and the precedence of its operator."""

    text: str
    level: int


def find_routes(steps: Sequence[Step], index: int, text: str, question: str | None) -> list[str]:
    """The checks that can be computed for a step, the best first."""
    step = steps[index]
    found = list(_substitutions(steps, index, text, question))
    for equation in reversed(step.equations):
        if equation.holds is True and is_asserted(step, equation.start):
            found += undo(equation, step.tokens)
    return list(dict.fromkeys(found))


def _substitutions(steps: Sequence[Step], index: int, text: str, question: str | None) -> list[str]:
    """The values that a step gives to unknowns, substituted into earlier equations with them."""
    memory = Memory()
    memory.unknowns.extend(question_equations(question or ""))
    for step in steps[:index]:
        memory.add(step)
    found: list[str] = []
    for name, value in steps[index].assigned.items():
        for work in reversed(memory.unknowns):
            equation = work.equation
            if equation.names() == frozenset((name,)) and equation.subject is None and isinstance(value, Fraction):
                source = (question or "") if work.step == QUESTION else text
                put = substitute_into(source[equation.start : equation.end], name, value)
                found += [] if put is None else [put]
    return found


def undo(equation: StatedRelation, tokens: Sequence[ClaimToken]) -> Iterator[str]:
    """The ways to undo a computation: `16 - 9 = 7` for `7 + 9 = 16`. `tokens` are those of its step."""
    left = equation.left
    result = equation.right.rational()
    if equation.relation != "=" or left is None or result is None or not equation.computes:
        return
    try:
        node = read_tree(tokens[left.first : left.end])
    except UnreadableError:
        return
    if node.sides is None or node.value != result or sorted(_numbers(node)) != sorted(operands_of(equation)):
        return
    target = _write_number(result)
    for expression, operand in _inverses(node, target) if target is not None else ():
        shown = _write(operand)
        if shown is not None:
            yield f"{expression.text} = {shown.text}"


def substitute_into(statement: str, name: str, value: Fraction) -> str | None:
    """An equation's text with a value substituted for its unknown: `7*(3) + 5 = 5*(3) + 11`."""
    shown = _write_number(value)
    if shown is None or "\n" in statement.strip():
        return None
    plain = " ".join(_TYPESET.sub("", statement).split())
    put = re.sub(rf"(?<![a-zA-Z\\]){re.escape(name)}(?![a-zA-Z_(])", f"({shown.text})", plain)
    return None if put == plain or "\\" in put else put


def _numbers(node: Node) -> list[Fraction]:
    if node.sides is None:
        return [node.value * 100 if node.is_percent else node.value]
    return [number for side in node.sides for number in _numbers(side)]


def _inverses(node: Node, target: _Written) -> Iterator[tuple[_Written, Node]]:
    """Each number of an expression, with its value in terms of the result and of the other numbers."""
    if node.sides is None:
        yield target, node
        return
    left, right = node.sides
    for side, solved in zip(node.sides, _solve(node.operator, target, left, right), strict=True):
        if solved is not None:
            yield from _inverses(side, solved)


def _solve(operator: str, target: _Written, left: Node, right: Node) -> tuple[_Written | None, _Written | None]:
    """The left and the right side of an operation, each from the result and the other side."""
    one, two = _write(left), _write(right)
    if one is None or two is None:
        return None, None
    if operator == "+":
        return _join(target, "-", two), _join(target, "-", one)
    if operator == "-":
        return _join(target, "+", two), _join(one, "-", target)
    if operator == "*":
        return (
            _join(target, "/", two) if right.value else None,
            _join(target, "/", one) if left.value else None,
        )
    if operator == "/":
        return _join(target, "*", two), _join(one, "/", target) if left.value else None
    return None, None


def _write(node: Node) -> _Written | None:
    if node.sides is None and node.is_percent:
        number = _write_number(node.value * 100)
        return None if number is None else _Written(f"{number.text}%", number.level)
    if node.sides is None:
        return _write_number(node.value)
    one, two = (_write(side) for side in node.sides)
    return None if one is None or two is None else _join(one, node.operator, two)


def _join(left: _Written, operator: str, right: _Written) -> _Written:
    level = LEVELS[operator]
    one = left.text if left.level >= level and level != POWER else _enclose(left)
    # The right side of a minus or a division is bound before it, so equals need brackets there.
    two = right.text if right.level > level else _enclose(right)
    sign = operator if operator == "^" else f" {operator} "
    return _Written(f"{one}{sign}{two}", level)


def _enclose(part: _Written) -> str:
    return part.text if part.level == NUMBER else f"({part.text})"


def _write_number(value: Fraction) -> _Written | None:
    """A number in digits, as a decimal if it is one; None for a repeating decimal and for one with too many digits."""
    rest, places = value.denominator, 0
    while places < _MAX_DIGITS and 10**places % rest:
        places += 1
    if 10**places % rest or abs(value) >= 10**_MAX_DIGITS:
        return None
    text = str(abs(value.numerator) * (10**places // rest)).zfill(places + 1)
    digits = f"{text[:-places]}.{text[-places:]}" if places else text
    return _Written(f"-{digits}", SUM) if value < 0 else _Written(digits, NUMBER)
