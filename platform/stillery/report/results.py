"""The effect of training: the gain, every model's measures by split, and accuracy by task and by length."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stillery.metrics import Gain, group_by_problem, paired_gain, summarize
from stillery.records import Split
from stillery.report.charts import Bar, Line, LineChart, Point, line_chart
from stillery.report.data import SPLIT_NAMES, Evaluation, ReportData

Measures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AccuracyBySteps:
    """Accuracy by the number of steps: the chart, the models' names, and (steps, each model's accuracy if measured)."""

    chart: LineChart
    names: list[str]
    rows: list[tuple[int, list[Measures | None]]]


def gain(data: ReportData) -> Gain | None:
    """The paired gain on the test split, if both students were measured on enough of it."""
    before, after = data.before, data.after
    if before is None or after is None or not before.measures(Split.TEST) or not after.measures(Split.TEST):
        return None
    answered = [group_by_problem(s for s in e.scores if s.split == Split.TEST) for e in (before, after)]
    if len(answered[0].keys() & answered[1].keys()) < 2:
        return None
    return paired_gain(before.scores, after.scores)


def by_split(data: ReportData) -> list[tuple[str, list[tuple[str, Measures | None]]]]:
    """Each split with every model's measures on it."""
    return [
        (SPLIT_NAMES[Split(split)], [(model.name, model.evaluation.measures(split)) for model in data.models])
        for split in data.splits
    ]


def of_several(data: ReportData) -> list[str]:
    """The measures over several samples of a problem, by their keys."""
    ks = sorted({k for model in data.models for k in model.evaluation.summary["ks"] if k > 1})
    return [*(f"pass@{k}" for k in ks), f"majority@{max(ks, default=1)}"]


def by_task(data: ReportData) -> list[tuple[str, list[Bar]]]:
    """Bars of every task of every split that is not divided by length."""
    groups: list[tuple[str, list[Bar]]] = []
    for split in data.splits:
        if split == Split.LONGER:
            continue
        found = [(model, model.evaluation.measures_by_task(split)) for model in data.models]
        for task in sorted({task for _, tasks in found for task in tasks}):
            name = task if split == Split.TEST else f"{task} ({SPLIT_NAMES[Split(split)].lower()})"
            rows = [(model, tasks[task]["pass@1"]) for model, tasks in found if tasks.get(task)]
            groups.append((name, [Bar(m.style, m.name, one["mean"], one["standard_error"]) for m, one in rows]))
    return groups


def by_length(data: ReportData) -> AccuracyBySteps | None:
    """Accuracy by steps on the test split and the longer one: together they cover all lengths."""
    found = [(model, steps) for model in data.models if (steps := _by_num_steps(model.evaluation))]
    if not found:
        return None
    series = [
        Line(model.style, model.name, [Point(n, one["mean"], one["standard_error"]) for n, one in steps.items()])
        for model, steps in found
    ]
    return AccuracyBySteps(
        line_chart(series, "steps of the problem", shares=True),
        [model.name for model, _ in found],
        [(n, [steps.get(n) for _, steps in found]) for n in sorted({n for _, steps in found for n in steps})],
    )


def _by_num_steps(evaluation: Evaluation) -> dict[int, Measures]:
    """pass@1 by steps. Where both splits have problems of a length, they are pooled."""
    splits = (Split.TEST, Split.LONGER)
    pooled = [dataclasses.replace(score, split=Split.TEST) for score in evaluation.scores if score.split in splits]
    found = summarize(pooled, ks=[1])["splits"].get(Split.TEST, {}).get("by_num_steps", {})
    return {int(n): measures["pass@1"] for n, measures in found.items()}
