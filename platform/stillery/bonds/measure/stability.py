"""How well a trace holds together: steps, claims and bonds in, stability out. docs/concepts/bonds.md defines it.

Only what can be checked counts here, never markers: the same bonds, checks and claims with or without them.
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
# The support of a step whose strong bonds rest on claims, and of one that only takes up words.
_SUPPORTED, _RELATED = 1.0, 0.9
_UNGROUNDED_COST = 0.5
_CHECK_CREDIT = 0.1
_HALF_CONFLICT = 2.0
_UNUSED_COST = 0.2
_GIVEN_UP_COST = 0.2


@dataclass(frozen=True, slots=True)
class Parts:
    """What stability is made of: shares from 0 to 1, and the sum of the conflicts' weights; and the way to
    the answer."""

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
    """The parts of a trace's stability. `bonds` are the strong ones that bear load."""
    sources, support = _sources(steps, _from_first(steps, bonds, derived))
    backbone = _backbone(steps, sources)
    grounded = _grounded(steps, backbone, question)
    # A computation that no step supports starts from the question, as far as its numbers are the question's.
    bearing = [i for i in backbone if i in support or grounded.get(i, 1.0) < 1.0]
    false = {entry.step for entry in claims if entry.claim.holds is False}
    way = find_way(steps, backbone, checks, derived, false)
    testing = {check.target for check in checks if check.verifies is not None} | {s.index for s in steps if s.compared}
    working = {s.index for s in steps if s.index not in testing and _works(s)}
    given_up = {entry.step for entry in claims if entry.claim.holds is False}
    given_up |= {check.source for check in checks if check.verifies is False} | {s.index for s in steps if s.rejects()}
    # Steps that only come to what was known are on no way, so they make up for nothing that is unused.
    used = way.num_used or len(way.steps) or len(working & set(backbone))
    unused = len(working - set(backbone)) if way.num_unused is None else way.num_unused
    borne = [support.get(i, _SUPPORTED) * grounded.get(i, 1.0) for i in bearing]
    # Where nothing that can be read leads to the answer, its support is a matter of words.
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
    """What each step rests on, and its support. What claims show goes before what reads alike, and a step that comes to
    something of its own, or an answer with a number, rests on what claims show or on nothing: no wording makes a sum
    follow from another. Steps without a word that says something bear nothing."""
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
    """The bonds, each from the step that first came to what its source comes to, and none from a step that gives an
    answer to a later answer: saying it twice bears nothing."""
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
    """Whether a step comes to something of its own: a result or a state."""
    return step.works_out() or any(not state.counted for state in step.states)


def _grounded(steps: Sequence[Step], backbone: Sequence[int], question: str) -> dict[int, float]:
    """For each computing step that the answer rests on, 1 less what the numbers cost that it has from nowhere: neither
    from the question nor from a step before. Small numbers and those of clocks and circles belong to everyone.

    Without a question nobody knows what was given, so nothing costs.
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
    """The steps that the conclusion rests on, itself included: those it reaches back to over strong bonds."""
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
    that worked something out."""
    answer = next((step for step in reversed(steps) if step.is_answer), None)
    if answer is not None and (answer.values or answer.index in sources):
        return {answer.index}
    worked = [step.index for step in steps if (step.results or step.states) and not step.rejects()]
    return {*worked[-1:], *([] if answer is None else [answer.index])}


def is_unstable(molecule: Molecule, *, threshold: float = UNSTABLE_BELOW) -> bool:
    """Whether a trace is below the least stability that is asked of it."""
    return molecule.stability < threshold
