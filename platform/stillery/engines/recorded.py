"""Recorded generations as a teacher: samples that someone else, or an earlier run, has made already.

In: files of generations (JSONL, Parquet or CSV, also compressed; paths, globs, folders or fsspec URIs) with their
columns mapped to ours, or the folder of a run's own generations; and the prompts that they answer. Out: Generation
rows, in the order of the files. They are read, joined and handed on one by one: what stays in memory of each is a
64-bit digest, to know it again.

Nothing is left out silently: a `Tally` counts what was, and why, with examples.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from stillery.engines.endpoint_api import whole_text
from stillery.engines.recorded_columns import (
    check_columns,
    map_cells,
    read_completion,
    read_finish_reason,
    read_number,
    split_samples,
)
from stillery.engines.recorded_files import Row, find_files, is_own, read_batches, read_rows
from stillery.errors import UserError
from stillery.hashing import file_fingerprint
from stillery.records import Generation, Prompt, conform, digest, from_row, sample_id

_MAX_INDEX = 1_000_000

_NUM_EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Where generations lie and how they are read.

    `name` stands for the teacher and is part of every sample's id. `columns` maps our column names to theirs; theirs
    may be a path into nested values, such as choices.0.message.content. At most `samples_per_prompt` samples of a
    prompt are used, in order of sample index (None: all).
    """

    name: str
    files: Sequence[str]
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    samples_per_prompt: int | None = None


@dataclass(slots=True)
class Tally:
    """What became of the samples found in the files: found = used + unknown + duplicate + beyond.

    Not used: `unknown` (of no prompt asked for), `duplicate` (the same sample a second time), `beyond` (more than
    samples_per_prompt). Used all the same: `repeated` (a text that the prompt has already under another index), `empty`
    (no text), `missing` (null: an error row), `uncounted` (no number of tokens: 0).
    """

    counts: dict[str, int] = field(default_factory=dict[str, int])
    examples: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def add(self, what: str, where: str = "") -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
        if where and self.counts[what] <= _NUM_EXAMPLES:
            self.examples.setdefault(what, []).append(where)

    def __getitem__(self, what: str) -> int:
        return self.counts.get(what, 0)


class _Joiner:
    """The prompts by id and by question, and what has been seen of their samples."""

    def __init__(self, prompts: Iterable[Prompt]) -> None:
        self.questions: dict[str, str] = {}
        self.by_question: dict[str, str | None] = {}
        # Bit i is set where sample index i of the prompt is taken.
        self.taken: dict[str, int] = {}
        self.seen: set[int] = set()
        for prompt in prompts:
            self.questions[prompt.prompt_id] = prompt.question
            key = _question_key(prompt.question)
            self.by_question[key] = None if key in self.by_question else prompt.prompt_id

    def again(self, *parts: Any) -> bool:
        """Whether these parts were seen before; they are from now on."""
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


def read_recorded(recorded: Recorded, prompts: Iterable[Prompt], *, tally: Tally) -> Iterator[Generation]:
    """The recorded samples of these prompts, in the order of the files; `tally` is filled as they go by.

    Raises UserError for a file that cannot be read, a column that is not there, a value of the wrong type, and where
    no sample belongs to any prompt.
    """
    check_columns(recorded.columns)
    joiner = _Joiner(prompts)
    failed: dict[str, Generation] = {}
    for filesystem, path in find_files(recorded.files):
        if is_own(filesystem, path):
            yield from _own(filesystem, path, joiner=joiner, recorded=recorded, failed=failed, tally=tally)
        else:
            yield from _foreign(filesystem, path, joiner=joiner, recorded=recorded, tally=tally)
    # A sample that failed gives way to a later one with its id, as in the log.
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


def fingerprints(recorded: Recorded) -> list[str]:
    """What identifies the files' contents, in the order in which they are read: SHA-256 of local ones, the store's own
    mark (ETag and the like) else."""
    return [
        file_fingerprint(Path(path)) if "file" in filesystem.protocol else f"{path}:{filesystem.ukey(path)}"
        for filesystem, path in find_files(recorded.files)
    ]


def _foreign(filesystem: Any, path: str, *, joiner: _Joiner, recorded: Recorded, tally: Tally) -> Iterator[Generation]:
    for row in read_rows(filesystem, path):
        cells = map_cells(row, recorded.columns)
        prompt_id = _join(row, cells, joiner=joiner, by_question="question" in recorded.columns)
        for sample in split_samples(row, cells):
            tally.add("found")
            if prompt_id is None:
                asked = str(cells.get("question") or cells.get("prompt_id"))[:60]
                tally.add("unknown", f"{row.where}: {asked!r}")
                continue
            generation = _generation(row, sample, prompt_id=prompt_id, joiner=joiner, recorded=recorded, tally=tally)
            if generation is not None:
                yield generation


def _join(row: Row, cells: Mapping[str, Any], *, joiner: _Joiner, by_question: bool) -> str | None:
    """The id of the prompt that a row answers: by prompt_id where there is one, unless the question was mapped."""
    given = cells.get("prompt_id")
    if given is not None and not (by_question and str(given) not in joiner.questions):
        return str(given) if str(given) in joiner.questions else None
    key = _question_key(str(cells.get("question") or ""))
    if key in joiner.by_question and joiner.by_question[key] is None:
        raise UserError(f"{row.where}: several prompts ask this question; map columns.prompt_id to tell them apart")
    return joiner.by_question.get(key)


def _question_key(question: str) -> str:
    """Questions are the same if they differ in white space at most."""
    return digest(" ".join(question.split()))


def _generation(
    row: Row, cells: Mapping[str, Any], *, prompt_id: str, joiner: _Joiner, recorded: Recorded, tally: Tally
) -> Generation | None:
    """One sample as a record; None for one that is not used."""
    completion, finish_reason = read_completion(row, cells), read_finish_reason(cells.get("finish_reason"))
    wanted = read_number(row, cells, "sample_index")
    if wanted is not None and not (wanted.is_integer() and 0 <= wanted < _MAX_INDEX):
        raise UserError(f"{row.where}: sample_index is {wanted:g}; expected a whole number from 0 to {_MAX_INDEX - 1}")
    if wanted is not None and joiner.again("index", prompt_id, int(wanted), completion):
        tally.add("duplicate", row.where)
        return None
    index = joiner.take_index(prompt_id, None if wanted is None else int(wanted))
    if recorded.samples_per_prompt is not None and index >= recorded.samples_per_prompt:
        tally.add("beyond")
        return None
    tally.add("used")
    if completion is None:
        tally.add("missing", row.where)
    elif not completion.strip():
        tally.add("empty", row.where)
    elif joiner.again("text", prompt_id, completion):
        tally.add("repeated", row.where)
    num_tokens = read_number(row, cells, "num_tokens")
    if num_tokens is None:
        tally.add("uncounted")
    rendered = whole_text(str(cells.get("rendered") or joiner.questions[prompt_id]))
    made_of = {"recorded": recorded.name, "completion": completion}
    return Generation(
        sample_id=sample_id(prompt_id=prompt_id, rendered=rendered, model=recorded.name, sampling=made_of, index=index),
        prompt_id=prompt_id,
        sample_index=index,
        seed=0,
        rendered=rendered,
        completion=completion or "",
        finish_reason=finish_reason,
        num_prompt_tokens=int(read_number(row, cells, "num_prompt_tokens") or 0),
        num_tokens=int(num_tokens or 0),
        mean_logprob=read_number(row, cells, "mean_logprob"),
        model=str(cells.get("model") or recorded.name),
        sampling=json.dumps({"recorded": recorded.name}),
        round=0,
        surplus=False,
        error="recorded without a completion" if completion is None else None,
    )


def _own(
    filesystem: Any, path: str, *, joiner: _Joiner, recorded: Recorded, failed: dict[str, Generation], tally: Tally
) -> Iterator[Generation]:
    """A run's own rows keep their ids, models and settings. Failed ones are put into `failed`, for later."""
    for batch in read_batches(filesystem, path):
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
