"""The models' bonds: the mix of kinds for a chart, and one problem's molecules as images."""

import base64
from collections.abc import Mapping
from typing import Any

from stillery.bonds.draw.drawing import to_svg
from stillery.records import BondKind, Score
from stillery.report.charts import Bar
from stillery.report.data import ReportData

KINDS = {
    BondKind.STRONG_LOGIC: "Strong logic",
    BondKind.REFLECTION: "Reflection",
    BondKind.EXPLORATION: "Exploration",
}
# The style and the name of each model in compare_bonds.
ROLES = {
    "teacher": ("teacher", "Teacher"),
    "student_before": ("before", "Student before"),
    "student_sft": ("tuned", "Student fine-tuned"),
    "student_after": ("after", "Student after"),
}


def mix(compared: Mapping[str, Any] | None) -> list[tuple[str, list[Bar]]]:
    """The share of each kind of bond, by model; nothing where no model has bonds."""
    models = compared["models"] if compared else {}
    shown = [(role, models[role]["shares"]) for role in ROLES if models.get(role) and models[role]["shares"]]
    bars = [
        (name, [Bar(*ROLES[role], shares[kind][0], None) for role, shares in shown]) for kind, name in KINDS.items()
    ]
    return bars if shown else []


def drawings(data: ReportData, samples: Mapping[str, Score]) -> list[tuple[str, str]]:
    """The molecules of the demonstrated problem's traces: an image as a data URI, and its description."""
    found: list[tuple[str, str]] = []
    for style, name, _ in data.models:
        molecule = data.molecules.get(samples[style].sample_id) if style in samples else None
        if molecule is not None and molecule.atoms:
            image = base64.b64encode(to_svg(molecule, title=name).encode()).decode()
            description = (
                f"Molecule of {name}'s trace: {len(molecule.atoms)} steps, {len(molecule.bonds)} bonds, "
                f"stability {molecule.stability:.3f}, conflict {molecule.conflict:g}"
            )
            found.append((f"data:image/svg+xml;base64,{image}", description))
    return found
