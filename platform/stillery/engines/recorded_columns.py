"""The columns of recorded generations, mapped to ours and checked: a row of a file to the cells of its samples."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

from stillery.config import suggest
from stillery.engines.endpoint_api import join_thinking, whole_text
from stillery.engines.recorded_files import Row
from stillery.errors import UserError

# Columns that bear these names are taken as they are; `columns` maps others to them.
NAMED = ("prompt_id", "question", "completion", "finish_reason", "num_tokens", "num_prompt_tokens", "mean_logprob")

# These are taken only where `columns` maps them: an `answer` is mostly the gold one.
MAPPED = ("thinking", "answer", "sample_index", "rendered", "model")

# Where a row holds a list of completions, each of these is a list as long.
PER_SAMPLE = ("completion", "thinking", "answer", "sample_index", "finish_reason", "num_tokens", "mean_logprob")

# What other servers call vLLM's finish reasons.
_FINISH = {"eos": "stop", "eos_token": "stop", "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length"}


def check_columns(columns: Mapping[str, str], *, key: str = "columns") -> None:
    """Raise UserError, naming the config key, for a mapping that cannot work."""
    known = (*NAMED, *MAPPED)
    for name in columns:
        if name not in known:
            raise UserError(f"{key}.{name}: not one of our columns{suggest(name, known)}")
    if ("thinking" in columns) != ("answer" in columns) or ("thinking" in columns and "completion" in columns):
        raise UserError(f"{key}: map either completion, or both thinking and answer")


def map_cells(row: Row, columns: Mapping[str, str]) -> dict[str, Any]:
    """The row's values under our names. Raises UserError where it lacks a mapped column or what is required."""
    cells = {name: row.values[name] for name in NAMED if name in row.values and name not in columns}
    for ours, theirs in columns.items():
        try:
            cells[ours] = _look_up(row.values, theirs)
        except (KeyError, IndexError, TypeError, ValueError):
            raise UserError(
                f"{row.where}: no {theirs!r}, which columns.{ours} names; it has {', '.join(map(str, row.values))}"
            ) from None
    if "completion" not in cells and "thinking" not in cells:
        raise UserError(f"{row.where}: no completion; map columns.completion to one of {', '.join(row.values)}")
    if "prompt_id" not in cells and "question" not in cells:
        raise UserError(f"{row.where}: no question; map columns.question to one of {', '.join(row.values)}")
    return cells


def _look_up(values: Any, name: str) -> Any:
    """The value of a column, or at a path of keys and list positions joined by dots."""
    if isinstance(values, Mapping) and name in values:
        return cast(Mapping[str, Any], values)[name]
    head, dot, rest = name.partition(".")
    inner = values[int(head)] if isinstance(values, list) else values[head]
    return _look_up(inner, rest) if dot else inner


def split_samples(row: Row, cells: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The cells of each sample of a row, which holds one, or lists of several."""
    main = cells["thinking"] if "thinking" in cells else cells["completion"]
    if not isinstance(main, list):
        yield dict(cells)
        return
    count = len(cast(list[Any], main))
    for name in PER_SAMPLE:
        cell = cells.get(name)
        if cell is not None and (not isinstance(cell, list) or len(cast(list[Any], cell)) != count):
            raise UserError(f"{row.where}: {name} is not a list of {count}, as there are completions")
    for position in range(count):
        yield {k: v[position] if k in PER_SAMPLE and isinstance(v, list) else v for k, v in cells.items()}


def read_completion(row: Row, cells: Mapping[str, Any]) -> str | None:
    for name in ("completion", "thinking", "answer"):
        cell = cells.get(name)
        if cell is not None and not isinstance(cell, str):
            raise UserError(
                f"{row.where}: {name} is a {type(cell).__name__}; expected text, or a list of texts. A nested value is "
                f"named by its path, such as columns.{name}=message.content"
            )
    if "thinking" not in cells:
        return None if cells["completion"] is None else whole_text(cells["completion"])
    if cells["thinking"] is None and cells["answer"] is None:
        return None
    truncated = read_finish_reason(cells.get("finish_reason")) == "length"
    return whole_text(join_thinking(cells["thinking"], cells["answer"], truncated=truncated))


def read_finish_reason(cell: Any) -> str | None:
    reason = "" if cell is None else str(cell).lower()
    return _FINISH.get(reason, reason) or None


def read_number(row: Row, cells: Mapping[str, Any], name: str) -> float | None:
    """A numeric cell; None where it is null or NaN, as data frames write a missing one."""
    cell = cells.get(name)
    try:
        value = None if cell is None else float(cell)
    except (TypeError, ValueError):
        raise UserError(f"{row.where}: {name} is {str(cell)[:40]!r}; expected a number") from None
    return None if value is None or math.isnan(value) else value
