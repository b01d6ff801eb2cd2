"""Forgetting: a model's losses against another on the same problems, as a paired interval per task."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stillery.metrics import Gain, paired_gain
from stillery.records import Score
from stillery.registry.benchmarks import LOST

UNCLEAR, KEPT = "unclear", "kept"


@dataclass(frozen=True, slots=True)
class Change:
    """The change of a task's score. `verdict` is `lost` where the whole 95% interval lies below the allowed loss,
    `kept` where it lies above it, `unclear` between."""

    task: str
    gain: Gain
    verdict: str


def compare(
    before: Mapping[str, Sequence[Score]], after: Mapping[str, Sequence[Score]], *, max_loss: float
) -> list[Change]:
    """The change of each task; `max_loss` is the allowed loss, as a fraction (0.02 is two points).

    Raises ValueError if the two were not measured on the same problems, or on fewer than two of a task.
    """
    changes: list[Change] = []
    for task in after:
        gain = paired_gain(before[task], after[task])
        verdict = LOST if gain.high < -max_loss else KEPT if gain.low >= -max_loss else UNCLEAR
        changes.append(Change(task, gain, verdict))
    return changes


def record_of(changes: Sequence[Change], *, against: str, max_loss: float) -> dict[str, Any]:
    """The comparison as plain data: stored in the receipt, and read by the registry's gate."""
    return {"against": against, "max_loss": max_loss, "tasks": {c.task: _as_data(c) for c in changes}}


def _as_data(change: Change) -> dict[str, Any]:
    return {**{k: round(v, 6) for k, v in asdict(change.gain).items()}, "verdict": change.verdict}
