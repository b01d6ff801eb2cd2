"""The usual benchmarks that the run's versions were measured on after it: a row a task of each receipt."""

from collections.abc import Mapping
from typing import Any

from stillery.metrics import in_points
from stillery.report.data import ReportData
from stillery.report.markup import NONE, count, paragraph, percent, section, table, with_error


def benchmarks(data: ReportData) -> str:
    """The section, or nothing where no benchmark was run."""
    if not data.benchmarks:
        return ""
    groups = [
        (
            f"{receipt['model']}, {receipt['measured'][:10]}",
            [_row(name, task) for name, task in receipt["tasks"].items()],
        )
        for receipt in data.benchmarks
    ]
    head = ["Benchmark", "Problems", "k", "avg@k", "majority@k", "Cut off"]
    note = (
        "avg@k is the mean over problems of the share of k samples that are right, ± one standard error over problems."
    )
    lost = [paragraph(text, style="missing") for receipt in data.benchmarks if (text := _forgotten(receipt))]
    shown = table(head, groups, label="Benchmarks")
    return section("Benchmarks", paragraph(note), shown, *lost, identifier="benchmarks")


def _row(name: str, task: Mapping[str, Any]) -> list[str]:
    k, result = task["samples_per_problem"], task["result"]
    if not result or "pass@1" not in result:
        return [name, count(task["data"]["num_problems"]), str(k), NONE, NONE, NONE]
    vote = with_error(result[f"majority@{k}"]) if k > 1 and f"majority@{k}" in result else NONE
    share = percent(result["truncated"])
    return [name, count(result["num_problems"]), str(k), with_error(result["pass@1"]), vote, share]


def _forgotten(receipt: Mapping[str, Any]) -> str:
    """What changed against another model, in words."""
    record = receipt.get("forgetting")
    if not record:
        return ""
    told = [f"{task} {in_points(found)} ({found['verdict']})" for task, found in record["tasks"].items()]
    return f"Against {record['against']}, by 95% interval: {'; '.join(told)}."
