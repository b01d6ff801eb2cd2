"""Renders ReportData as one self-contained HTML document.

It loads nothing: style and drawings are inline, there is no script, and a content security policy enforces this, so
that no text of a model could load or run anything even if its escaping failed.
"""

from importlib import resources
from typing import Any

from stillery.metrics import in_points
from stillery.records import Split
from stillery.report.charts import line_chart
from stillery.report.data import SPLIT_NAMES, Evaluation, Refinement, ReportData
from stillery.report.molecules import KINDS, ROLES, drawings, mix
from stillery.report.results import Measures, by_length, by_split, by_task, gain, of_several
from stillery.report.traces import choose_samples, choose_traces
from stillery.report.training import accuracy, losses, rewards, steps
from stillery.templating import make_environment

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def render(data: ReportData) -> str:
    """The report of a run as one HTML document, complete without network. Stages that did not run are reported as
    missing."""
    environment = make_environment("stillery.report", in_points=in_points, line_chart=line_chart)
    samples = choose_samples(data)
    return environment.get_template("report.html").render(
        data=data,
        policy=POLICY,
        style=resources.files("stillery.report").joinpath("style.css").read_text(encoding="utf-8"),
        before=_on_test(data.before),
        after=_on_test(data.after),
        teacher=_on_test(data.teacher),
        gain=gain(data),
        splits=by_split(data),
        of_several=of_several(data),
        samples=samples,
        KINDS=KINDS,
        ROLES=ROLES,
        mix=mix(data.compared),
        drawings=drawings(data, samples),
        num_prompts=[(SPLIT_NAMES[s].lower(), data.num_prompts[s]) for s in Split if s in data.num_prompts],
        tasks=by_task(data),
        lengths=by_length(data),
        losses=losses(data.history),
        refined=_refined(data.refined),
        traces=choose_traces(data),
    )


def _on_test(evaluation: Evaluation | None) -> Measures | None:
    return evaluation.measures(Split.TEST) if evaluation else None


def _refined(refined: Refinement | None) -> dict[str, Any]:
    if refined is None:
        return {}
    head, rows = steps(refined.history)
    history = refined.history
    return {"accuracy": accuracy(history), "rewards": rewards(history), "head": head, "steps": rows}
