"""The problems of a benchmark: from the user's folder, else from the Hugging Face Hub.

In: a task and, optionally, a folder. Out: its problems as prompts of the split test, and their source.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillery.benchmark.tasks import Task
from stillery.config import PromptsConfig
from stillery.errors import UserError
from stillery.io.readers.cells import look_up
from stillery.io.readers.rows import Row, RowError
from stillery.io.readers.skipped_rows import SkippedRows
from stillery.problems.files import to_problems
from stillery.problems.standard_sets import StandardSet, copy_of, file_of, open_set, stem_of
from stillery.records import Prompt, Split

# An incomplete benchmark is a different one.
_MAX_BAD_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class TaskProblems:
    """The problems of a task, in the order of their source; `source` names it with its contents' hash or the Hub's
    revision, `num_left_out` counts rows that could not be read."""

    prompts: list[Prompt]
    source: Mapping[str, str]
    num_left_out: int


def load_problems(task: Task, *, folder: Path | None, limit: int | None) -> TaskProblems:
    """The problems of a task, the first `limit` of them.

    Raises UserError for a folder without a file of the task, a refusal by the Hub, and rows that cannot be read.
    """
    read = task.problems
    rows, source = open_set(read, folder=folder, key="--data DATA")
    place = str((folder and (file_of(folder, read) or copy_of(folder, read))) or read.dataset)
    config = PromptsConfig(
        source="file",
        train=place,
        test=place,
        columns={**read.columns, **({"choices": "choices"} if read.wrong else {})},
        task=task.name,
        answer_format=read.answer_format,
        answer_kind=read.answer_kind,
    )
    left_out = SkippedRows(f"benchmark {task.name}", "drop", _MAX_BAD_SHARE)
    shuffled = (_with_choices(row, read) for row in rows) if read.wrong else rows
    placed = to_problems(shuffled, config=config, split=Split.TEST, left_out=left_out)
    prompts = {p.prompt.prompt_id: p.prompt for p in placed if p.prompt.answer is not None}
    if not prompts:
        raise UserError(f"{place}: no problem of {task.name} has an answer, so nothing can be measured")
    return TaskProblems(list(prompts.values())[:limit], source, left_out.total)


def own_tasks(folder: Path | None) -> list[str]:
    """The names of the tasks whose files a folder contains. Raises UserError for a path that is not a folder."""
    if folder is None:
        return []
    if not folder.is_dir():
        raise UserError(f"--data {folder}: no such folder; it holds TASK/test.jsonl or TASK.jsonl for each task")
    found = [stem_of(path.name) for path in folder.iterdir() if path.is_file()]
    folders = [path.name for path in folder.iterdir() if path.is_dir()]
    return sorted({name for name in (*found, *folders) if name and file_of(folder, StandardSet(name)) is not None})


def _with_choices(row: Row | RowError, read: StandardSet) -> Row | RowError:
    """The row with its right and wrong answers as choices, in an order that depends only on the question."""
    if isinstance(row, RowError):
        return row
    try:
        names = (read.columns["question"], read.columns["answer"], *read.wrong)
        question, *choices = (str(look_up(row.values, name)).strip() for name in names)
    except LookupError:
        return row
    right = choices[0]
    random.Random(question).shuffle(choices)
    values: dict[str, Any] = {**row.values, read.columns["answer"]: right, "choices": choices}
    return Row(row.where, values)
