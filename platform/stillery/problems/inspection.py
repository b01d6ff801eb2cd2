"""`stillery prompts --inspect FILE`: describes a file and proposes the config that reads it.

Out: YAML. The description is in comments; below it are the sections `prompts` (the file as problems) and `teacher` (as
recorded generations), as far as it can be either. A mapping is proposed only after rows were read with it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from omegaconf import OmegaConf

from stillery.config import PromptsConfig
from stillery.errors import UserError
from stillery.io.readers.cells import printable, shown
from stillery.io.readers.files import find_files, open_plain, read_rows, suffix_of
from stillery.io.readers.rows import Row, RowError, Unreadable
from stillery.io.readers.shapes import columns_of, conversation_of
from stillery.io.readers.skipped_rows import SkippedRows
from stillery.problems.code_rows import code_columns
from stillery.problems.problem_rows import LIKELY, to_problem
from stillery.records import AnswerKind, Split
from stillery.sampling.backends.recorded_columns import NAMED, map_cells, read_sample, split_samples

_LOOKED_ROWS = 10_000
_TRIED_ROWS = 300
_MAX_COLUMNS = 60
_MAX_DEPTH = 4
# A longer text is a worked solution, not an answer.
_ANSWER_CHARS = 200
_FORMATS = {
    ".jsonl": "JSON lines", ".ndjson": "JSON lines", ".json": "JSON", ".csv": "CSV", ".tsv": "TSV",
    ".parquet": "Parquet",
}  # fmt: skip
_COMPLETIONS = (
    "generations", "generation", "completions", "responses", "response", "outputs", "output", "generated_text",
    "full_response", "model_output", "model_response", "prediction", "content", "code", "text",
)  # fmt: skip
_THINKING = (
    ("deepseek_reasoning", "deepseek_solution"), ("reasoning_content", "content"), ("reasoning_trace", "answer_text"),
    ("reasoning", "response"), ("thinking", "response"), ("thinking", "answer"), ("reasoning", "answer"),
    ("reasoning", "content"),
)  # fmt: skip
_OTHERS = {
    "finish_reason": ("finish_reasons", "stop_reason"),
    "num_tokens": ("completion_tokens", "output_tokens", "total_generated_tokens"),
    "num_prompt_tokens": ("prompt_tokens", "input_tokens"),
    "mean_logprob": ("mean_log_prob",),
    "model": ("model", "model_name", "generator"),
    "sample_index": ("sample_index", "sample_idx"),
    "is_correct": ("is_correct", "correctness"),
}


_SCALARS = ("text", "integer", "number", "boolean")
_TYPES: dict[type[Any], str] = {
    str: "text", bool: "boolean", int: "integer", float: "number", dict: "object", Unreadable: "unreadable",
    type(None): "null",
}  # fmt: skip


@dataclass(slots=True)
class _Column:
    """A column, or a path into nested values: how often it has a value, their types, and the first one."""

    num_values: int = 0
    types: Counter[str] = field(default_factory=Counter[str])
    example: str = ""
    total_chars: int = 0

    def add(self, cell: Any) -> None:
        if cell is None:
            return
        self.num_values += 1
        self.types[_type_of(cell)] += 1
        self.total_chars += len(cell) if isinstance(cell, str) else 0
        self.example = self.example or _shown(cell)

    @property
    def type(self) -> str:
        return self.types.most_common(1)[0][0] if self.types else "null"


@dataclass(slots=True)
class _Seen:
    """The contents of a file, as far as inspected."""

    rows: list[Row] = field(default_factory=list[Row])
    columns: dict[str, _Column] = field(default_factory=dict[str, _Column])
    shapes: Counter[str] = field(default_factory=Counter[str])
    given: set[str] = field(default_factory=set[str])
    left_out: SkippedRows = field(default_factory=lambda: SkippedRows("prompts", "drop", 1.0))

    def has(self, name: str, *types: str) -> bool:
        return name in self.columns and (not types or self.columns[name].type in types)

    def find(self, names: Iterable[str], *types: str) -> str | None:
        """The first of the names that is a column, else the first that ends a column's path."""
        for name in names:
            if self.has(name, *types):
                return name
        for name in names:
            nested = next((path for path in self.columns if _ends(path, name) and self.has(path, *types)), None)
            if nested is not None:
                return nested
        return None


def _ends(path: str, name: str) -> bool:
    """Whether a path leads to this name; values within a question's choices are not columns."""
    return path.endswith(f".{name}") and not path.startswith(("choices.text", "choices.label"))


def inspect_file(name: str) -> str:
    """The description and proposal as YAML. Raises UserError for a file that cannot be read."""
    found = find_files([name], key="--inspect")
    seen = _look(found)
    if not seen.left_out.num_rows:
        raise UserError(f"{name}: has no rows; give a file with at least one")
    proposal: dict[str, Any] = {}
    notes = [*_described(found, seen)]
    for read in (_as_problems, _as_recorded):
        section, said = read(seen, name, [path for _, path in found])
        proposal |= section
        notes += said
    comments = "".join(f"# {printable(note) if note.strip() == note else note.rstrip()}\n" for note in notes)
    return comments + (OmegaConf.to_yaml(OmegaConf.create(proposal)) if proposal else "")


def _look(found: Sequence[tuple[Any, str]]) -> _Seen:
    seen = _Seen()
    for filesystem, path in found:
        for row in read_rows(filesystem, path):
            seen.left_out.num_rows += 1
            if isinstance(row, RowError):
                seen.left_out.add(row)
            elif seen.left_out.num_rows <= _LOOKED_ROWS:
                _add(seen, row)
    return seen


def _add(seen: _Seen, row: Row) -> None:
    if len(seen.rows) < _TRIED_ROWS:
        seen.rows.append(row)
    for path, cell in _leaves(row.values, "", 1):
        if path in seen.columns or len(seen.columns) < _MAX_COLUMNS:
            seen.columns.setdefault(path, _Column()).add(cell)
    try:
        shaped = code_columns(row.values) or columns_of(row.values)
    except (ValueError, LookupError, TypeError) as error:
        seen.shapes[f"unusable: {error}"] += 1
        return
    if shaped is not None:
        seen.shapes[shaped[0]] += 1
        seen.given |= {name for name, cell in shaped[1].items() if cell is not None}


def _leaves(value: Any, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value and depth <= _MAX_DEPTH:
        for name, inner in cast(Mapping[str, Any], value).items():
            yield from _leaves(inner, f"{prefix}.{name}" if prefix else name, depth + 1)
        return
    yield prefix, value
    items = cast(list[Any], value) if isinstance(value, list) else []
    if items and isinstance(items[0], Mapping) and conversation_of(items) is None and depth <= _MAX_DEPTH:
        yield from _leaves(items[0], f"{prefix}.0", depth + 1)


def _type_of(cell: Any) -> str:
    if conversation_of(cell) is not None:
        return "conversation"
    if isinstance(cell, list):
        inner = {_type_of(item) for item in cast(list[Any], cell)[:20]}
        return f"list of {inner.pop()}" if len(inner) == 1 else "list"
    names = {
        str: "text",
        bool: "boolean",
        int: "integer",
        float: "number",
        dict: "object",
        Unreadable: "unreadable",
        type(None): "null",
    }
    return names.get(type(cell), type(cell).__name__)


def _shown(cell: Any) -> str:
    if isinstance(cell, list):
        items = cast(list[Any], cell)
        first = f": {shown(items[0])}" if items and not isinstance(items[0], dict) else ""
        return f"{len(items)} of them{first}"
    return shown(cell)


def _described(found: Sequence[tuple[Any, str]], seen: _Seen) -> Iterator[str]:
    for filesystem, path in found:
        with open_plain(filesystem, path) as (_, compression):
            how = f", compressed with {compression}" if compression else ""
        yield f"{path}: {_FORMATS[suffix_of(path)]}{how}"
    rest = f", of which {seen.left_out}" if seen.left_out.total else ""
    yield from f"{seen.left_out.num_rows:,} rows{rest}".splitlines()
    yield "columns:"
    width = max((len(name) for name in seen.columns), default=0)
    of = min(seen.left_out.num_rows, _LOOKED_ROWS)
    for name, column in seen.columns.items():
        share = "" if column.num_values == of else f" in {column.num_values:,} of {of:,}"
        kinds = " or ".join(column.types) or "null"
        yield f"  {printable(name):<{min(width, 40)}}  {kinds}{share}: {column.example}"
    for shape, count in seen.shapes.items():
        yield f"shape: {shape} ({count:,} rows), which gives {', '.join(sorted(seen.given)) or 'nothing'}"


def _as_problems(seen: _Seen, name: str, _: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The section that reads the file as problems."""
    columns = _question(seen)
    if columns is None:
        return {}, ["as problems: no column looks like a question"]
    choices = None if seen.has("choices") else seen.find(("options", "choices"))
    if choices is not None and seen.columns[choices].type.startswith("list"):
        columns["choices"] = choices
    best: tuple[int, PromptsConfig, Counter[str], SkippedRows] | None = None
    for answer in _answers(seen):
        for answer_format in ("text", "hash", "boxed"):
            mapping = columns if answer == "answer" else {**columns, "answer": answer}
            config = PromptsConfig(source="file", train=name, columns=mapping, answer_format=answer_format)
            kinds, left_out = _try_problems(seen.rows, config)
            if best is None or sum(kinds.values()) > best[0]:
                best = sum(kinds.values()), config, kinds, left_out
    if best is None or best[0] == 0:
        return {}, ["as problems: no column looks like a gold answer; map prompts.columns.answer to the right one"]
    num_read, config, kinds, left_out = best
    said = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    notes = [f"as problems: {num_read} of the first {len(seen.rows)} rows are read, answers: {said}"]
    if left_out.total:
        notes += str(left_out).splitlines()
    section: dict[str, Any] = {"source": "file", "train": name, "test": None, "columns": dict(config.columns)}
    notes.append("set prompts.test to the file of test problems")
    return {"prompts": section | {"answer_format": config.answer_format}}, notes


def _question(seen: _Seen) -> dict[str, str] | None:
    if seen.has("question", "text", "conversation") or "question" in seen.given:
        return {}
    found = seen.find(("question", *LIKELY["question"]), "text", "conversation")
    return None if found is None else {"question": found}


def _answers(seen: _Seen) -> Iterator[str]:
    if "tests" in seen.given or any(path.partition(".")[0] == "tests" for path in seen.columns):
        yield "answer"  # The tests of a code problem count as its answer.
    names = ("answer", *LIKELY["answer"])
    yield from (name for name in names if seen.has(name) or name in seen.given)
    for name in names:
        yield from (path for path in seen.columns if path.endswith(f".{name}"))


def _try_problems(rows: Sequence[Row], config: PromptsConfig) -> tuple[Counter[str], SkippedRows]:
    """The kinds of the answers read with a config, and the rows left out. As `text`, long ones are not answers."""
    kinds = Counter[str]()
    left_out = SkippedRows("prompts", "drop", 1.0, num_rows=len(rows))
    for row in rows:
        try:
            prompt = to_problem(row, config=config, split=Split.TRAIN, seen=set()).prompt
            is_code = prompt.answer_kind == AnswerKind.CODE
            if prompt.answer is not None and (is_code or len(prompt.answer) <= _ANSWER_CHARS):
                kinds[prompt.answer_kind] += 1
        except RowError as fault:
            left_out.add(fault)
    return kinds, left_out


def _as_recorded(seen: _Seen, name: str, paths: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The section that reads the file as recorded generations."""
    columns = _completion(seen)
    if columns is None:
        return {}, ["as recorded generations: no column looks like a completion"]
    question = _question(seen)
    if question is not None:
        columns |= question
    elif seen.has("custom_id") and "prompt_id" not in seen.given:
        columns["prompt_id"] = "custom_id"
    for ours, theirs in _OTHERS.items():
        found = seen.find(
            theirs, "text", "integer", "number", "boolean", "list of text", "list of integer", "list of boolean"
        )
        is_taken_anyhow = ours in seen.given or (ours in NAMED and seen.has(ours))
        if found is not None and not is_taken_anyhow:
            columns[ours] = found
    num_rows, num_samples, left_out = _try_recorded(seen.rows, columns)
    if not num_samples:
        return {}, ["as recorded generations: no completion can be read", *str(left_out).splitlines()]
    notes = [f"as recorded generations: {num_samples} samples in {num_rows} of the first {len(seen.rows)} rows"]
    if left_out.total:
        notes += str(left_out).splitlines()
    model = paths[0].rsplit("/", 1)[-1].split(".")[0] or "recorded"
    recorded = {"files": [name], "columns": columns}
    return {"teacher": {"kind": "recorded", "model": model, "recorded": recorded}}, notes


def _completion(seen: _Seen) -> dict[str, str] | None:
    types = ("text", "list of text", "conversation", "list of conversation")
    if seen.has("completion", *types) or "completion" in seen.given:
        return {}
    for thinking, answer in _THINKING:
        if seen.has(thinking, *types) and seen.has(answer, *types):
            return {"thinking": thinking, "answer": answer}
    found = seen.find(_COMPLETIONS, *types)
    return None if found is None else {"completion": found}


def _try_recorded(rows: Sequence[Row], columns: Mapping[str, str]) -> tuple[int, int, SkippedRows]:
    num_rows = num_samples = 0
    left_out = SkippedRows("teacher.recorded", "drop", 1.0, num_rows=len(rows))
    for row in rows:
        try:
            samples = [read_sample(row, cells) for cells in split_samples(row, map_cells(row, columns))]
            num_samples += sum(sample.completion is not None for sample in samples)
            num_rows += 1
        except RowError as fault:
            left_out.add(fault)
    return num_rows, num_samples, left_out
