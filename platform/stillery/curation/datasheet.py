"""The card of a training set: what is in it, where it came from, and what was left out, in Markdown."""

from collections.abc import Mapping
from typing import Any

_WEIGHTS = {
    "by_bonds": "steps weighted by the bonds that hold the answer",
    "not_by_bonds": "no bond leads to the answer: every step weighs 1",
    "masked": "with steps that carry no loss",
}
_TAGS = {"with_tag": "begins with a line that names the trace's bonds", "without_tag": "as it was asked"}


def write_card(summary: Mapping[str, Any], *, settings: Mapping[str, Any], name: str) -> str:
    """The dataset card of a curated set, from the stage's summary and the settings that shaped it.

    Front matter as the Hub reads it: `datasets.load_dataset(FOLDER)` takes samples-*.parquet as they are.
    """
    kept, generated = summary["kept"], summary["generated"]
    lines = [
        "---",
        "configs:",
        "- config_name: default",
        "  data_files: samples-*.parquet",
        "---",
        f"# {name}: reasoning traces",
        "",
        f"{kept:,} of {generated:,} sampled traces, of {summary['prompts_kept']:,} of {summary['prompts']:,} problems: "
        f"{summary['train']:,} to train on, {summary['validation']:,} to validate on. Columns `prompt` and "
        "`completion` hold messages; `weights` are (start, end, weight) spans of characters of the completion.",
        "",
        *_table("Parts", "part", summary["by_part"]),
        *_table("Tasks", "task", summary["by_task"]),
        *_table("Teachers", "teacher", summary["by_teacher"]),
        *_table("Left out", "reason", summary["dropped"]),
        *_table("Weights", "loss", {_WEIGHTS[key]: n for key, n in summary.get("weighted", {}).items()}),
        *_table("Bond tags", "question", {_TAGS[key]: n for key, n in summary.get("tagged", {}).items()}),
        "## Lengths",
        f"Completions have {summary['tokens']['min']:,} to {summary['tokens']['max']:,} of the teacher's tokens, "
        f"{summary['tokens']['mean']:,.0f} on average; {summary['tokens']['total']:,} together.",
        "",
        *(["## Warnings", *(f"- {warning}" for warning in summary["warnings"]), ""] if "warnings" in summary else []),
        *_stayed(summary.get("stay", {})),
        "## Settings",
        *(f"- `{key}`: {value}" for key, value in settings.items() if value not in (None, [], {}, False)),
        "",
        "Licences: those of the problems' source and of the teacher hold; this card knows neither.",
    ]
    return "\n".join(lines) + "\n"


def _stayed(stay: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What the mixture left of each group; nothing is repeated."""
    rows = [f"| {axis} | {group} | {share:.0%} |" for axis, of in stay.items() for group, share in of.items()]
    return ["## Thinned", "| by | group | stay |", "|---|---|---:|", *rows, ""] if rows else []


def _table(title: str, column: str, counts: Mapping[str, int]) -> list[str]:
    rows = [f"| {key} | {count:,} |" for key, count in sorted(counts.items(), key=lambda item: -item[1])]
    return [f"## {title}", f"| {column} | samples |", "|---|---:|", *rows, ""] if rows else []
