"""Receipts of `stillery benchmark` for a model with one accuracy."""

from typing import Any

from stillery.metrics import summarize
from support.registered_models import scores_at


def receipt_of(rate: float, *, samples: int = 5) -> dict[str, Any]:
    """One task, `t`, with twelve problems."""
    summary = summarize(scores_at(rate, samples=samples), ks=[1, samples])
    task = {
        "samples_per_problem": samples,
        "data": {"num_problems": 12},
        "result": summary["splits"]["test"]["by_task"]["t"],
    }
    return {"model": "m", "measured": "2026-11-27T00:00:00Z", "tasks": {"t": task}}
