"""Recorded generations as a teacher: existing samples from another source, or from an earlier run.

In: files of generations (paths, globs, folders or fsspec URIs) with their columns mapped to ours, or the folder of a
run's own generations; and the prompts that they answer. Out: Generation rows, in the order of the files. They are read,
joined and yielded one by one: memory holds only a 64-bit digest of each, to detect duplicates.

Nothing is left out silently: `RecordedCounts` counts what was, and why, with examples.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stillery.errors import UserError
from stillery.io.readers.cells import printable, read_id, read_text
from stillery.io.readers.files import find_files, naming, read_rows
from stillery.io.readers.normalization import question_key
from stillery.io.readers.options import hide_options
from stillery.io.readers.parquet_rows import read_batches
from stillery.io.readers.rows import Row, RowError
from stillery.io.readers.skipped_rows import SkippedRows
from stillery.records import Generation, Prompt, conform, digest, from_row, sample_id
from stillery.sampling.backends.recorded_columns import (
    RecordedSample,
    check_columns,
    map_cells,
    read_sample,
    split_samples,
)

_NUM_EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The location of the generations and their format.

    `name` stands for the teacher and is part of every sample's id. `columns` maps our column names to theirs; theirs
    may be a path into nested values, such as choices.0.message.content. At most `samples_per_prompt` samples of a
    prompt are used, in order of sample index (None: all). `on_bad_row` and `max_bad_share` are as SkippedRows has them.
    """

    name: str
    files: Sequence[str]
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    samples_per_prompt: int | None = None
    on_bad_row: str = "drop"
    max_bad_share: float = 0.01


@dataclass(slots=True)
class RecordedCounts:
    """Counts of the samples found in the files: found = used + unknown + duplicate + beyond.

    Not used: `unknown` (of none of the given prompts), `duplicate` (the same sample a second time), `beyond` (more than
    samples_per_prompt). Used all the same: `repeated` (a text that the prompt already has under another index), `empty`
    (no text), `missing` (null: an error row), `uncounted` (no number of tokens: 0). The files' own verdicts on the
    samples that are used: `called_correct`, `called_wrong`.

    Rows in which no sample can be read are in `left_out`.
    """

    counts: dict[str, int] = field(default_factory=dict[str, int])
    examples: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    left_out: SkippedRows = field(default_factory=lambda: SkippedRows("teacher.recorded", "drop", 0.0))

    def add(self, what: str, where: str = "") -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
        if where and self.counts[what] <= _NUM_EXAMPLES:
            self.examples.setdefault(what, []).append(where)

    def __getitem__(self, what: str) -> int:
        return self.counts.get(what, 0)

    def summary(self) -> dict[str, Any]:
        return {"recorded": dict(self.counts), "examples": dict(self.examples), "rows": self.left_out.summary()}

    def __str__(self) -> str:
        """The log line."""
        said = ", ".join(f"{what.replace('_', ' ')} {count:,}" for what, count in self.counts.items())
        return f"samples: {said}; {self.left_out}"


class _Joiner:
    """The prompts by id and by question, and the samples seen of each."""

    def __init__(self, prompts: Iterable[Prompt]) -> None:
        self.questions: dict[str, str] = {}
        self.by_question: dict[str, str | None] = {}
        # Bit i is set where sample index i of the prompt is taken.
        self.taken: dict[str, int] = {}
        self.seen: set[int] = set()
        for prompt in prompts:
            self.questions[prompt.prompt_id] = prompt.question
            # The source may have put the options into the question, or into a column of their own.
            bare = hide_options(prompt.question, prompt.choices)
            for key in {question_key(prompt.question), question_key(bare)}:
                self.by_question[key] = None if key in self.by_question else prompt.prompt_id

    def again(self, *parts: Any) -> bool:
        """Whether these parts were seen before; marks them as seen."""
        key = int(digest(*parts)[:16], 16)
        known = key in self.seen
        self.seen.add(key)
        return known

    def take_index(self, prompt_id: str, wanted: int | None) -> int:
        """The wanted sample index if it is free, else the next after the last."""
        taken = self.taken.get(prompt_id, 0)
        index = taken.bit_length() if wanted is None or taken >> wanted & 1 else wanted
        self.taken[prompt_id] = taken | 1 << index
        return index


def read_recorded(recorded: Recorded, prompts: Iterable[Prompt], *, tally: RecordedCounts) -> Iterator[Generation]:
    """The recorded samples of these prompts, in the order of the files; `tally` is updated on the way.

    Raises UserError for a file that cannot be read, where more rows are unusable than `max_bad_share` allows (at the
    first one with `on_bad_row: error`), and where no sample belongs to any prompt.
    """
    check_columns(recorded.columns)
    joiner = _Joiner(prompts)
    tally.left_out = SkippedRows("teacher.recorded", recorded.on_bad_row, recorded.max_bad_share)
    failed: dict[str, Generation] = {}
    for filesystem, path in find_files(recorded.files, key="teacher.recorded.files"):
        if _is_own(filesystem, path):
            yield from _own(filesystem, path, joiner=joiner, recorded=recorded, failed=failed, tally=tally)
        else:
            yield from _foreign(filesystem, path, joiner=joiner, recorded=recorded, tally=tally)
    tally.left_out.check()
    # A failed sample gives way to a later one with its id, as in the log.
    for row in failed.values():
        if joiner.again("sample", row.sample_id):
            tally.add("duplicate", f"sample {row.sample_id}")
        else:
            tally.add("missing", f"sample {row.sample_id}: {row.error}")
            tally.add("used")
            yield replace(row, sample_index=joiner.take_index(row.prompt_id, row.sample_index))
    if tally["used"] == 0:
        raise UserError(
            f"{', '.join(recorded.files)}: of {tally['found']} samples none belongs to one of the "
            f"{len(joiner.questions)} prompts (first: {'; '.join(tally.examples.get('unknown', ['no rows']))}); map "
            "columns.question or columns.prompt_id to the column that the prompts were made of"
        )


def _foreign(
    filesystem: Any, path: str, *, joiner: _Joiner, recorded: Recorded, tally: RecordedCounts
) -> Iterator[Generation]:
    for row in read_rows(filesystem, path):
        tally.left_out.num_rows += 1
        try:
            if isinstance(row, RowError):
                raise row
            cells = map_cells(row, recorded.columns)
            prompt_id = _join(row, cells, joiner=joiner, by_question="question" in recorded.columns)
            samples = [read_sample(row, cells_of_one) for cells_of_one in split_samples(row, cells)]
        except RowError as fault:
            tally.left_out.add(fault)
            continue
        for sample in samples:
            tally.add("found")
            if prompt_id is None:
                asked = printable(str(cells.get("question") or cells.get("prompt_id"))[:60])
                tally.add("unknown", f"{row.where}: {asked!r}")
                continue
            generation = _generation(sample, row.where, prompt_id, joiner=joiner, recorded=recorded, tally=tally)
            if generation is not None:
                yield generation


def _join(row: Row, cells: Mapping[str, Any], *, joiner: _Joiner, by_question: bool) -> str | None:
    """The id of the prompt that a row answers: by prompt_id where there is one, unless the question was mapped."""
    given = read_id(row, "prompt_id", cells.get("prompt_id"))
    if given is not None and not (by_question and given not in joiner.questions):
        return given if given in joiner.questions else None
    asked = cells.get("question")
    key = question_key("" if asked is None else read_text(row, "question", asked, expected="the text of a question"))
    if key in joiner.by_question and joiner.by_question[key] is None:
        raise RowError(
            row.where,
            "question of several prompts",
            "several prompts ask this question; map columns.prompt_id to tell them apart",
        )
    return joiner.by_question.get(key)


def _generation(
    sample: RecordedSample, where: str, prompt_id: str, *, joiner: _Joiner, recorded: Recorded, tally: RecordedCounts
) -> Generation | None:
    """One sample as a record; None for one that is not used."""
    completion = sample.completion
    if sample.sample_index is not None and joiner.again("index", prompt_id, sample.sample_index, completion):
        tally.add("duplicate", where)
        return None
    index = joiner.take_index(prompt_id, sample.sample_index)
    if recorded.samples_per_prompt is not None and index >= recorded.samples_per_prompt:
        tally.add("beyond")
        return None
    tally.add("used")
    if completion is None:
        tally.add("missing", f"{where}: {printable(sample.error)}" if sample.error else where)
    elif not completion.strip():
        tally.add("empty", where)
    elif joiner.again("text", prompt_id, completion):
        tally.add("repeated", where)
    if sample.num_tokens is None:
        tally.add("uncounted")
    if sample.is_correct is not None:
        tally.add("called_correct" if sample.is_correct else "called_wrong")
    rendered = sample.rendered or joiner.questions[prompt_id]
    made_of = {"recorded": recorded.name, "completion": completion}
    return Generation(
        sample_id=sample_id(prompt_id=prompt_id, rendered=rendered, model=recorded.name, sampling=made_of, index=index),
        prompt_id=prompt_id,
        sample_index=index,
        seed=0,
        rendered=rendered,
        completion=completion or "",
        finish_reason=sample.finish_reason,
        num_prompt_tokens=sample.num_prompt_tokens,
        num_tokens=sample.num_tokens or 0,
        mean_logprob=sample.mean_logprob,
        model=sample.model or recorded.name,
        sampling=json.dumps({"recorded": recorded.name}),
        attempt=0,
        surplus=False,
        error=(sample.error or "recorded without a completion") if completion is None else None,
    )


def _is_own(filesystem: Any, path: str) -> bool:
    """Whether a file is a table of Generation rows, which a run wrote."""
    if not path.endswith(".parquet"):
        return False
    with filesystem.open(path, "rb") as file, naming(path):
        # A compressed file cannot be a run's own: runs write none.
        if file.read(4) != b"PAR1":
            return False
        metadata = pq.read_schema(file).metadata or {}
    return metadata.get(b"stillery.record") == Generation.__name__.encode()


def _own(
    filesystem: Any,
    path: str,
    *,
    joiner: _Joiner,
    recorded: Recorded,
    failed: dict[str, Generation],
    tally: RecordedCounts,
) -> Iterator[Generation]:
    """A run's own rows keep their ids, models and settings. Failed ones are collected in `failed`."""
    for batch in _batches(filesystem, path):
        for values in conform(pa.Table.from_batches([batch]), Generation).to_pylist():
            row = from_row(values, Generation)
            where = f"{path}: sample {row.sample_id}"
            tally.add("found")
            if row.prompt_id not in joiner.questions:
                tally.add("unknown", f"{where} of prompt {row.prompt_id}")
            elif recorded.samples_per_prompt is not None and row.sample_index >= recorded.samples_per_prompt:
                tally.add("beyond")
            elif row.error is not None:
                if row.sample_id in failed:
                    tally.add("duplicate", where)
                failed[row.sample_id] = row
            elif joiner.again("sample", row.sample_id):
                tally.add("duplicate", where)
            else:
                tally.add("used")
                yield replace(row, sample_index=joiner.take_index(row.prompt_id, row.sample_index))


def _batches(filesystem: Any, path: str) -> Iterator[pa.RecordBatch]:
    with naming(path), filesystem.open(path, "rb") as file:
        yield from read_batches(file)
