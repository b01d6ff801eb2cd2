"""A trace for display: its steps, each in pieces of plain text and claims, with its bonds and conflicts."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from stillery.bonds.analysis import dissect
from stillery.records import Atom, BondKind, Claim, Molecule

# A step's relation to an earlier one, by the kind of their bond.
RELATIONS = {
    BondKind.STRONG_LOGIC: "from",
    BondKind.REFLECTION: "checks",
    BondKind.EXPLORATION: "explores",
}
# A longer trace is shown unanalysed: its analysis would keep a page waiting.
MOST_CHARACTERS = 200_000
_STEP = re.compile(r"\bstep (\d+)\b")


@dataclass(frozen=True, slots=True)
class MarkedText:
    """Some text of a step. `state` is empty for plain text, or the state of a claim: true, false, corrected, open."""

    text: str
    state: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Relation:
    """A bond to an earlier step, numbered from 1."""

    word: str
    kind: str
    step: int
    strength: float
    evidence: str


@dataclass(frozen=True, slots=True)
class TraceStep:
    """A step, numbered from 1, with its bonds and its conflicts."""

    number: int
    pieces: list[MarkedText]
    is_answer: bool
    inserted: bool
    relations: list[Relation] = field(default_factory=list[Relation])
    conflicts: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class TraceView:
    """A trace, its molecule and its steps; no steps, and no molecule, where it is too long to analyse on the spot."""

    text: str
    molecule: Molecule | None
    steps: list[TraceStep]

    @property
    def conflicts(self) -> list[tuple[int, str]]:
        """The conflicts, with the number of the step."""
        return [(step.number, reason) for step in self.steps for reason in step.conflicts]


def read_trace(text: str, *, question: str | None) -> TraceView:
    """Analyse a completion as the stage bonds does, for display. The gold answer is not used: the verdict says whether
    the answer is right, this analysis how the trace holds together."""
    if len(text) > MOST_CHARACTERS:
        return TraceView(text, None, [])
    found = dissect(text, question=question)
    wrong: dict[int, list[str]] = defaultdict(list)
    for conflict in found.conflicts:
        wrong[conflict.step].append(_counted(conflict.reason, conflict.step, conflict.against))
    relations: dict[int, list[Relation]] = defaultdict(list)
    for bond in sorted(
        found.molecule.bonds, key=lambda bond: (list(RELATIONS).index(BondKind(bond.kind)), bond.source)
    ):
        word = RELATIONS[BondKind(bond.kind)]
        evidence = _counted(bond.evidence, bond.source, bond.target)
        relations[bond.target].append(Relation(word, bond.kind, bond.source + 1, bond.strength, evidence))
    steps = [
        TraceStep(
            index + 1, list(_pieces(atom)), atom.kind == "answer", atom.inserted, relations[index], wrong[index]
        )
        for index, atom in enumerate(found.molecule.atoms)
    ]  # fmt: skip
    return TraceView(text, found.molecule, steps)


def _counted(reason: str, *steps: int | None) -> str:
    """A reason with its step numbers counted from 1, as on the page."""
    return _STEP.sub(lambda m: f"step {int(m[1]) + (int(m[1]) in steps)}", reason)


def _pieces(atom: Atom) -> Iterator[MarkedText]:
    """The text of a step, split at the boundaries of its claims. Of overlapping claims, the first is marked."""
    at = atom.start
    for claim in sorted(atom.claims, key=lambda claim: (claim.start, -claim.end)):
        start, end = claim.start, min(claim.end, atom.end)
        if start < at or end <= start:
            continue
        if start > at:
            yield MarkedText(atom.text[at - atom.start : start - atom.start])
        yield MarkedText(atom.text[start - atom.start : end - atom.start], *_state(claim))
        at = end
    if at < atom.end:
        yield MarkedText(atom.text[at - atom.start :])


def _state(claim: Claim) -> tuple[str, str]:
    if claim.holds is None:
        return "open", f"{claim.kind}: nothing decides it"
    if claim.holds:
        return "true", f"{claim.kind}: holds"
    if claim.corrected_by is not None:
        return "corrected", f"{claim.kind}: false, corrected in step {claim.corrected_by + 1}"
    return "false", f"{claim.kind}: false"
