"""The dataset card of a training set in Markdown: its contents, its sources, and what was left out."""

from collections.abc import Mapping, Sequence
from typing import Any

from stillery.io.cards import license_lines

_WEIGHTS = {
    "by_bonds": "steps weighted by the bonds that hold the answer",
    "not_by_bonds": "no bond leads to the answer: every step weighs 1",
    "masked": "with steps that carry no loss",
}
_TAGS = {"with_tag": "begins with a line that names the trace's bonds", "without_tag": "as it was asked"}


def write_card(summary: Mapping[str, Any], *, settings: Mapping[str, Any], name: str) -> str:
    """The dataset card of a curated set, from the stage's summary and the settings that shaped it.

    Front matter in the Hub's format: `datasets.load_dataset(FOLDER)` reads samples-*.parquet directly.
    """
    kept, generated = summary["kept"], summary["generated"]
    lines = [
        "---",
        *_license(summary["sources"]),
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
        *(_sources(summary["sources"]) or _table("Teachers", "teacher", summary["by_teacher"])),
        *_table("Parts", "part", summary["by_part"]),
        *_table("Tasks", "task", summary["by_task"]),
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
    ]
    return "\n".join(lines) + "\n"


def _license(sources: Sequence[Mapping[str, Any]]) -> list[str]:
    """The licences of all sources, including `unknown` where one of several does not state its own."""
    known = [name for source in sources for name in source["licenses"]]
    unstated = any(not source["licenses"] for source in sources)
    return license_lines([*known, *(["unknown"] if known and unstated else [])])


def _sources(sources: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        f"| {one['kind']} | {one['name']} | {one['num_samples']:,} | {', '.join(one['licenses']) or 'not stated'} "
        f"| {one['stated_in']} |"
        for one in sources
    ]
    if not rows:
        return []
    return [
        "## Sources",
        "| what | name | samples | licence | stated in |",
        "|---|---|---:|---|---|",
        *rows,
        "",
        "The licences of all of them hold. Of one that is not stated, ask before you share what was made of it.",
        "",
    ]


def _stayed(stay: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What the mixture kept of each group; nothing is repeated."""
    rows = [f"| {axis} | {group} | {share:.0%} |" for axis, of in stay.items() for group, share in of.items()]
    return ["## Thinned", "| by | group | stay |", "|---|---|---:|", *rows, ""] if rows else []


def _table(title: str, column: str, counts: Mapping[str, int]) -> list[str]:
    rows = [f"| {key} | {count:,} |" for key, count in sorted(counts.items(), key=lambda item: -item[1])]
    return [f"## {title}", f"| {column} | samples |", "|---|---:|", *rows, ""] if rows else []
