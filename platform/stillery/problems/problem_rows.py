"""Converts a row of a file or dataset to a Prompt; an error is a RowError that names the remedy."""

import datetime
import decimal
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stillery.config import PromptsConfig, suggest
from stillery.io.readers.cells import NO_COLUMN, checked, look_up, names_of, printable, read_id, read_text
from stillery.io.readers.normalization import question_key
from stillery.io.readers.options import show_options
from stillery.io.readers.rows import Row, RowError, kind_of
from stillery.io.readers.shapes import columns_of, conversation_of, read_turns
from stillery.problems.choices import read_choices, resolve_choice
from stillery.problems.code_rows import code_columns, read_tests
from stillery.problems.gold import extract, read_gold
from stillery.records import AnswerKind, Prompt, Split, digest
from stillery.verify.choices import choice_of
from stillery.verify.compare import AUTO

REQUIRED = ("question", "answer")
COLUMNS = (*REQUIRED, "task", "prompt_id", "choices", "answer_kind", "tests")

BAD_SHAPE = "conversation of several turns"
BAD_TESTS = "unfit tests"

# Other datasets' names for these; they are only suggested, since a guess could take the wrong column.
LIKELY = {
    "question": ("problem", "prompt", "query", "input", "instruction", "text", "question_text", "messages"),
    "answer": (
        "final_answer", "correct_answer", "expected_answer", "ground_truth", "gold", "gt", "target", "label",
        "answerKey", "solution", "output", "response", "completion",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Placed:
    """A problem and its place of origin; problems with equal `key` are the same."""

    prompt: Prompt
    where: str
    key: str


def to_problem(row: Row, *, config: PromptsConfig, split: Split, seen: set[str]) -> Placed:
    """The row as a problem. The names of its columns are added to `seen`."""
    cells = _cells(row, config.columns)
    seen.update(cells)
    question = _question(row, cells, config)
    choices, labels = read_choices(row, cells.get("choices"))
    answer, kind = _gold(row, cells, choices=choices, labels=labels, config=config)
    task = read_id(row, _column("task", config), cells.get("task")) or config.task
    source = "file" if config.source == "file" else f"hub:{config.dataset}"
    identity = [question, choices] if choices else [question]
    given_id = read_id(row, _column("prompt_id", config), cells.get("prompt_id"))
    prompt = Prompt(
        prompt_id=digest("prompt", source, task, *identity) if given_id is None else given_id,
        task=task,
        question=show_options(question, choices),
        answer=answer,
        answer_kind=kind,
        choices=choices,
        source=source,
        split=split,
        num_steps=None,
        facts=None,
    )
    return Placed(prompt, row.where, question_key(question, choices))


def _column(ours: str, config: PromptsConfig) -> str:
    return config.columns.get(ours, ours)


def _cells(row: Row, mapping: Mapping[str, str]) -> dict[str, Any]:
    """The row's cells under our names, for the existing columns."""
    values: Mapping[str, Any] = row.values
    needs_shape = any(ours not in mapping and ours not in values for ours in REQUIRED)
    if needs_shape or any(theirs not in values for theirs in mapping.values()):
        values = {**_shaped(row), **values}
    cells: dict[str, Any] = {}
    for ours in COLUMNS:
        try:
            cells[ours] = look_up(values, mapping[ours]) if ours in mapping else values[ours]
        except LookupError:
            has_tests = ours == "answer" and mapping.get("tests", "tests") in values
            if ours in REQUIRED and not has_tests:
                raise _missing(row, ours, mapping.get(ours, ours), values) from None
    return cells


def _shaped(row: Row) -> dict[str, Any]:
    try:
        found = code_columns(row.values)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise RowError(row.where, BAD_TESTS, f"the row looks like a code problem, but {error}") from None
    try:
        found = found or columns_of(row.values)
    except ValueError as error:
        raise RowError(row.where, BAD_SHAPE, str(error)) from None
    return {} if found is None else found[1]


def _missing(row: Row, ours: str, theirs: str, values: Mapping[str, Any]) -> RowError:
    same = (name for name in values if name.strip().casefold() == theirs.casefold())
    likely = next((name for name in (*same, *LIKELY.get(ours, ())) if name in values), "THEIRS")
    remedy = f"Name the right one, such as prompts.columns.{ours}={likely}"
    held = next((name for name, cell in values.items() if isinstance(cell, list) and cell and len(values) < 4), None)
    if ours == "question" and held is not None:
        remedy = f"If the rows are in {printable(held)!r}, save that list as the file; else name the right column"
    if ours == "answer":
        remedy += "; null stands for general data"
    return RowError(
        row.where,
        f"{NO_COLUMN} for the {ours}",
        f"no column {theirs!r} for the {ours}; it has {names_of(values)}. {remedy}",
    )


def _question(row: Row, cells: Mapping[str, Any], config: PromptsConfig) -> str:
    cell = checked(row, "the question", cells["question"])
    turns = conversation_of(cell)
    if turns is not None:
        try:
            cell = read_turns(turns).question
        except ValueError as error:
            raise RowError(row.where, BAD_SHAPE, str(error)) from None
    column = repr(_column("question", config))
    question = read_text(row, column, cell, expected="the text of a question")
    if not question.strip():
        raise RowError(row.where, "no question", f"{column} is {question[:10]!r}; expected the text of a question")
    return question


def _gold(
    row: Row, cells: Mapping[str, Any], *, choices: list[str], labels: list[str], config: PromptsConfig
) -> tuple[str | None, AnswerKind]:
    wanted = read_id(row, "answer_kind", cells.get("answer_kind")) or config.answer_kind
    if wanted not in (AUTO, *AnswerKind):
        raise RowError(
            row.where, "unknown answer_kind", f"answer_kind {wanted!r}{suggest(wanted, [AUTO, *map(str, AnswerKind)])}"
        )
    if cells.get("tests") is not None or wanted == AnswerKind.CODE:
        return _tests(row, cells.get("tests", cells.get("answer"))), AnswerKind.CODE
    cell = checked(row, "the answer", cells.get("answer"))
    if cell is None or wanted == AnswerKind.NONE:
        return None, AnswerKind.NONE
    text = _written(row, cell)
    if isinstance(cell, bool) and choices and choice_of(text, choices) is None:
        text = str(cell)
    try:
        answer = extract(text, answer_format=config.answer_format)
        if choices and wanted in (AUTO, AnswerKind.CHOICE):
            is_number = isinstance(cell, (int, float))
            answer = resolve_choice(
                row, answer, choices=choices, labels=labels, named_by=config.choice_answers, is_number=is_number
            )
        return read_gold(answer, answer_kind=wanted, choices=choices)
    except ValueError as error:
        raise RowError(row.where, "unfit answer", str(error)) from None


def _tests(row: Row, cell: Any) -> str:
    try:
        return read_tests(checked(row, "the tests", cell)).to_json()
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise RowError(row.where, BAD_TESTS, str(error)) from None


def _written(row: Row, cell: Any) -> str:
    """The answer's cell as text."""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float) and not math.isfinite(cell):
        raise RowError(
            row.where, "answer is no number", f"the answer is {cell}; give a number or text, or null for general data"
        )
    if isinstance(cell, datetime.datetime) and cell.time() != datetime.time():
        raise RowError(row.where, "unfit answer", f"the answer is the time {cell}; expected text, a number or null")
    if isinstance(cell, (datetime.date, datetime.datetime)):
        return cell.isoformat()[:10]
    if isinstance(cell, decimal.Decimal):
        return format(cell, "f")
    if isinstance(cell, (int, float)):
        return str(cell)
    if not isinstance(cell, str):
        what = kind_of(cell)
        hint = "; name an entry of it, such as prompts.columns.answer=answer.0" if isinstance(cell, list) else ""
        raise RowError(row.where, "unfit answer", f"the answer is {what}; expected text, a number or null{hint}")
    return read_text(row, "the answer", cell)
