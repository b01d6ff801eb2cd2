"""The section on edge artifacts: what was exported, how near to the checkpoint it is, and what was refused."""

from collections.abc import Mapping
from typing import Any

from stillery.report.data import ReportData
from stillery.report.markup import NONE, paragraph, percent, section, table, with_error

_HEAD = ["Artifact", "MB", "KL", "Same top token", "Same greedy answer", "Accuracy", "Tokens a second", "Gate"]


def artifacts(data: ReportData) -> str:
    """A row a candidate; nothing for a run that exports none."""
    if not data.artifacts:
        return ""
    reference = next((row["parity"]["reference_accuracy"] for row in data.artifacts if row["parity"]), None)
    parts = [table(_HEAD, [("", [_row(row) for row in data.artifacts])], label="Edge artifacts")]
    if reference is not None:
        parts.insert(
            0,
            paragraph(
                "Each file was run in its own runtime and compared with the trained checkpoint, which answers "
                f"{with_error(reference)} of the same problems right, greedily. What differed too much was not kept."
            ),
        )
    return section("On phones and in browsers", *parts, identifier="artifacts")


def _row(row: Mapping[str, Any]) -> list[str]:
    gate = "kept" if row["folder"] else f"refused: {', '.join(row['failed'])}"
    name, size = f"{row['format']} {row['quantization']}", f"{row['size_bytes'] / 1e6:.2f}"
    parity, speed = row["parity"], row["speed"]
    if parity is None:
        return [name, size, *[NONE] * 5, gate]
    return [
        name,
        size,
        f"{parity['kl']:.1e}",
        percent(parity["top_1_agreement"]),
        percent(parity["greedy_agreement"]),
        with_error(parity["accuracy"]),
        NONE if speed is None else f"{speed['decode_tokens_per_second']:.0f}",
        gate,
    ]
