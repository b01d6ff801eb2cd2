"""Every contract between stages, in one file.

A record is a frozen dataclass; one row of a table is one record. `schema_of` derives the pyarrow schema from the
annotations, so a table's columns never depend on which values happen to be present (a block whose optional column
is all null would otherwise get the type `null` and disagree with its neighbours).

Prompts -> Generation (one teacher sample) -> Verdict -> Molecule -> Sample (what a student trains on).
"""

import dataclasses
import functools
import hashlib
import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SCHEMA_VERSION = 1

R = TypeVar("R")


class AnswerKind(StrEnum):
    """The kind of a gold answer; it decides how two answers are compared. For `code` the gold answer is its tests;
    answers of kind `judged` are compared by a model."""

    NUMBER = "number"
    EXPRESSION = "expression"
    CHOICE = "choice"
    STRING = "string"
    YES_NO = "yes_no"
    SET = "set"
    DATE = "date"
    CODE = "code"
    JUDGED = "judged"
    NONE = "none"


class Split(StrEnum):
    """Train and validation may shape the student; the other three only measure it."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    LONGER = "longer"
    HELD_OUT = "held_out"


class VerdictKind(StrEnum):
    """The outcome of checking one completion. Only `wrong` says that the model answered wrongly."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSED = "unparsed"
    TRUNCATED = "truncated"
    TIMEOUT = "timeout"
    ERROR = "error"
    UNCHECKED = "unchecked"


# Failures on our side: an engine gave no sample, or the answer was not compared. They say nothing about the model, so
# they count in no rate.
FAILURES = frozenset({VerdictKind.TIMEOUT, VerdictKind.ERROR})


@dataclass(frozen=True, slots=True)
class Prompt:
    """One problem. `answer` is None for general data, which is never checked.

    `facts` is a JSON list of the ground truth of the intermediate values, where the source knows them. It is for
    evaluation only: no stage shows it to a model.
    """

    prompt_id: str
    task: str
    question: str
    answer: str | None
    answer_kind: str
    choices: list[str]
    source: str
    split: str
    num_steps: int | None
    facts: str | None


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """One prompt in the engine's format; `files` of the sample log hold its existing samples."""

    prompt_id: str
    rendered: str
    files: list[str]


@dataclass(frozen=True, slots=True)
class Request:
    """One sample to be made by a model: the engine's input."""

    sample_id: str
    prompt_id: str
    sample_index: int
    seed: int
    rendered: str


@dataclass(frozen=True, slots=True)
class Generation:
    """One sample of a model. `mean_logprob` is in nats per token, of the model before temperature; None unless the
    sampling settings request log-probabilities.

    `error` is set, and the completion empty, where the engine refused or failed on this prompt alone.
    """

    sample_id: str
    prompt_id: str
    sample_index: int
    seed: int
    rendered: str
    completion: str
    finish_reason: str | None
    num_prompt_tokens: int
    num_tokens: int
    mean_logprob: float | None
    model: str
    sampling: str
    attempt: int
    surplus: bool
    error: str | None


@dataclass(frozen=True, slots=True, eq=False)
class TopLogprobs:
    """The teacher's likeliest tokens at each position of its sample. `token_ids` (T) are the sampled tokens, and
    `top_ids` and `top_logprobs` (T * k, the k of a token together, likeliest first) their alternatives with the
    log-probabilities in nats, of the model before temperature. An id of -1 stands for a token that the tokenizer does
    not know."""

    k: int
    token_ids: NDArray[np.int32]
    top_ids: NDArray[np.int32]
    top_logprobs: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ScoredGeneration(Generation):
    """A sample with the data for distillation. The sample log holds it, if requested; outputs have that data in a table
    of its own (`StoredLogprobs`), since it is many times as large as the rest."""

    top: TopLogprobs | None


@dataclass(frozen=True, slots=True)
class StoredLogprobs:
    """A sample's log-probabilities, None where the engine gave none."""

    sample_id: str
    top: TopLogprobs | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of checking one completion.

    `thinking` and `answer_text` are the parts of the template; `predicted` is the answer that was compared. `template`
    says how the completion departs from the template ("ok", "empty_think", "no_think", "two_answers",
    "text_after_answer", "unclosed", "no_answer"). `flags` are the readability flags, and `flag_evidence` the finding
    behind each of them, in the same order.
    """

    sample_id: str
    prompt_id: str
    thinking: str | None
    answer_text: str | None
    predicted: str | None
    verdict: str
    template: str
    flags: list[str]
    detail: str | None
    flag_evidence: list[str] = dataclasses.field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of training data. `weights` are (start, end, weight) character spans of the completion; the weight
    elsewhere is 1.0."""

    sample_id: str
    prompt_id: str
    task: str
    split: str
    prompt: list[Message]
    completion: list[Message]
    weights: list[list[float]]
    part: str
    teacher: str


@dataclass(frozen=True, slots=True)
class AttentionSource:
    """A source of attention: a sentence of the question or a step of the completion, by its characters."""

    start: int
    end: int
    of_question: bool


@dataclass(frozen=True, slots=True)
class AttentionRow:
    """The attention target of the position that begins to write the characters `start` to `end` of the completion:
    `mass` on each of the first sources, which are those before its step. It sums to the row's weight, 0 to 1."""

    start: int
    end: int
    mass: list[float]


@dataclass(frozen=True, slots=True)
class AttentionTarget:
    """The attention target of a sample. `text` is a digest of the question and the completion to which positions refer,
    and `error` says why there are no rows."""

    sample_id: str
    text: str
    sources: list[AttentionSource]
    rows: list[AttentionRow]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Why a sample of the teacher trains the student or not. `reason` is None if it does, and `evidence` is JSON: the
    sample that it repeats, the evaluation problem that it contains, the flag's span."""

    sample_id: str
    prompt_id: str
    reason: str | None
    evidence: str | None


@dataclass(frozen=True, slots=True)
class Score:
    """One evaluated sample of one model on one problem: the row that every metric is computed from."""

    model: str
    prompt_id: str
    sample_id: str
    sample_index: int
    task: str
    split: str
    num_steps: int | None
    question: str
    gold: str | None
    completion: str
    predicted: str | None
    verdict: str
    template: str
    num_tokens: int
    finish_reason: str | None


@dataclass(frozen=True, slots=True)
class RewardPart:
    """The value of one reward function for a completion; None where it could not decide."""

    name: str
    value: float | None


@dataclass(frozen=True, slots=True)
class Rollout:
    """One completion that refinement learned from. `step` is the number of updates before it; `reward` is the weighted
    sum of its `parts`, None where the row was left out; `advantage` is its weight in the update."""

    step: int
    prompt_id: str
    task: str
    completion: str
    num_tokens: int
    finish_reason: str
    parts: list[RewardPart]
    reward: float | None
    advantage: float


class BondKind(StrEnum):
    """The three bonds between reasoning steps, by the article's names."""

    STRONG_LOGIC = "strong_logic"
    REFLECTION = "reflection_verification"
    EXPLORATION = "exploratory_association"


@dataclass(frozen=True, slots=True)
class Claim:
    """A checkable assertion of a step. `start` and `end` are character positions in the whole trace.

    `kind` is arithmetic, algebraic, assignment, state or answer; `holds` is None where undecided, and `corrected_by`
    the index of the later atom that corrects a false claim.
    """

    start: int
    end: int
    text: str
    kind: str
    holds: bool | None
    corrected_by: int | None


@dataclass(frozen=True, slots=True)
class Atom:
    """One reasoning step: the characters `start` to `end` of the trace, which are `text`.

    `kind` is sentence, line, equation, item, display, code or answer. `inserted` marks a step that reinforcement
    added, which no model sampled.
    """

    start: int
    end: int
    text: str
    kind: str
    claims: list[Claim]
    inserted: bool


@dataclass(frozen=True, slots=True)
class Bond:
    """A relation between two atoms, by index: `source` is the earlier step, `target` the later one that rests on it.

    `strength` lies in the band of its `kind` (0.8-1.0, 0.6-0.8, 0.3-0.6); `origin` is its source (claims, model,
    labels) and `evidence` a description.
    """

    source: int
    target: int
    kind: str
    strength: float
    origin: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Molecule:
    """The structure of one trace: its atoms and bonds, and the measurements on them.

    `conflict` sums what is false and not corrected, `stability` is normalised (used for choosing and rewarding),
    `stability_sum` the article's sum of strengths minus conflict. `energies` holds, if a model was available, the
    attention energy of each bond in the order of `bonds`. `error` says why a trace could not be analysed; it then has
    no atoms.
    """

    sample_id: str
    atoms: list[Atom]
    bonds: list[Bond]
    conflict: float
    stability: float
    stability_sum: float
    energies: list[float]
    error: str | None = None


_SCALARS: dict[Any, pa.DataType] = {
    str: pa.large_string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}


def _arrow_type(annotation: Any) -> tuple[pa.DataType, bool]:
    """The pyarrow type of an annotation, and whether it may be null."""
    if get_origin(annotation) in (Union, types.UnionType):
        (inner,) = [a for a in get_args(annotation) if a is not type(None)]
        if dataclasses.is_dataclass(inner):
            # Without a value its fields are null too.
            return pa.struct([f.with_nullable(True) for f in _fields(inner)]), True
        return _arrow_type(inner)[0], True
    if get_origin(annotation) is list:
        return pa.large_list(_arrow_type(get_args(annotation)[0])[0]), False
    if get_origin(annotation) is np.ndarray:
        (scalar,) = get_args(get_args(annotation)[1])
        return pa.large_list(pa.from_numpy_dtype(scalar)), False
    if dataclasses.is_dataclass(annotation):
        return pa.struct(_fields(annotation)), False
    return _SCALARS[annotation], False


def _fields(record: Any) -> list[pa.Field]:
    hints = get_type_hints(record)
    arrow = {f.name: _arrow_type(hints[f.name]) for f in dataclasses.fields(record)}
    return [pa.field(name, kind, nullable=nullable) for name, (kind, nullable) in arrow.items()]


def schema_of(record: type[Any]) -> pa.Schema:
    """The pyarrow schema of a record type; its metadata carries the record's name and the schema version."""
    metadata = {"stillery.record": record.__name__, "stillery.schema_version": str(SCHEMA_VERSION)}
    return pa.schema(_fields(record), metadata=metadata)


def to_table(rows: Sequence[Any], record: type[Any]) -> pa.Table:
    """Rows as a table of the record's own schema, whatever the values (also for no rows at all)."""
    return pa.Table.from_pylist([dataclasses.asdict(row) for row in rows], schema=schema_of(record))


def conform(table: pa.Table, record: type[Any]) -> pa.Table:
    """The table with only the record's columns, in its order and with its types.

    Raises ValueError if a column is missing or cannot be cast: that is a table of another record or version.
    """
    schema = schema_of(record)
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise ValueError(f"table has no column {', '.join(missing)}: not a table of {record.__name__}")
    return table.select(schema.names).cast(schema)


def from_table(table: pa.Table, record: type[R]) -> list[R]:
    """The rows of a conforming table as records."""
    return [from_row(row, record) for row in conform(table, record).to_pylist()]


@functools.cache
def _hints(record: type[Any]) -> dict[str, Any]:
    """Computing them takes longer than reading a row."""
    return get_type_hints(record)


def from_row(row: Mapping[str, Any], record: type[R]) -> R:
    """One row, from pyarrow or Ray Data, as a record. Columns that the record lacks are left out."""
    hints = _hints(record)
    return record(**{f.name: _revive(row[f.name], hints[f.name]) for f in dataclasses.fields(record)})  # type: ignore[arg-type]


def _revive(value: Any, annotation: Any) -> Any:
    if get_origin(annotation) is list:
        (inner,) = get_args(annotation)
        return [_revive(item, inner) for item in value]
    if dataclasses.is_dataclass(annotation) and isinstance(value, Mapping):
        return from_row(value, annotation)  # type: ignore[arg-type]
    return value


def digest(*parts: Any) -> str:
    """A stable 128-bit hex digest of JSON-able parts: the id of anything they determine."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def sample_id(*, prompt_id: str, rendered: str, model: str, sampling: Mapping[str, Any], index: int) -> str:
    """The id of one sample: a digest of everything that determines it. The number of samples is not part of it, so a
    larger number later reuses the existing ones."""
    return digest("sample", prompt_id, rendered, model, dict(sampling), index)


def seed_of(sample: str) -> int:
    """The sampling seed (31 bits) of one sample; the run's seed is among the settings that its id covers."""
    return int(digest("seed", sample)[:8], 16) & 0x7FFF_FFFF
