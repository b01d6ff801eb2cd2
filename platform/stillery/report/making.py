"""How the student was made: the funnel from teacher samples to training data, and the loss curves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stillery.records import Split
from stillery.report.charts import ChartSeries, Point, count_bars, funnel, lines
from stillery.report.data import SPLIT_NAMES, ReportData
from stillery.report.markup import count, figure, paragraph, section


def training_data(data: ReportData) -> str:
    """What became of the teacher's samples, and why."""
    parts: list[str] = []
    if data.num_prompts:
        present = [split for split in Split if split in data.num_prompts]
        counts = [(SPLIT_NAMES[split].lower(), data.num_prompts[split]) for split in present]
        parts.append(paragraph(f"Problems of each split: {_spoken(counts)}."))
    if data.funnel is None:
        parts.append(paragraph("Curation did not run, so nothing was kept for training.", style="missing"))
    else:
        parts.append(_funnel_chart(data.funnel))
    if data.funnel is not None and not data.funnel["kept"]:
        parts.append(paragraph("No sample was kept, so there was nothing to train on.", style="missing"))
    charts = [
        _counts_chart("Verdicts on the teacher's samples", data.verdicts),
        _counts_chart("Why samples were dropped", (data.funnel or {}).get("dropped", {})),
    ]
    parts.append('<div class="columns">' + "".join(charts) + "</div>")
    return section("From the teacher's samples to training data", *parts, identifier="data")


def training(data: ReportData) -> str:
    """The loss over the steps of fine-tuning."""
    train = _curve(data.history, "loss")
    held = _curve(data.history, "eval_loss")
    series = [
        ChartSeries(style, name, points)
        for style, name, points in (("train", "Training", train), ("eval", "Validation", held))
        if points
    ]
    if not series:
        text = "There is no training history: fine-tuning did not run or logged no loss."
        return section("Training", paragraph(text, style="missing"), identifier="training")
    ends = "; ".join(
        f"{one.name.lower()} loss went from {one.points[0].y:.3f} to {one.points[-1].y:.3f}" for one in series
    )
    chart = lines(series, label=f"Line chart of the loss by step: {ends}", x_name="step")
    legend = [(one.style, one.name) for one in series]
    return section("Training", figure("Loss", note=ends, body=chart, legend=legend), identifier="training")


def _funnel_chart(summary: Mapping[str, Any]) -> str:
    stages = [("generated", summary["generated"]), ("verified correct", summary["correct"]), ("kept", summary["kept"])]
    chart = funnel(stages, label=f"Funnel: {_spoken(stages)}")
    return figure("The funnel", note="shares are of what was generated", body=chart)


def _counts_chart(caption: str, counts: Mapping[str, int]) -> str:
    """Bars of counts, the largest first; nothing where there is nothing to count."""
    rows = sorted(((name.replace("_", " "), number) for name, number in counts.items()), key=lambda row: -row[1])
    return figure(caption, body=count_bars(rows, label=f"{caption}: {_spoken(rows)}")) if rows else ""


def _spoken(rows: Sequence[tuple[str, int]]) -> str:
    """The chart's values as words, for those who cannot see it."""
    return ", ".join(f"{count(number)} {name}" for name, number in rows)


def _curve(history: Sequence[Mapping[str, Any]], key: str) -> list[Point]:
    found = [Point(row["step"], row[key]) for row in history if row.get(key) is not None]
    return [point for point in found if math.isfinite(point.y)]
