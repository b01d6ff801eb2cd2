"""The model card of a registered version: recipe, metrics, lineage, licences; Markdown with the Hub's front matter."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from stillery.io.cards import license_lines

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_MODELS = {
    "student_before": "untouched",
    "student_sft": "fine-tuned",
    "student_after": "this model",
    "teacher": "teacher",
}
_RECIPE = (
    "teacher.samples_per_prompt", "teacher.accepted_per_prompt", "teacher.sampling", "curate.max_per_prompt",
    "curate.drop_flags", "sft.peft", "sft.trl", "refine.method", "refine.steps", "refine.rewards",
)  # fmt: skip


def write_card(
    *,
    name: str,
    version: str,
    settings: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    licenses: Mapping[str, Sequence[str]] = {},
) -> str:
    """The card of version `version` of the registered model `name`.

    `settings` is the run's config as nested data, `metrics` and `tags` are those of its MLflow run; `licenses` are
    those of its sources, by name. Only if they are all the same does the model have that licence too.
    """
    known = {tuple(names) for names in licenses.values()}
    teacher, base = (_public(str(model)) for model in (settings["teacher"]["model"], settings["sft"]["student"]))
    refined = bool((settings.get("refine") or {}).get("enabled"))
    writes = "answers" if settings["sft"].get("completion") == "answer_only" else "reasoning"
    ending = {
        "answers": "It was trained on answers alone, and writes no reasoning.",
        "reasoning": "It reasons between `<think>` and `</think>` and answers between `<answer>` and `</answer>`.",
    }
    lines = [
        "---",
        "library_name: transformers",
        *([f"base_model: {base}"] if _HUB_NAME.fullmatch(base) else []),
        *(license_lines(known.pop()) if len(known) == 1 else []),
        "tags: [reasoning, distillation, stillery]",
        "---",
        f"# {name}, version {version}",
        "",
        f"`{base}`, taught by `{teacher}`: samples of the teacher whose answers verified, fine-tuning on what they say"
        f"{', then refinement by ' + str(settings['refine']['method']) if refined else ''}. {ending[writes]}",
        "",
        *_figures(metrics),
        "## Recipe",
        "",
        *(f"- `{key}`: `{value}`" for key in _RECIPE if (value := _at(settings, key, refined)) not in (None, [], {})),
        "",
        "The whole config is `config.yaml` of the MLflow run.",
        "",
        "## Lineage",
        "",
        *(f"- {key.removeprefix('stillery.')}: `{value}`" for key, value in sorted(tags.items()) if _is_lineage(key)),
        "",
        "## Licences",
        "",
        "Those of the base model, of the teacher and of the problems hold. Of one that is not stated, ask before you "
        "share the model.",
        "",
        *(f"- {source}: {', '.join(names) or 'not stated'}" for source, names in licenses.items()),
        "",
    ]
    return "\n".join(lines)


def _public(model: str) -> str:
    """The name of a model without its folder or bucket: cards are shared."""
    return PurePosixPath(model).name if model.startswith(("/", "~", ".")) or "://" in model else model


def _figures(metrics: Mapping[str, float]) -> list[str]:
    rows: list[str] = []
    for split in sorted({key.split("/")[1] for key in metrics if key.count("/") == 2 and key.split("/")[0] in _MODELS}):
        for model, title in _MODELS.items():
            if (value := metrics.get(f"{model}/{split}/pass_at_1")) is None:
                continue
            error = metrics.get(f"{model}/{split}/pass_at_1_standard_error", 0.0)
            count = metrics.get(f"{model}/{split}/num_problems", 0)
            rows.append(f"| {split} | {title} | {count:.0f} | {value:.3f} ± {error:.3f} |")
    head = ["## Figures", "", "pass@1 ± one standard error over problems.", ""]
    return [*head, "| split | model | problems | pass@1 |", "|---|---|---:|---:|", *rows, ""] if rows else []


def _at(settings: Mapping[str, Any], key: str, refined: bool) -> Any:
    section, _, name = key.partition(".")
    if section == "refine" and not refined:
        return None
    return (settings.get(section) or {}).get(name)


def _is_lineage(key: str) -> bool:
    return key == "stillery.git_revision" or key.startswith("stillery.fingerprint.")
