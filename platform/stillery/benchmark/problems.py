"""The problems of a benchmark: from a folder of the user's, else from the Hugging Face Hub.

In: a task and, perhaps, a folder. Out: its problems as prompts of the split test, and what they were read from.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillery.benchmark.tasks import Task
from stillery.config import PromptsConfig
from stillery.errors import UserError
from stillery.io.hashing import file_fingerprint
from stillery.io.readers.cells import look_up
from stillery.io.readers.files import COMPRESSED, SUFFIXES, find_files, read_rows
from stillery.io.readers.left_out import LeftOut
from stillery.io.readers.rows import Row, RowError
from stillery.problems.files import to_problems
from stillery.problems.hub import hub_revision, read_hub
from stillery.records import Prompt, Split

# A benchmark that is not whole is another one.
_MAX_BAD_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Problems:
    """The problems of a task, in the order of their source; `source` names it with its contents' hash or the Hub's
    revision, `num_left_out` counts rows that could not be read."""

    prompts: list[Prompt]
    source: Mapping[str, str]
    num_left_out: int


def load_problems(task: Task, *, folder: Path | None, limit: int | None) -> Problems:
    """The problems of a task, the first `limit` of them.

    Raises UserError for a folder without a file of the task, what the Hub refuses, and rows that cannot be read.
    """
    file = None if folder is None else file_of(folder, task)
    rows, source = _from_hub(task, folder=folder) if file is None else _from_file(file)
    config = PromptsConfig(
        source="file",
        train=str(file or task.dataset),
        test=str(file or task.dataset),
        columns={**task.columns, **({"choices": "choices"} if task.wrong else {})},
        task=task.name,
        answer_format=task.answer_format,
        answer_kind=task.answer_kind,
    )
    left_out = LeftOut(f"benchmark {task.name}", "drop", _MAX_BAD_SHARE)
    shuffled = (_with_choices(row, task) for row in rows) if task.wrong else rows
    placed = to_problems(shuffled, config=config, split=Split.TEST, left_out=left_out)
    prompts = {p.prompt.prompt_id: p.prompt for p in placed if p.prompt.answer is not None}
    if not prompts:
        raise UserError(f"{file or task.dataset}: no problem of {task.name} has an answer, so nothing can be measured")
    return Problems(list(prompts.values())[:limit], source, left_out.total)


def own_tasks(folder: Path | None) -> list[str]:
    """The names of tasks that a folder holds files of. Raises UserError where it is no folder."""
    if folder is None:
        return []
    if not folder.is_dir():
        raise UserError(f"--data {folder}: no such folder; it holds TASK/test.jsonl or TASK.jsonl for each task")
    found = [_stem(path.name) for path in folder.iterdir() if path.is_file()]
    folders = [path.name for path in folder.iterdir() if path.is_dir()]
    return sorted({name for name in (*found, *folders) if name and file_of(folder, Task(name)) is not None})


def file_of(folder: Path, task: Task) -> Path | None:
    """The file of a task in a folder: TASK/SPLIT.* (or the one file of TASK), or TASK.*; None if there is none."""
    inside = folder / task.name
    files = sorted(p for p in inside.iterdir() if _stem(p.name)) if inside.is_dir() else []
    named = [path for path in files if _stem(path.name) in (task.split, "test")]
    beside = sorted(path for path in folder.iterdir() if path.is_file() and _stem(path.name) == task.name)
    found = named or (files if len(files) == 1 else []) or beside
    return found[0] if found else None


def _stem(name: str) -> str:
    """A file's name without the ends of what can be read; empty for what cannot."""
    plain = next((name.removesuffix(end) for end in COMPRESSED if name.endswith(end)), name)
    return next((plain.removesuffix(end) for end in SUFFIXES if plain.endswith(end)), "")


def _from_file(file: Path) -> tuple[Iterator[Row | RowError], dict[str, str]]:
    ((filesystem, path),) = find_files([str(file)], key="--data")
    return read_rows(filesystem, path), {"file": file.name, "sha256": file_fingerprint(file)}


def _from_hub(task: Task, *, folder: Path | None) -> tuple[Iterator[Row | RowError], dict[str, str]]:
    if task.dataset is None:
        raise UserError(f"{task.name}: no file of it in --data {folder}, and it has no place on the Hub")
    try:
        revision = hub_revision(task.dataset)
        rows = read_hub(task.dataset, subset=task.subset, revision=revision, splits=[task.split])[task.split]
    except UserError as error:
        raise UserError(
            f"{error}. Without a network: put {task.name}.jsonl (or {task.name}/{task.split}.jsonl) into a folder, and "
            "give --data FOLDER"
        ) from None
    subset = {} if task.subset is None else {"subset": task.subset}
    return rows, {"dataset": task.dataset, **subset, "split": task.split, "revision": revision or "a local folder"}


def _with_choices(row: Row | RowError, task: Task) -> Row | RowError:
    """The row with its right and wrong answers as choices, in an order that the question alone decides."""
    if isinstance(row, RowError):
        return row
    try:
        names = (task.columns["question"], task.columns["answer"], *task.wrong)
        question, *choices = (str(look_up(row.values, name)).strip() for name in names)
    except LookupError:
        return row
    right = choices[0]
    random.Random(question).shuffle(choices)
    values: dict[str, Any] = {**row.values, task.columns["answer"]: right, "choices": choices}
    return Row(row.where, values)
