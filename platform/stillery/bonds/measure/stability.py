"""Stability: how well a trace holds together, from its steps, claims and bonds. docs/concepts/bonds.md defines it.

Only checkable evidence counts here, never markers: the bonds, checks and claims are the same with or without them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from stillery.bonds.claims.claims import Located
from stillery.bonds.claims.derivations import COMMON, Derivations
from stillery.bonds.claims.outcome import question_values
from stillery.bonds.claims.reading import Step, specificity
from stillery.bonds.claims.reflection import Finding
from stillery.bonds.measure.conflicts import Conflict
from stillery.bonds.measure.way import Way, find_way
from stillery.records import Bond, BondKind, Molecule

UNSTABLE_BELOW = 0.5
# The support of a step whose strong bonds are backed by claims, and of one that only repeats words.
_SUPPORTED, _RELATED = 1.0, 0.9
_UNGROUNDED_COST = 0.5
_CHECK_CREDIT = 0.1
_HALF_CONFLICT = 2.0
_UNUSED_COST = 0.2
_GIVEN_UP_COST = 0.2


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of stability: shares from 0 to 1, and the sum of the conflicts' weights; and the way to the answer."""

    support: float
    verified: float
    unused: float
    given_up: float
    conflict: float
    way: Way

    @property
    def stability(self) -> float:
        lost = self.conflict / (self.conflict + _HALF_CONFLICT)
        cost = _UNUSED_COST * self.unused + _GIVEN_UP_COST * self.given_up
        return round(self.support + _CHECK_CREDIT * self.verified - lost - cost, 6)


def measure(
    steps: Sequence[Step],
    bonds: Sequence[Bond],
    *,
    checks: Sequence[Finding],
    claims: Sequence[Located],
    conflicts: Sequence[Conflict],
    derived: Derivations,
    question: str = "",
) -> Parts:
    """The parts of a trace's stability. `bonds` are the load-bearing strong ones."""
    sources, support = _sources(steps, _from_first(steps, bonds, derived))
    backbone = _backbone(steps, sources)
    grounded = _grounded(steps, backbone, question)
    # A computation without support from any step starts from the question, as far as its numbers are the question's.
    bearing = [i for i in backbone if i in support or grounded.get(i, 1.0) < 1.0]
    false = {entry.step for entry in claims if entry.claim.holds is False}
    way = find_way(steps, backbone, checks, derived, false)
    testing = {check.target for check in checks if check.verifies is not None} | {s.index for s in steps if s.compared}
    working = {s.index for s in steps if s.index not in testing and _works(s)}
    given_up = {entry.step for entry in claims if entry.claim.holds is False}
    given_up |= {check.source for check in checks if check.verifies is False} | {s.index for s in steps if s.rejects()}
    # Steps that only reach known values are not on the way, so they do not make up for unused ones.
    used = way.num_used or len(way.steps) or len(working & set(backbone))
    unused = len(working - set(backbone)) if way.num_unused is None else way.num_unused
    borne = [support.get(i, _SUPPORTED) * grounded.get(i, 1.0) for i in bearing]
    # Where no readable step leads to the answer, its support is a matter of words.
    most = _SUPPORTED if way.steps else _RELATED
    return Parts(
        support=min(most, sum(borne) / len(borne)) if borne else 0.0,
        verified=_share(len(way.confirmed), way.length),
        unused=_share(unused, used + unused),
        given_up=_share(len(given_up), used + len(given_up)),
        conflict=sum(conflict.weight for conflict in conflicts),
        way=way,
    )


def _sources(steps: Sequence[Step], bonds: Sequence[Bond]) -> tuple[dict[int, list[int]], dict[int, float]]:
    """The sources of each step, and its support. Evidence from claims takes precedence over similar wording, and a step
    with a result of its own, or an answer with a number, is supported by claims or not at all: no wording makes a sum
    follow from another. Steps without content words support nothing."""
    shown: dict[int, list[int]] = defaultdict(list)
    alike: dict[int, list[int]] = defaultdict(list)
    for bond in bonds:
        if bond.kind == BondKind.STRONG_LOGIC:
            (shown if bond.origin == "claims" else alike)[bond.target].append(bond.source)
    spoken = {s.index for s in steps if not _works(s) and s.words and not (s.is_answer and s.values)}
    alike = {target: [i for i in found if steps[i].words or _works(steps[i])] for target, found in alike.items()}
    sources = {target: found for target, found in alike.items() if found and target in spoken} | shown
    return sources, {target: _SUPPORTED if target in shown else _RELATED for target in sources}


def _from_first(steps: Sequence[Step], bonds: Sequence[Bond], derived: Derivations) -> list[Bond]:
    """The bonds, each moved to the step that first reached its source's result, without those from one answer to a
    later answer: repeating it supports nothing."""
    first: dict[int, int] = {}
    for step in steps:
        makers = [derived[key][-1].step if key in derived else step.index for key in step.results]
        if makers and max(makers) < step.index:
            first[step.index] = max(makers)
    return [
        replace(bond, source=first.get(bond.source, bond.source))
        for bond in bonds
        if not (steps[bond.source].is_answer and steps[bond.target].is_answer)
    ]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _works(step: Step) -> bool:
    """Whether a step has a result of its own: a value or a state."""
    return step.works_out() or any(not state.counted for state in step.states)


def _grounded(steps: Sequence[Step], backbone: Sequence[int], question: str) -> dict[int, float]:
    """For each computing step that supports the answer, 1 minus the cost of its ungrounded numbers: those neither in
    the question nor in an earlier step. Small numbers and those of clocks and circles are always grounded.

    Without a question the given numbers are unknown, so nothing costs.
    """
    if not question:
        return {}
    known = question_values(question)
    wanted = set(backbone)
    grounded: dict[int, float] = {}
    for step in steps:
        if step.index in wanted and step.works_out():
            numbers = {o for o in step.operands() if specificity(o) == 1 and o not in COMMON}
            made = {key for equation in step.equations if isinstance(key := equation.right.rational(), Fraction)}
            stray = [o for o in numbers if o not in known and o not in made]
            grounded[step.index] = 1 - _UNGROUNDED_COST * _share(len(stray), len(numbers))
        known |= {key for key in (*step.results, *step.assigned.values()) if isinstance(key, Fraction)}
    return grounded


def _backbone(steps: Sequence[Step], sources: Mapping[int, Sequence[int]]) -> list[int]:
    """The steps that support the conclusion, itself included: those reachable backwards over strong bonds."""
    reached = _conclusions(steps, sources)
    frontier = list(reached)
    while frontier:
        for source in sources.get(frontier.pop(), ()):
            if source not in reached:
                reached.add(source)
                frontier.append(source)
    return sorted(reached)


def _conclusions(steps: Sequence[Step], sources: Mapping[int, Sequence[int]]) -> set[int]:
    """The last answer; without one, or where it is a word that nothing leads to (a choice's letter), also the last step
    with a computation."""
    answer = next((step for step in reversed(steps) if step.is_answer), None)
    if answer is not None and (answer.values or answer.index in sources):
        return {answer.index}
    worked = [step.index for step in steps if (step.results or step.states) and not step.rejects()]
    return {*worked[-1:], *([] if answer is None else [answer.index])}


def is_unstable(molecule: Molecule, *, threshold: float = UNSTABLE_BELOW) -> bool:
    """Whether a trace's stability is below the given minimum."""
    return molecule.stability < threshold
