"""The closing table of a run, printed last."""

from collections.abc import Mapping
from typing import Any


def closing_table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """The closing table of a run: accuracy of student before, student after and teacher, the report, the model
    version."""
    lines: list[str] = []
    roles = {
        "evaluate_before": "student before",
        "evaluate_sft": "fine-tuned",
        "evaluate_after": "student after",
        "evaluate_teacher": "teacher",
    }
    for stage, role in roles.items():
        if stage in summaries:
            lines += _accuracy_rows(role, summaries[stage])
    if lines:
        top = max(next(iter(summaries[stage]["ks"] for stage in roles if stage in summaries)))
        lines.insert(
            0, f"{'model':<16}{'split':<10}{'problems':>9}{'pass@1':>16}{f'pass@{top}':>9}{f'majority@{top}':>12}"
        )
    failed = {stage: summary["failed"] for stage, summary in summaries.items() if summary.get("failed")}
    if failed:
        shares = ", ".join(f"{share:.1%} in {stage}" for stage, share in failed.items())
        lines.append(f"samples that failed, and count in no rate: {shares}")
    if "curate" in summaries:
        funnel = summaries["curate"]
        lines.append(f"samples: {funnel['generated']} generated, {funnel['correct']} correct, {funnel['kept']} kept")
    if "refine" in summaries:
        lines.append(_refinement(summaries["refine"]))
    if "report" in summaries:
        lines.append(f"report: {summaries['report']['path']}")
    if "register" in summaries:
        model = summaries["register"]
        aliases = ", ".join(model["aliases"])
        lines.append(f"model: models:/{model['name']}/{model['version']} ({aliases}) in {model['tracking_uri']}")
        lines.append(f"gate: {model['decision']}")
    if exported := summaries.get("export", {}).get("candidates"):
        from stillery.export.candidates import table

        lines += ["", table(exported)]
    return "\n".join(lines)


def _refinement(summary: Mapping[str, Any]) -> str:
    before, after, last = (summary[f"validation_{name}"] for name in ("before", "after", "last"))
    kept = f"step {summary['kept_step']} of {summary['last_step']} kept"
    return f"refinement: {kept}, validation pass@1 {before:.3f} before, {after:.3f} there, {last:.3f} at the end"


def _accuracy_rows(role: str, summary: Mapping[str, Any]) -> list[str]:
    top = max(summary["ks"])
    rows: list[str] = []
    for split, figures in summary["splits"].items():
        overall = figures["overall"]
        pass_1 = f"{overall['pass@1']['mean']:.3f} ± {overall['pass@1']['standard_error'] or 0:.3f}"
        rows.append(
            f"{role:<16}{split:<10}{overall['num_problems']:>9}{pass_1:>16}"
            f"{_mean(overall, f'pass@{top}'):>9}{_mean(overall, f'majority@{top}'):>12}"
        )
    return rows


def _mean(measures: Mapping[str, Any], name: str) -> str:
    """A measure, which is missing if failures left no problem for it."""
    return f"{measures[name]['mean']:.3f}" if name in measures else "-"
