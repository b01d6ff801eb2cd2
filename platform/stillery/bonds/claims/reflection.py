"""Which earlier steps a step returns to, and how: withdraw, recompute, undo, substitute.

Each finding says whether the check was independent (by another route than the step it checks) and whether it turned out
right; only independent checks that turn out right earn credit for stability.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from stillery.bonds.claims import algebra
from stillery.bonds.claims.derivations import is_another_route
from stillery.bonds.claims.equations import StatedRelation, operands_of
from stillery.bonds.claims.expressions import Expression
from stillery.bonds.claims.memory import Memory, Work, recipe_of, shorten
from stillery.bonds.claims.reading import Key, Step, key_of, specificity
from stillery.bonds.claims.states import State
from stillery.maths.quotients import Quotient, constant

# The specificity of 0, 1 and 2.
_TRIVIAL = 0.2
_STATE_REACH = 12


@dataclass(frozen=True, slots=True)
class Finding:
    """One return of step `target` to step `source`. `verifies` is True or False for an independent check that turned
    out right or wrong, None for any other return; `is_exact` says that it is decided by numbers rather than by reading
    words."""

    source: int
    target: int
    strength: float
    origin: str
    evidence: str
    verifies: bool | None = None
    is_exact: bool = False


def find_checks(step: Step, steps: Sequence[Step], memory: Memory, text: str) -> list[Finding]:
    """The steps that one returns to, by its computations, substitutions, withdrawals or replays."""
    found = [*_withdrawn(step, memory), *_tested(step, memory), *_revised(step, memory), *_checked_states(step, steps)]
    for equation in step.equations:
        if equation.computes:
            found += _recomputed(step, equation, memory, text)
            found += _undone(step, equation, memory, text)
            found += _reached_again(step, equation, steps, memory)
    found += _substituted(step, memory, text)
    return found


def _withdrawn(step: Step, memory: Memory) -> Iterator[Finding]:
    for key in step.refuted:
        # "That is not 1" hardly identifies a step, unless the right value stands beside it.
        if specificity(key) <= _TRIVIAL and not step.works_out():
            continue
        source = memory.source(key, before=step.index)
        if source is None and isinstance(key, str):
            source = next(
                (i for i, known in _assignments(memory) if str(known).casefold() == key and i < step.index), None
            )
        if source is not None and (key in memory.makers or key in memory.givers or isinstance(key, str)):
            shown = key if isinstance(key, str) else str(key)
            yield Finding(
                source, step.index, 0.8, "claims", f"step {step.index} contradicts step {source}'s {shown}", False, True
            )


def _assignments(memory: Memory) -> Iterator[tuple[int, Key]]:
    latest = [entry for entries in memory.assigned.values() for entry in entries if isinstance(entry[1], str)]
    return iter(sorted(latest, key=lambda entry: -entry[0]))


def _checked_states(step: Step, steps: Sequence[Step]) -> Iterator[Finding]:
    before = steps[max(0, step.index - _STATE_REACH) : step.index]
    for state in step.states if not step.rejects() else ():
        source = _state_source(state, before) if state.counted else None
        if source is not None:
            # Repeated look-ups of letters and holdings are normal; a count continues with the events.
            is_copy = state.subject != "side" and any(_is_same(state, s) for other in before for s in other.states)
            verifies = None if is_copy and state.holds else state.holds
            evidence = f"step {step.index} finds step {source}'s {shorten(state.value)} by another route"
            yield Finding(source, step.index, 0.75, "claims", evidence, verifies, verifies is not None)


def _state_source(state: State, before: Sequence[Step]) -> int | None:
    """The last step that has the value; for a letter, that of the same word."""
    having = [
        (step.index, said)
        for step in before
        for said in step.states
        if not said.counted and (said.value == state.value or state.value in said.value.split())
    ]
    is_letter = len(state.value) == 1
    return max((i for i, said in having if not is_letter or said.subject == state.subject), default=None)


def _is_same(one: State, two: State) -> bool:
    return two.counted and (one.subject, one.value, one.holds) == (two.subject, two.value, two.holds)


def _tested(step: Step, memory: Memory) -> Iterator[Finding]:
    """A result that fails a test: "3 + 5 = 8, not 7" where a step had computed 3."""
    if not step.rejects():
        return
    for equation in step.equations:
        for operand in operands_of(equation) if equation.computes else ():
            work = memory.maker(operand, before=step.index)
            if work is not None:
                evidence = f"step {step.index} tests step {work.step}'s {operand}, and it fails"
                yield Finding(work.step, step.index, 0.8, "claims", evidence, False, True)


def _revised(step: Step, memory: Memory) -> Iterator[Finding]:
    """A name that gets another value after a failed check. A number's phrase ("their sum") may recur with another value
    in the next case, and a function may be written in another form."""
    for name, key in step.assigned.items():
        is_phrase, is_form = len(name.split()) > 1, "(" in name and not isinstance(key, Fraction)
        if is_form or (is_phrase and isinstance(key, Fraction)):
            continue
        for source, known in reversed(memory.assigned.get(name, ())):
            if (
                known != key
                and source < step.index
                and memory.last_failure is not None
                and memory.last_failure > source
            ):
                yield Finding(
                    source, step.index, 0.8, "claims", f"step {step.index} revises step {source}'s {name}", False
                )
                break


def _recomputed(step: Step, equation: StatedRelation, memory: Memory, text: str) -> Iterator[Finding]:
    """The same computation again, with the same result or another."""
    recipe = recipe_of(equation)
    if recipe is None:
        return
    start = text[equation.start : equation.end].split("=")[0].strip()
    for work in reversed(memory.recipes.get(recipe, ())):
        if work.step < step.index and equation.holds is True and key_of(work.equation) != key_of(equation):
            evidence = f"step {step.index} puts step {work.step}'s {work.text(text)} right"
            yield Finding(work.step, step.index, 0.8, "claims", evidence, False, True)
            return
        if work.step < step.index - 2:
            evidence = f"step {step.index} recomputes step {work.step}'s {shorten(start)}"
            yield Finding(work.step, step.index, 0.68, "claims", evidence)
            return


def _undone(step: Step, equation: StatedRelation, memory: Memory, text: str) -> Iterator[Finding]:
    """The inverse computation: its result is an operand of the earlier one, and it starts from the earlier result."""
    operands = operands_of(equation)
    result = equation.right.rational()
    if result is None or len(operands) < 2:
        return
    for operand in operands:
        rest = list(operands)
        rest.remove(operand)
        for work in reversed(memory.makers.get(operand, ())):
            before = operands_of(work.equation)
            if work.step >= step.index or result not in before or len(before) < 2:
                continue
            is_same = recipe_of(work.equation) == recipe_of(equation)
            if is_same or (work.equation.subject and work.equation.subject == equation.subject):
                continue
            others = list(before)
            others.remove(result)
            is_telling = max(specificity(v) for v in (operand, result, *rest)) > 0.5
            if sorted(map(abs, others)) == sorted(map(abs, rest)) and is_telling:
                shown = shorten(text[equation.start : equation.end])
                evidence = f"step {step.index} undoes step {work.step}'s {work.text(text)} by {shown}"
                yield Finding(
                    work.step, step.index, 0.78, "claims", evidence, equation.holds, equation.holds is not None
                )
                return


def _reached_again(step: Step, equation: StatedRelation, steps: Sequence[Step], memory: Memory) -> Iterator[Finding]:
    """A result that an earlier step reached from other numbers, where neither step depends on the other."""
    key, recipe = key_of(equation), recipe_of(equation)
    if key is None or recipe is None or specificity(key) < 1:
        return
    for work in reversed(memory.makers.get(key, ())):
        other = recipe_of(work.equation)
        if work.step >= step.index or other is None or other[0] == recipe[0]:
            continue
        if _rests_on(equation, work, steps) or step.index - work.step < 2:
            continue
        evidence = f"step {step.index} reaches step {work.step}'s {_show(key)} another way"
        verifies = equation.holds if is_another_route(step, equation, memory.derived, memory.given) else None
        yield Finding(work.step, step.index, 0.74, "claims", evidence, verifies, verifies is not None)
        return


def _rests_on(equation: StatedRelation, work: Work, steps: Sequence[Step]) -> bool:
    """Whether a computation starts from the numbers of another step, and so only continues it."""
    mine = {o for o in operands_of(equation) if specificity(o) > 0.2}
    theirs = set(operands_of(work.equation))
    return bool(mine) and mine <= theirs | steps[work.step].values


def _show(key: Key) -> str:
    return str(key) if isinstance(key, Fraction | str) else "expression"


def _substituted(step: Step, memory: Memory, text: str) -> Iterator[Finding]:
    """A value substituted for its name into an earlier equation; it fits if both sides then agree."""
    numbers = [e for e in step.equations if e.left is not None and e.left.num_operations and e.left.value is not None]
    operands = {o for e in numbers for o in operands_of(e)}
    for work in reversed(memory.unknowns) if operands else ():
        names = work.equation.names()
        if len(names) != 1:
            continue
        (name,) = names
        for index, key in reversed(memory.assigned.get(name, ())):
            if not isinstance(key, Fraction) or not work.step < index < step.index or key not in operands:
                continue
            sides = [side for side in (work.equation.left, work.equation.right) if side is not None]
            put = [algebra.substitute(side.value, {name: constant(key)}) for side in sides]
            if not any(_works_out(e, s, v, key) for e in numbers for s, v in zip(sides, put, strict=True)):
                continue
            where = "the question's equation" if work.step < 0 else f"step {work.step}'s {work.text(text)}"
            evidence = f"step {step.index} puts step {index}'s {name} = {key} into {where}"
            verifies = all(e.holds is not False for e in numbers) and _agree(put)
            yield Finding(index, step.index, 0.78, "claims", evidence, verifies, True)
            return


def _works_out(equation: StatedRelation, side: Expression, value: Quotient | None, key: Fraction) -> bool:
    """Whether an equation starts from a side of another one with its unknown substituted: from its numbers and the
    value."""
    left = equation.left
    if left is None or set(left.operands) != {*side.operands, key}:
        return False
    return algebra.equal(left.value, value) is True


def _agree(sides: Sequence[Quotient | None]) -> bool:
    return len(sides) == 2 and algebra.equal(sides[0], sides[1]) is True
