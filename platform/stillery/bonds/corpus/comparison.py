"""Compares the bonds of several models on the same problems: their shares by kind, and their distances."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from stillery.bonds.corpus.patterns import KINDS, bond_divergence, bond_statistics
from stillery.records import Molecule

TEACHER = "teacher"


def compare(molecules: Mapping[str, Sequence[Molecule]], *, problems: Mapping[str, str]) -> dict[str, Any]:
    """Plain data: `models` by role, each with its number of traces and bonds, the mean stability and the share of each
    kind of bond as [estimate, low, high] (95%, bootstrap over problems); and `divergence` of each other model from the
    teacher, by shares and by transitions (Jensen-Shannon, in bits, beside shuffled labels).

    `problems` maps sample_id to prompt_id. Molecules with an error are ignored; a model without a bond has no shares,
    and a divergence needs bonds on both sides and a problem that both were given.
    """
    kept = {role: [m for m in found if m.error is None] for role, found in molecules.items()}
    bonded = {role: found for role, found in kept.items() if any(m.bonds for m in found)}
    reference = bonded.get(TEACHER, [])
    asked = {problems[m.sample_id] for m in reference}
    return {
        "models": {role: _describe(found, problems) for role, found in kept.items()},
        "divergence": {
            role: dataclasses.asdict(bond_divergence(reference, found, problems=problems))
            for role, found in bonded.items()
            if role != TEACHER and asked & {problems[m.sample_id] for m in found}
        },
    }


def _describe(molecules: Sequence[Molecule], problems: Mapping[str, str]) -> dict[str, Any]:
    num_bonds = sum(len(m.bonds) for m in molecules)
    shares: dict[str, list[float]] = {}
    if num_bonds:
        marginal = bond_statistics(molecules, problems=problems).marginal
        shares = {kind: [marginal[kind].value, marginal[kind].low, marginal[kind].high] for kind in KINDS}
    return {
        "molecules": len(molecules),
        "atoms": sum(len(m.atoms) for m in molecules),
        "bonds": num_bonds,
        "shares": shares,
        "mean_stability": sum(m.stability for m in molecules) / len(molecules) if molecules else None,
    }
