"""A receipt as lines for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from stillery.benchmark.forgetting import Change


def table(receipt: Mapping[str, Any]) -> str:
    """A line per task: problems, samples, avg@k with its standard error, pass@k, majority@k, truncated samples."""
    head = f"{'task':<16}{'problems':>9}{'k':>4}{'avg@k':>16}{'pass@k':>9}{'majority@k':>12}{'cut off':>9}{'tokens':>9}"
    return "\n".join([head, *(_line(name, task) for name, task in receipt["tasks"].items())])


def changes_table(changes: Sequence[Change], *, against: str, max_loss: float) -> str:
    """A line per task: the change in points with its 95% interval, and its verdict."""
    lines = [f"against {against}; a loss of {max_loss * 100:g} points is allowed"]
    for change in changes:
        gain = change.gain
        interval = f"[{gain.low * 100:+.1f}, {gain.high * 100:+.1f}]"
        lines.append(f"{change.task:<16}{gain.mean * 100:>+8.1f} points {interval:>16}  {change.verdict}")
    return "\n".join(lines)


def _line(name: str, task: Mapping[str, Any]) -> str:
    k, result = task["samples_per_problem"], task["result"]
    if result is None or "pass@1" not in result:
        return f"{name:<16}{task['data']['num_problems']:>9}{k:>4}  every sample failed"
    average = result["pass@1"]
    error = average["standard_error"]
    spread = "" if error is None else f" ± {error:.3f}"
    best, vote = (_mean(result, measure) if k > 1 else "-" for measure in (f"pass@{k}", f"majority@{k}"))
    shown = f"{average['mean']:.3f}{spread}"
    return (
        f"{name:<16}{result['num_problems']:>9}{k:>4}{shown:>16}{best:>9}{vote:>12}"
        f"{result['truncated']:>9.1%}{result['mean_num_tokens']:>9.0f}"
    )


def _mean(result: Mapping[str, Any], measure: str) -> str:
    """A measure, which is missing if failures left no problem for it."""
    return f"{result[measure]['mean']:.3f}" if measure in result else "-"
