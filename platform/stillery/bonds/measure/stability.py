"""How well a trace holds together: conflict, and stability in two forms. docs/bonds.md has the definitions.

Only what can be checked counts here, never markers: the same bonds, checks and claims with or without them.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from stillery.bonds.claims.claims import Located, squeeze
from stillery.bonds.claims.reading import Key, Step
from stillery.bonds.claims.reflection import Finding
from stillery.records import Bond, BondKind, Molecule

UNSTABLE_BELOW = 0.5
_FALSE, _REASSIGNED, _UNFOUNDED_ANSWER = 1.0, 0.5, 1.0
_FULL_SUPPORT = 0.9
_CHECK_CREDIT = 0.1
_HALF_CONFLICT = 2.0
_CORRECTION_COST, _MAX_CORRECTION_COST = 0.02, 0.1
_MAX_WORD_ANSWER = 40
_SAYS_OF = re.compile(r"\$?\s*(?:is|are|was|gives|works|fails|doesn't|does not|isn't)\b")
_YES_NO = frozenset(("yes", "no", "true", "false", "是", "否"))


@dataclass(frozen=True, slots=True)
class Conflict:
    """One thing that is wrong with a trace: at which step, with which earlier one (if any), how much, why."""

    step: int
    against: int | None
    weight: float
    reason: str


def find_conflicts(steps: Sequence[Step], claims: Sequence[Located], checks: Sequence[Finding]) -> list[Conflict]:
    """What is false and not corrected, assigned twice without a revision, or answered without having been found."""
    answers = [entry for entry in claims if entry.claim.kind == "answer"]
    found = [
        Conflict(entry.step, None, _FALSE, f"step {entry.step} says that {entry.claim.text}, which is false")
        for entry in claims
        if entry.claim.holds is False and entry.claim.corrected_by is None
        and (entry.claim.kind != "answer" or entry is answers[-1])
    ]  # fmt: skip
    return [*found, *_reassignments(steps, claims, checks), *_unfounded(steps, claims)]


def _reassignments(steps: Sequence[Step], claims: Sequence[Located], checks: Sequence[Finding]) -> list[Conflict]:
    """Names with two values and no sign of a revision between. A name with three or more runs through cases."""
    given: dict[object, list[Located]] = defaultdict(list)
    for entry in claims:
        step = steps[entry.step]
        is_open = step.is_conditional or step.is_tentative or step.is_question or step.rejects()
        if not is_open and _gives_value(entry) and not _is_case(step, entry):
            given[entry.topic].append(entry)
    failed = {check.target for check in checks if check.verifies is False}
    found: list[Conflict] = []
    for entries in given.values():
        values = list(dict.fromkeys(entry.value for entry in entries))
        if len(values) != 2:
            continue
        first, second = (next(e for e in entries if e.value == value) for value in values)
        between = steps[first.step + 1 : second.step + 1]
        is_revised = first.step == second.step or any(s.index in failed or s.says_wrong or s.rejects() for s in between)
        was_false = any(e.claim.holds is False for e in claims if e.step == first.step)
        if not is_revised and not was_false:
            reason = f"step {second.step} says {second.claim.text} where step {first.step} said {first.claim.text}"
            found.append(Conflict(second.step, first.step, _REASSIGNED, reason))
    return found


def _is_case(step: Step, entry: Located) -> bool:
    """Whether what is given is a case that is spoken of ("n=5 is odd") and not a result."""
    return _SAYS_OF.match(step.text, entry.claim.end - step.start) is not None


def _gives_value(entry: Located) -> bool:
    """Whether a claim gives a number to a single name, or a state that no replay decides to its subject.

    A phrase may well mean two things in two places, so "total = 5" gives nothing.
    """
    if entry.claim.kind == "state":
        return entry.claim.holds is None and isinstance(entry.topic, tuple) and entry.topic[0] == "state"
    name = entry.claim.text.partition("=")[0].strip() if "=" in entry.claim.text else ""
    return entry.claim.kind == "assignment" and isinstance(entry.value, Fraction) and len(name.split()) == 1


def _unfounded(steps: Sequence[Step], claims: Sequence[Located]) -> list[Conflict]:
    """A final answer that the steps before it never came to."""
    answers = [entry for entry in claims if entry.claim.kind == "answer"]
    if not answers or answers[-1].claim.holds is not None:
        return []
    last = answers[-1]
    before = [step for step in steps if step.index < last.step]
    if not before or last.value is None:
        return []
    if isinstance(last.value, str):
        said = squeeze("".join(step.text for step in before))
        is_plain = last.claim.text.replace(" ", "").isalpha() and len(last.value) <= _MAX_WORD_ANSWER
        is_founded = not is_plain or last.value in _YES_NO or last.value in said
    else:
        digits = squeeze(last.claim.text)
        is_founded = last.value in _standing(before, claims) or _is_written_apart(digits, before)
    if is_founded:
        return []
    return [Conflict(last.step, None, _UNFOUNDED_ANSWER, f"the answer {last.claim.text} is not what the steps came to")]


def _is_written_apart(digits: str, steps: Sequence[Step]) -> bool:
    """Whether a long number is written with blanks ("118 000") in a step."""
    return len(digits) > 3 and any(digits in squeeze(step.text) for step in steps)


def _standing(steps: Sequence[Step], claims: Sequence[Located]) -> set[Key]:
    """The values that steps came to or named and that no false claim alone gave."""
    false = {(entry.step, entry.value) for entry in claims if entry.claim.holds is False}
    return {
        key
        for step in steps
        for key in (*step.results, *step.assigned.values(), *step.values)
        if (step.index, key) not in false and key not in step.refuted
    }


def normalized_stability(
    steps: Sequence[Step],
    bonds: Sequence[Bond],
    *,
    checks: Sequence[Finding],
    claims: Sequence[Located],
    conflicts: Sequence[Conflict],
) -> float:
    """Mean support of the steps that the answer rests on, plus credit for checks, minus conflict. At most 1.1.

    Support is an atom's strongest strong-logic bond; steps that the answer does not rest on count for nothing.
    """
    support: dict[int, float] = {}
    sources: dict[int, list[int]] = defaultdict(list)
    for bond in bonds:
        if bond.kind == BondKind.STRONG_LOGIC:
            support[bond.target] = max(support.get(bond.target, 0.0), min(bond.strength, _FULL_SUPPORT))
            sources[bond.target].append(bond.source)
    backbone = _backbone(steps, sources)
    derived = [i for i in backbone if i in support]
    base = sum(support[i] for i in derived) / (_FULL_SUPPORT * len(derived)) if derived else 0.0
    false = {entry.step for entry in claims if entry.claim.holds is False}
    verified = ({check.source for check in checks if check.verifies is True} - false) & set(derived or backbone)
    credit = _CHECK_CREDIT * len(verified) / len(derived or backbone) if backbone else 0.0
    total = sum(conflict.weight for conflict in conflicts)
    num_corrected = sum(entry.claim.holds is False and entry.claim.corrected_by is not None for entry in claims)
    cost = min(_MAX_CORRECTION_COST, _CORRECTION_COST * num_corrected)
    return round(base + credit - total / (total + _HALF_CONFLICT) - cost, 6)


def _backbone(steps: Sequence[Step], sources: dict[int, list[int]]) -> list[int]:
    """The steps that the conclusion rests on, itself included: those it reaches back to over strong bonds."""
    root = _conclusion(steps)
    if root is None:
        return []
    reached, frontier = {root}, [root]
    while frontier:
        for source in sources[frontier.pop()]:
            if source not in reached:
                reached.add(source)
                frontier.append(source)
    return sorted(reached)


def _conclusion(steps: Sequence[Step]) -> int | None:
    """The last answer, else the last step that worked something out."""
    answers = [step.index for step in steps if step.is_answer]
    worked = [step.index for step in steps if (step.results or step.states) and not step.rejects()]
    return answers[-1] if answers else (worked[-1] if worked else None)


def is_unstable(molecule: Molecule, *, threshold: float = UNSTABLE_BELOW) -> bool:
    """Whether a trace is below the least stability that is asked of it."""
    return molecule.stability < threshold
