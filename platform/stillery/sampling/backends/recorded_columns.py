"""The columns of recorded generations, mapped to ours and checked: from a row of a file to the cells of its samples."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from stillery.config import suggest
from stillery.errors import UserError
from stillery.io.readers.cells import NO_COLUMN, NOT_TEXT, checked, look_up, names_of, read_id, read_number, read_text
from stillery.io.readers.rows import Row, RowError, kind_of
from stillery.io.readers.shapes import columns_of, conversation_of, read_turns, unmark
from stillery.sampling.backends.openai_api import error_message, join_thinking, whole_text

# Columns with these names are used directly; `columns` maps others to them.
NAMED = (
    "prompt_id", "question", "completion", "finish_reason", "num_tokens", "num_prompt_tokens", "mean_logprob", "error",
)  # fmt: skip

# These are used only where `columns` maps them, or the row's shape implies them: an `answer` is mostly the gold one.
MAPPED = ("thinking", "answer", "sample_index", "rendered", "model", "is_correct")

# Where a row holds a list of completions, each of these is a list of the same length.
PER_SAMPLE = (
    "completion", "thinking", "answer", "sample_index", "finish_reason", "num_tokens", "mean_logprob", "is_correct",
)  # fmt: skip

# Other servers' names for vLLM's finish reasons.
_FINISH = {
    **dict.fromkeys(("eos", "eos_token", "end_turn", "stop_sequence", "completed"), "stop"),
    **dict.fromkeys(
        ("max_tokens", "model_length", "max_output_tokens", "incomplete", "model_context_window_exceeded"), "length"
    ),
}


_MAX_INDEX = 1_000_000
# An upper bound on any model's context.
_MAX_TOKENS = 1_000_000_000


def check_columns(columns: Mapping[str, str], *, key: str = "columns") -> None:
    """Raise UserError, naming the config key, for a mapping that cannot work."""
    known = (*NAMED, *MAPPED)
    for name in columns:
        if name not in known:
            raise UserError(f"{key}.{name}: not one of our columns{suggest(name, known)}")
    if ("thinking" in columns) != ("answer" in columns) or ("thinking" in columns and "completion" in columns):
        raise UserError(f"{key}: map either completion, or both thinking and answer")


def map_cells(row: Row, columns: Mapping[str, str]) -> dict[str, Any]:
    """The row's values under our names: from mapped columns, else from columns of that name, else from the row's shape.
    Raises RowError where a mapped or required column is missing."""
    shaped = _shaped(row)
    cells = {name: row.values[name] for name in NAMED if name in row.values and name not in columns}
    if not {"completion", "thinking"} & (cells.keys() | columns.keys()):
        cells |= {name: cell for name, cell in shaped.items() if name not in columns and cells.get(name) is None}
    elif "question" in shaped and not {"question", "prompt_id"} & (cells.keys() | columns.keys()):
        cells["question"] = shaped["question"]
    for ours, theirs in columns.items():
        try:
            cells[ours] = look_up({**shaped, **row.values}, theirs)
        except LookupError:
            raise RowError(
                row.where,
                f"{NO_COLUMN} for the {ours}",
                f"no {theirs!r}, which columns.{ours} names; it has {names_of(row.values)}",
            ) from None
    for ours, needed in (("completion", ("completion", "thinking")), ("question", ("question", "prompt_id"))):
        if not any(name in cells for name in needed):
            raise RowError(
                row.where,
                f"{NO_COLUMN} for the {ours}",
                f"no {ours}; map columns.{ours} to one of {names_of(row.values)}",
            )
    return {name: checked(row, name, _said(row, name, cell)) for name, cell in cells.items()}


def _shaped(row: Row) -> dict[str, Any]:
    try:
        found = columns_of(row.values)
    except ValueError as error:
        raise RowError(row.where, "conversation of several turns", str(error)) from None
    return {} if found is None else found[1]


def _said(row: Row, name: str, cell: Any) -> Any:
    """The text of a cell that holds a conversation, as a question or as an answer to it."""
    turns = conversation_of(cell) if name in ("question", "completion", "answer") else None
    if turns is None:
        return cell
    try:
        if name == "question":
            return read_turns(turns).question
        # A completion may be just the turn that follows the prompt's.
        asked = turns if len(turns) > 1 else [{"role": "user", "content": ""}, *turns]
        said = read_turns(asked)
    except ValueError as error:
        raise RowError(row.where, "conversation of several turns", str(error)) from None
    return join_thinking(said.thinking, said.completion)


def split_samples(row: Row, cells: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The cells of each sample of a row, which holds one sample, or lists of several."""
    main = cells["thinking"] if "thinking" in cells else cells["completion"]
    if not isinstance(main, list):
        yield dict(cells)
        return
    count = len(cast(list[Any], main))
    if not count:
        raise RowError(row.where, "no completion", "its list of completions is empty")
    for name in PER_SAMPLE:
        cell = cells.get(name)
        if cell is not None and (not isinstance(cell, list) or len(cast(list[Any], cell)) != count):
            raise RowError(
                row.where, "lists of different lengths", f"{name} is not a list of {count}, as there are completions"
            )
    for position in range(count):
        yield {k: v[position] if k in PER_SAMPLE and isinstance(v, list) else v for k, v in cells.items()}


def _read_completion(row: Row, cells: Mapping[str, Any]) -> str | None:
    """A sample's text in the template's order: thinking in a field of its own, or between other markers, is put between
    the template's tags."""
    for name in ("completion", "thinking", "answer"):
        cell = cells.get(name)
        if cell is not None and not isinstance(cell, str):
            raise RowError(
                row.where,
                NOT_TEXT,
                f"{name} is {kind_of(cell)}; expected text, or a list of texts. A nested value is named by its path, "
                f"such as columns.{name}=message.content",
            )
        if isinstance(cell, str) and any("\udc80" <= c <= "\udcff" for c in _odd(cell)):
            read_text(row, name, cell)
    truncated = _read_finish_reason(row, cells) == "length"
    if "thinking" in cells:
        thinking, answer = cells["thinking"], cells["answer"]
        if thinking is None and answer is None:
            return None
    else:
        thinking, answer = None, cells["completion"]
        if answer is None:
            return None
        unmarked = unmark(answer)
        if unmarked is not None:
            thinking, answer = unmarked
    return whole_text(join_thinking(thinking, answer, truncated=truncated))


def _odd(text: str) -> str:
    return "" if text.isascii() else text


def _read_finish_reason(row: Row, cells: Mapping[str, Any]) -> str | None:
    """The finish reason under vLLM's name, whatever the server calls it."""
    cell = cells.get("finish_reason")
    reason = "" if cell is None else read_text(row, "finish_reason", cell).strip().lower()
    return _FINISH.get(reason, reason) or None


@dataclass(frozen=True, slots=True)
class RecordedSample:
    """One sample of a row, read."""

    completion: str | None
    finish_reason: str | None
    sample_index: int | None
    rendered: str | None
    num_prompt_tokens: int
    num_tokens: int | None
    mean_logprob: float | None
    model: str | None
    is_correct: bool | None
    error: str | None


def read_sample(row: Row, cells: Mapping[str, Any]) -> RecordedSample:
    """The cells of one sample, read and checked."""
    wanted = read_number(row, "sample_index", cells.get("sample_index"))
    if wanted is not None and not (wanted.is_integer() and 0 <= wanted < _MAX_INDEX):
        raise RowError(
            row.where,
            "bad sample_index",
            f"sample_index is {wanted:g}; expected a whole number from 0 to {_MAX_INDEX - 1}",
        )
    error, flag = cells.get("error"), cells.get("is_correct")
    return RecordedSample(
        completion=_read_completion(row, cells),
        finish_reason=_read_finish_reason(row, cells),
        sample_index=None if wanted is None else int(wanted),
        rendered=whole_text(str(cells["rendered"])) if cells.get("rendered") else None,
        num_prompt_tokens=_count(row, cells, "num_prompt_tokens") or 0,
        num_tokens=_count(row, cells, "num_tokens"),
        mean_logprob=read_number(row, "mean_logprob", cells.get("mean_logprob")),
        model=read_id(row, "model", cells.get("model")),
        is_correct=bool(flag) if isinstance(flag, (bool, int, float)) else None,
        error=whole_text(error_message(error)) if error else None,
    )


def _count(row: Row, cells: Mapping[str, Any], name: str) -> int | None:
    number = read_number(row, name, cells.get(name))
    if number is not None and not 0 <= number < _MAX_TOKENS:
        raise RowError(row.where, "not a number", f"{name} is {number:g}; expected a number of tokens")
    return None if number is None else int(number)
