"""The section on refinement: the reward with its parts beside accuracy on problems that no gradient saw."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stillery.records import Rollout
from stillery.report.charts import ChartSeries, Point, lines
from stillery.report.data import ReportData
from stillery.report.markup import NONE, details, escape, figure, paragraph, section, table, verbatim, with_error

_ACCURACY = "validation/pass@1"
_ERROR = "validation/standard_error"
_COLUMNS = {
    "reward": ("reward", ".3f"),
    "kl": ("KL", ".2g"),
    "entropy": ("entropy", ".3f"),
    "completions/mean_length": ("tokens", ".0f"),
    "frac_reward_zero_std": ("groups alike", ".0%"),
    "sampling/sampling_logp_difference/mean": ("engine off by", ".1e"),
    "rewards/accuracies": ("pairs told apart", ".0%"),
    "rewards/margins": ("margin", ".3f"),
    "seconds": ("seconds", ".1f"),
}
_ROWS = 12


def refinement(data: ReportData) -> str:
    """What refinement did; nothing for a run without it."""
    found = data.refined
    if found is None:
        return ""
    parts = [paragraph(_outcome(found.summary)), _accuracy_chart(found.history), _reward_chart(found.history)]
    parts += [_steps_table(found.history), _rollouts(found.rollouts)]
    return section("Refinement", *filter(None, parts), identifier="refinement")


def _outcome(summary: Mapping[str, Any]) -> str:
    before, after, last = (_measure(summary, name) for name in ("before", "after", "last"))
    kept, end = summary["kept_step"], summary["last_step"]
    text = f"{end} steps. Validation pass@1 was {before} before and {last} after the last step. "
    if kept == 0:
        text += "No checkpoint was better than the fine-tuned student, which was kept as it is."
    else:
        text += f"The checkpoint of step {kept} was kept ({after}); the best of several is flattered by chance."
    return text + (f" It stopped by itself: {summary['stopped']}." if summary["stopped"] else "")


def _measure(summary: Mapping[str, Any], name: str) -> str:
    key = f"validation_{name}"
    return with_error({"mean": summary[key], "standard_error": summary[f"{key}_standard_error"]})


def _accuracy_chart(history: Sequence[Mapping[str, Any]]) -> str:
    points = [Point(row["step"], row[_ACCURACY], row[_ERROR]) for row in history if _ACCURACY in row]
    chart = lines(
        [ChartSeries("after", "Validation", points)], label=_spoken("pass@1", points), x_name="step", shares=True
    )
    return figure("Accuracy on validation problems", note="pass@1 ± one standard error over problems", body=chart)


def _reward_chart(history: Sequence[Mapping[str, Any]]) -> str:
    """A chart for the sum and one for each part, since their scales differ."""
    keys = {"reward": "Reward, the weighted sum"}
    named = {key for row in history for key in row if key.startswith(("part/", "reward/"))}
    keys |= {key: key.partition("/")[2].replace("_", " ") for key in sorted(named)}
    charts: list[str] = []
    for key, name in keys.items():
        points = [Point(row["step"], row[key]) for row in history if _is_number(row.get(key))]
        if len(points) > 1:
            chart = lines([ChartSeries("train", name, points)], label=_spoken(name, points), x_name="step")
            charts.append(figure(name, body=chart))
    return '<div class="columns">' + "".join(charts) + "</div>" if charts else ""


def _is_number(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _spoken(name: str, points: Sequence[Point]) -> str:
    return f"Line chart of {name} by step: from {points[0].y:.3f} to {points[-1].y:.3f}"


def _steps_table(history: Sequence[Mapping[str, Any]]) -> str:
    steps = [row for row in history if "loss" in row]
    keys = [key for key in _COLUMNS if any(row.get(key) is not None for row in steps)]
    shown = steps[:: max(1, -(-len(steps) // _ROWS))]
    rows = [[str(row["step"]), *(_cell(row.get(key), _COLUMNS[key][1]) for key in keys)] for row in shown]
    return table(["Step", *(_COLUMNS[key][0] for key in keys)], [("", rows)], label="Steps") if rows else ""


def _cell(value: float | None, form: str) -> str:
    return NONE if value is None else format(value, form)


def _rollouts(rollouts: Sequence[Rollout]) -> str:
    """The last completions, closed, with what each part of the reward gave them."""
    if not rollouts:
        return ""
    blocks: list[str] = []
    for row in rollouts:
        parts = ", ".join(f"{part.name} {_cell(part.value, '.2f')}" for part in row.parts)
        head = f"step {row.step}, {row.task}: reward {_cell(row.reward, '.2f')}, advantage {row.advantage:+.2f}"
        body = verbatim(row.completion, label="Rollout")
        blocks.append(details(escape(head), paragraph(parts) + body))
    return "<h3>Rollouts of the last step</h3>" + "".join(blocks)
