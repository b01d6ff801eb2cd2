"""Span weights from a trace's molecule: how much each step contributes to the loss.

A step that the trace later corrects contributes nothing (`corrected_spans`). Of the others, those that the answer rests
on contribute more than abandoned branches (`bond_spans`).
"""

import heapq
from collections import defaultdict
from collections.abc import Sequence

from stillery.config import CurateConfig
from stillery.records import Atom, BondKind, Molecule

# The categories of samples in the summary: those with weights from their bonds, those meant to have them but whose
# bonds give none, and those with steps that carry no loss.
BY_BONDS, UNWEIGHTED, MASKED = "by_bonds", "not_by_bonds", "masked"

Spans = list[list[float]]


def weights_of(config: CurateConfig, molecule: Molecule | None) -> Spans:
    """The weighted spans of a kept generation, as set in the config. Empty where every character weighs 1, as where the
    trace could not be analysed."""
    if molecule is None or not (config.mask_corrected or config.bond_weight):
        return []
    by_bonds = bond_spans(molecule, share=config.bond_weight) if config.bond_weight else []
    return sorted(by_bonds + corrected_spans(molecule))


def corrected_spans(molecule: Molecule) -> Spans:
    """(start, end, 0) for each step with a false statement that the trace later corrects.

    Training on such a step teaches the mistake; the step that corrects it is trained on.
    """
    return [[float(atom.start), float(atom.end), 0.0] for atom in molecule.atoms if _is_corrected(atom)]


def bond_spans(molecule: Molecule, *, share: float) -> Spans:
    """(start, end, weight) for each step that is trained on: 1 - share + share * hold, divided by the mean of that over
    the characters of those steps, so that a trace's total weight is the same as without weights.

    Empty where bonds give no weights: the trace could not be analysed, gives no answer, or its answer rests on nothing.
    """
    held = holds(molecule)
    if held is None:
        return []
    learnt = [(atom, 1 - share + share * hold) for atom, hold in zip(molecule.atoms, held, strict=True)]
    learnt = [(atom, weight) for atom, weight in learnt if not _is_corrected(atom)]
    length = sum(atom.end - atom.start for atom, _ in learnt)
    total = sum(weight * (atom.end - atom.start) for atom, weight in learnt)
    return [[float(atom.start), float(atom.end), weight * length / total] for atom, weight in learnt] if total else []


def holds(molecule: Molecule) -> list[float] | None:
    """How firmly each step is joined to the answer: the weakest bond of the strongest chain between them, 0 where there
    is no chain, 1 for the answer itself. None where the answer rests on nothing.

    A chain goes from a step to its support, and from a step to the step that checks it. So a check counts by what it
    checks, while a derivation that was abandoned counts for nothing.
    """
    answer = _answer(molecule.atoms)
    chains: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for bond in molecule.bonds:
        if bond.kind == BondKind.REFLECTION:
            chains[bond.source].append((bond.target, bond.strength))
        else:
            chains[bond.target].append((bond.source, bond.strength))
    if answer is None or not chains[answer]:
        return None
    held = [0.0] * len(molecule.atoms)
    frontier = [(-1.0, answer)]
    while frontier:
        strength, step = heapq.heappop(frontier)
        if held[step]:
            continue
        held[step] = -strength
        for reached, bond_strength in chains[step]:
            heapq.heappush(frontier, (-min(-strength, bond_strength), reached))
    return held


def _answer(atoms: Sequence[Atom]) -> int | None:
    return next((i for i in reversed(range(len(atoms))) if atoms[i].kind == "answer"), None)


def _is_corrected(atom: Atom) -> bool:
    return any(claim.holds is False and claim.corrected_by is not None for claim in atom.claims)
