"""What training changed: the headline, the table of models, and accuracy by task and by length."""

from collections.abc import Mapping
from typing import Any

from stillery.metrics import Gain, group_by_problem, paired_gain
from stillery.records import Split
from stillery.report.charts import Bar, ChartSeries, Point, grouped_bars, lines
from stillery.report.data import SPLIT_NAMES, Evaluation, ReportData
from stillery.report.markup import NONE, count, details, escape, figure, paragraph, percent, section, table, with_error

ERROR_NOTE = "pass@1 in percent ± one standard error over problems"


def headline(data: ReportData) -> str:
    """One sentence of results, one of the registered version."""
    return f'<p class="headline">{_result_sentence(data)}</p>\n' + _registered_sentence(data)


def comparison(data: ReportData) -> str:
    """All models on all splits."""
    ks = sorted({k for _, _, evaluation in data.models for k in evaluation.summary["ks"] if k > 1})
    most = max(ks, default=1)
    head = [
        "Model",
        "pass@1 ± SE",
        *(f"pass@{k}" for k in ks),
        f"majority@{most}",
        "template ok",
        "cut off",
        "tokens",
        "failed",
    ]
    groups = [(_split_heading(data, split), _comparison_rows(data, split, ks=ks)) for split in data.splits]
    body = table(head, groups, label="Accuracy of the models by split") if groups else ""
    note = (
        "pass@k: at least one of k samples is right. majority@k: the most frequent answer of k samples is right. "
        "SE: standard error, clustered by problem. Template ok: the completion thinks once and answers once. "
        "Cut off: stopped by the token limit. Tokens: mean length of a completion. Failed: samples that an engine did "
        "not give, or that could not be graded; they count in no other number."
    )
    missing = "".join(paragraph(text, style="missing") for text in _missing_models(data))
    return section("Teacher and student compared", body, missing, f'<p class="note">{note}</p>', identifier="results")


def breakdown(data: ReportData) -> str:
    """Accuracy by task and by number of steps."""
    if not data.models:
        return ""
    charts = [chart for chart in (_by_task(data), _by_num_steps(data)) if chart]
    return section("Where it works, and where not", *charts, identifier="breakdown")


def gain(data: ReportData) -> Gain | None:
    """The paired gain on the test split, if both students were measured on enough of it."""
    before, after = _measures(data.before), _measures(data.after)
    if data.before is None or data.after is None or before is None or after is None:
        return None
    answered = [group_by_problem(s for s in e.scores if s.split == Split.TEST) for e in (data.before, data.after)]
    if len(answered[0].keys() & answered[1].keys()) < 2:
        return None
    return paired_gain(data.before.scores, data.after.scores)


def _result_sentence(data: ReportData) -> str:
    before, after, teacher = (_measures(e) for e in (data.before, data.after, data.teacher))
    if after is None:
        return "The trained student was not evaluated on the test split, so this run has no result yet."
    number = f"<strong>{with_error(after['pass@1'])}</strong>"
    problems = f"pass@1 on {count(after['num_problems'])} test problems (mean ± standard error)"
    if before is None:
        sentence = f"The trained student reaches {number} {problems}"
    else:
        sentence = f"The student went from <strong>{with_error(before['pass@1'])}</strong> to {number} {problems}"
    sentence += (
        f"; its teacher reaches <strong>{with_error(teacher['pass@1'])}</strong>."
        if teacher
        else "; its teacher was not evaluated."
    )
    change = gain(data)
    if change is not None:
        interval = f"95% interval {100 * change.low:+.1f} to {100 * change.high:+.1f}"
        sentence += f" That is a change of {100 * change.mean:+.1f} points on the same problems ({interval})."
    return sentence


def _registered_sentence(data: ReportData) -> str:
    if data.registered is None:
        return paragraph("No model version was registered in this run.", style="registered")
    model = f"{data.registered['name']} version {data.registered['version']}"
    aliases = ", ".join(data.registered["aliases"]) or "none"
    return (
        f'<p class="registered">Registered as <strong>{escape(model)}</strong>, alias: '
        f"<strong>{escape(aliases)}</strong>. {escape(data.registered['decision'])}</p>"
    )


def _comparison_rows(data: ReportData, split: str, *, ks: list[int]) -> list[list[str]]:
    rows: list[list[str]] = []
    for _, name, evaluation in data.models:
        measures = evaluation.measures(split)
        if measures is None:
            rows.append([name] + [NONE] * (6 + len(ks)))
            continue
        vote = measures.get(f"majority@{max(ks, default=1)}")
        samples = [measures.get(f"pass@{k}") for k in ks]
        rows.append([
            name,
            with_error(measures["pass@1"]),
            *(percent(sample["mean"]) if sample else NONE for sample in samples),
            percent(vote["mean"]) if vote else NONE,
            percent(measures["template_ok"]),
            percent(measures["truncated"]),
            f"{measures['mean_num_tokens']:,.1f}",
            percent(measures["failed"]),
        ])  # fmt: skip
    return rows


def _split_heading(data: ReportData, split: str) -> str:
    measured = [m for _, _, evaluation in data.models if (m := evaluation.measures(split))]
    problems, samples = measured[0]["num_problems"], measured[0]["num_samples"]
    return f"{SPLIT_NAMES[Split(split)]}: {count(problems)} problems, {count(samples)} samples a model"


def _missing_models(data: ReportData) -> list[str]:
    rows = [("student before training", data.before), ("student after training", data.after), ("teacher", data.teacher)]
    return [f"The {name} was not evaluated in this run." for name, evaluation in rows if evaluation is None]


def _by_task(data: ReportData) -> str:
    """Bars of every task of every split that is not split by length."""
    groups: list[tuple[str, list[Bar]]] = []
    for split in data.splits:
        if split == Split.LONGER:
            continue
        tasks = sorted({task for _, _, evaluation in data.models for task in evaluation.measures_by(split, "by_task")})
        for task in tasks:
            name = task if split == Split.TEST else f"{task} ({SPLIT_NAMES[Split(split)].lower()})"
            groups.append((name, _task_bars(data, split, task)))
    if not groups:
        return ""
    chart = grouped_bars(groups, label="Bar chart: pass@1 by task for each model; the numbers stand beside the bars")
    return figure("Accuracy by task", note=ERROR_NOTE, body=chart, legend=_legend(data))


def _task_bars(data: ReportData, split: str, task: str) -> list[Bar]:
    found = [(style, name, e.measures_by(split, "by_task").get(task)) for style, name, e in data.models]
    return [
        Bar(style, name, measures["pass@1"]["mean"], measures["pass@1"]["standard_error"])
        for style, name, measures in found
        if measures
    ]


def _by_num_steps(data: ReportData) -> str:
    """Lines over the number of steps, of the test split and the longer one: together they cover all lengths."""
    series = [ChartSeries(style, name, _length_points(evaluation)) for style, name, evaluation in data.models]
    series = [one for one in series if one.points]
    if not series:
        return ""
    chart = lines(
        series, label="Line chart: pass@1 by steps of the problem; the table below holds the numbers",
        x_name="steps of the problem", shares=True,
    )  # fmt: skip
    steps = sorted({point.x for one in series for point in one.points})
    cells = {one.name: {point.x: _cell(point) for point in one.points} for one in series}
    rows = [[f"{step:g}", *(cells[one.name].get(step, NONE) for one in series)] for step in steps]
    numbers = table(["Steps", *(one.name for one in series)], [("", rows)], label="Accuracy by steps")
    note = f"{ERROR_NOTE}; test problems, and longer ones than any in training"
    body = chart + details("The numbers", numbers)
    return figure("Accuracy by length", note=note, body=body, legend=_legend(data))


def _length_points(evaluation: Evaluation) -> list[Point]:
    points: dict[int, Point] = {}
    for split in (Split.LONGER, Split.TEST):
        for steps, measures in evaluation.measures_by(split, "by_num_steps").items():
            found = measures["pass@1"]
            points[int(steps)] = Point(int(steps), found["mean"], found["standard_error"])
    return [points[steps] for steps in sorted(points)]


def _cell(point: Point) -> str:
    return with_error({"mean": point.y, "standard_error": point.error})


def _legend(data: ReportData) -> list[tuple[str, str]]:
    return [(style, name) for style, name, _ in data.models]


def _measures(evaluation: Evaluation | None) -> Mapping[str, Any] | None:
    return evaluation.measures(Split.TEST) if evaluation else None
