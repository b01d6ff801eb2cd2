"""The molecule of an answer in the endpoint's reply: stability, flagged conflicts, drawing."""

import dataclasses
from typing import Any

from stillery.bonds import analyze
from stillery.bonds.draw.drawing import to_svg
from stillery.records import Molecule
from stillery.thinking import CLOSE_THINK, OPEN_THINK


def stability_of(text: str, *, question: str | None) -> float:
    """The stability used for choosing: words such as "wait" are ignored."""
    return analyze(text, question=question, markers=False).stability


def describe_trace(text: str, *, question: str | None, svg: bool) -> dict[str, Any]:
    """`stability`, `stability_sum`, `conflict`, `conflicts` (false claims that nothing corrects), `molecule` (atoms and
    bonds with their evidence) and, if requested, `svg` (null where the text has no steps)."""
    molecule = analyze(text, question=question)
    described: dict[str, Any] = {
        "stability": molecule.stability,
        "stability_sum": molecule.stability_sum,
        "conflict": molecule.conflict,
        "conflicts": _false_claims(molecule),
        "molecule": dataclasses.asdict(molecule),
    }
    if svg:
        described["svg"] = to_svg(molecule, title="reasoning") if molecule.atoms else None
    return described


def trace_of(reasoning: str | None, answer: str | None) -> str:
    """The text of a trace, assembled from the parts of a response."""
    think = f"{OPEN_THINK}{reasoning}{CLOSE_THINK}" if reasoning else ""
    return f"{think}<answer>{answer or ''}</answer>"


def _false_claims(molecule: Molecule) -> list[dict[str, Any]]:
    """False claims that no later step corrects, with the step that makes each."""
    return [
        {"step": index, "kind": claim.kind, "text": claim.text, "start": claim.start, "end": claim.end}
        for index, atom in enumerate(molecule.atoms)
        for claim in atom.claims
        if claim.holds is False and claim.corrected_by is None
    ]
