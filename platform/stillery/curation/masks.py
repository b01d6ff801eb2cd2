"""Weights by span: what of a trace a student should not learn."""

from stillery.records import Molecule


def corrected_spans(molecule: Molecule) -> list[list[float]]:
    """(start, end, 0) for each step that states something false which the trace later corrects.

    Learning such a step teaches the mistake; the step that corrects it is learnt.
    """
    return [
        [float(atom.start), float(atom.end), 0.0]
        for atom in molecule.atoms
        if any(claim.holds is False and claim.corrected_by is not None for claim in atom.claims)
    ]
