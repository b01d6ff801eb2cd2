"""Problems from files and from Hugging Face datasets.

In: the prompts section of the config. Out: Prompt rows of train, validation and test. Their columns are mapped to
ours by `prompts.columns`; every fault of the data is a UserError that names the row, the column and the remedy.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from stillery.config import PromptsConfig, suggest
from stillery.errors import UserError
from stillery.prompts.gold import FORMATS, read_gold
from stillery.prompts.rows import Row, read_file, read_hub
from stillery.prompts.splits import Placed, carve_validation, check_disjoint_splits, check_unique
from stillery.records import AnswerKind, Prompt, Split, digest
from stillery.verify.compare import AUTO

REQUIRED = ("question", "answer")
COLUMNS = (*REQUIRED, "task", "prompt_id", "choices", "answer_kind")

# What other datasets call these; they are only ever suggested, since a guess could take the wrong column.
_LIKELY = {
    "question": ("problem", "prompt", "query", "input", "instruction", "text"),
    "answer": ("final_answer", "expected_answer", "gold", "target", "label", "solution", "output", "response"),
}


def load_prompts(config: PromptsConfig, *, revision: str | None = None) -> list[Prompt]:
    """The problems of the source `file` or `hub`, train first, then validation, then test.

    `limit_train` and `limit_test` keep the first so many of a split; validation is carved out of what is kept.
    Raises UserError for whatever is wrong with the settings or the data.
    """
    _check_settings(config)
    given = _read(config, revision=revision)
    splits = {split: to_problems(rows, config=config, split=split) for split, rows in given.items()}
    for problems in splits.values():
        check_unique(problems)
    check_disjoint_splits(splits)
    train, test = splits[Split.TRAIN][: config.limit_train], splits[Split.TEST][: config.limit_test]
    validation = splits.get(Split.VALIDATION)
    if validation is None:
        train, validation = carve_validation(train, fraction=config.validation_fraction)
    if all(placed.prompt.answer is None for placed in test):
        raise UserError(f"prompts.test={config.test}: no problem of it has an answer, so nothing could be measured")
    return [placed.prompt for placed in (*train, *validation, *test)]


def split_names(config: PromptsConfig) -> dict[Split, str]:
    """The file or the dataset's split that each of our splits comes from. Raises UserError without train or test."""
    names = {Split.TRAIN: config.train, Split.VALIDATION: config.validation, Split.TEST: config.test}
    for split in (Split.TRAIN, Split.TEST):
        if names[split] is None:
            why = "the student could not be measured" if split == Split.TEST else "there is nothing to train on"
            what = "a file" if config.source == "file" else "the name of a split of the dataset"
            raise UserError(f"prompts.{split} is not set, so {why}; set it to {what}")
    return {split: name for split, name in names.items() if name is not None}


def to_problems(rows: Sequence[Row], *, config: PromptsConfig, split: Split) -> list[Placed]:
    """The rows of one split as prompts. Raises UserError for a missing column or the first faulty row."""
    columns = _resolve_columns(rows[0], config.columns)
    return [Placed(_to_prompt(row, columns=columns, config=config, split=split), row.where) for row in rows]


def _read(config: PromptsConfig, *, revision: str | None) -> dict[Split, list[Row]]:
    names = split_names(config)
    if config.source == "file":
        return {split: read_file(Path(name).expanduser()) for split, name in names.items()}
    if config.dataset is None:
        raise UserError("prompts.source is hub, but prompts.dataset is not set; name a dataset or a local folder")
    found = read_hub(config.dataset, subset=config.subset, revision=revision, splits=list(names.values()))
    return {split: found[name] for split, name in names.items()}


def _check_settings(config: PromptsConfig) -> None:
    kinds = [AUTO, *map(str, AnswerKind)]
    if config.answer_kind not in kinds:
        raise UserError(f"prompts.answer_kind is {config.answer_kind!r}{suggest(config.answer_kind, kinds)}")
    if config.answer_format not in FORMATS:
        raise UserError(f"prompts.answer_format is {config.answer_format!r}{suggest(config.answer_format, FORMATS)}")
    for key in config.columns:
        if key not in COLUMNS:
            raise UserError(f"prompts.columns.{key}: not one of our columns{suggest(key, COLUMNS)}")
    for name, limit in (("limit_train", config.limit_train), ("limit_test", config.limit_test)):
        if limit is not None and limit < 1:
            raise UserError(f"prompts.{name} is {limit}; it must be above 0, or null for all")


def _resolve_columns(first: Row, mapping: Mapping[str, str]) -> dict[str, str]:
    """Our names to theirs, for the columns that are there; the first row speaks for all."""
    resolved = {ours: mapping.get(ours, ours) for ours in COLUMNS}
    for ours, theirs in resolved.items():
        if theirs not in first.values and (ours in REQUIRED or ours in mapping):
            likely = next((name for name in _LIKELY.get(ours, ()) if name in first.values), "THEIRS")
            raise UserError(
                f"{first.where}: no column {theirs!r} for the {ours}; it has {', '.join(first.values)}. "
                f"Name the right one, such as prompts.columns.{ours}={likely}"
            )
    return {ours: theirs for ours, theirs in resolved.items() if theirs in first.values}


def _to_prompt(row: Row, *, columns: Mapping[str, str], config: PromptsConfig, split: Split) -> Prompt:
    cells = {ours: row.values.get(theirs) for ours, theirs in columns.items()}
    if columns["answer"] not in row.values:
        raise UserError(f"{row.where}: no {columns['answer']!r}; give it, or null for general data")
    question = cells["question"]
    if not isinstance(question, str) or not question.strip():
        raise UserError(f"{row.where}: {columns['question']!r} is {question!r}; expected the text of a question")
    choices = _choices(row, cells.get("choices"))
    answer, kind = _gold(row, cells, choices=choices, config=config)
    task = str(cells.get("task") or config.task)
    source = "file" if config.source == "file" else f"hub:{config.dataset}"
    identity = [question, choices] if choices else [question]
    given_id = cells.get("prompt_id")
    return Prompt(
        prompt_id=digest("prompt", source, task, *identity) if given_id is None else str(given_id),
        task=task,
        question=question,
        answer=answer,
        answer_kind=kind,
        choices=choices,
        source=source,
        split=split,
        num_steps=None,
        facts=None,
    )


def _choices(row: Row, cell: Any) -> list[str]:
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        try:
            cell = json.loads(cell)
        except json.JSONDecodeError:
            raise UserError(f"{row.where}: choices {cell[:40]!r} is not a JSON list of texts") from None
    if cell is None:
        return []
    if not isinstance(cell, list) or not all(isinstance(choice, str) for choice in cast(list[Any], cell)):
        raise UserError(f"{row.where}: choices is {str(cast(object, cell))[:40]!r}; expected a list of texts")
    return cast(list[str], cell)


def _gold(
    row: Row, cells: Mapping[str, Any], *, choices: list[str], config: PromptsConfig
) -> tuple[str | None, AnswerKind]:
    wanted = str(cells.get("answer_kind") or config.answer_kind)
    if wanted not in (AUTO, *AnswerKind):
        raise UserError(f"{row.where}: answer_kind {wanted!r}{suggest(wanted, [AUTO, *map(str, AnswerKind)])}")
    cell = cells["answer"]
    if cell is None or wanted == AnswerKind.NONE:
        return None, AnswerKind.NONE
    if isinstance(cell, bool):
        cell = "yes" if cell else "no"
    if not isinstance(cell, (str, int, float)):
        raise UserError(f"{row.where}: the answer is a {type(cell).__name__}; expected text, a number or null")
    try:
        return read_gold(str(cell), answer_format=config.answer_format, answer_kind=wanted, choices=choices)
    except ValueError as error:
        raise UserError(f"{row.where}: {error}") from None
