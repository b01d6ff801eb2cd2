"""Prepares samples for training, a file at a time: no process holds more than a few hundred rows.

In: samples, as curation leaves them. Out: for each of their files a training shard of tokens and a validation shard;
rows longer than the student's maximum are left out whole. A training node keeps the shards of a split in one Arrow file
on its own disk, which `datasets` memory-maps.

    data/train-samples-00000.parquet         sample_id, input_ids and labels (-100 where no loss falls) of the rows of
    data/validation-samples-00000.parquet    samples-00000.parquet, in their order
"""

import contextlib
import functools
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stillery.config import SftConfig
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import AttentionTarget, Sample, Split, from_table
from stillery.sampling.chat.conversation import ChatFormat, ChatRow, Conversation, open_conversation
from stillery.sampling.chat.lengths import LONG, check_dropped, max_length
from stillery.sampling.stored_logprobs import ScoreReader
from stillery.telemetry import logs
from stillery.telemetry.bars import ProgressBar
from stillery.telemetry.logs import logger
from stillery.thinking import split_thinking
from stillery.training.attention.files import targets_name
from stillery.training.attention.targets import check_target
from stillery.training.attention.transfer import MASSES, SOURCES, attention_columns
from stillery.training.counts import check_answer_only_tasks, check_counts
from stillery.training.distillation.columns import TOP_IDS, TOP_LOGPROBS, distill_columns
from stillery.training.weights import COLUMN, check_weighted, has_weights, masked_labels, token_weights, weigh_answer

ROWS_AT_ONCE = 256
# The part of a sample's completion that is trained on, by `sft.completion`.
WHOLE, ANSWER_ONLY = "whole", "answer_only"

_IDS, _NUMBERS = pa.list_(pa.int32()), pa.list_(pa.float32())
_COLUMNS = {
    "sample_id": pa.large_string(),
    "input_ids": _IDS,
    "labels": _IDS,
    COLUMN: _NUMBERS,
    SOURCES: _IDS,
    MASSES: pa.list_(_NUMBERS),
    TOP_IDS: pa.list_(_IDS),
    TOP_LOGPROBS: pa.list_(_NUMBERS),
}
_PLAIN = ("sample_id", "input_ids", "labels")
_READ_BYTES = 8 << 20
_SPLITS = (Split.TRAIN.value, Split.VALIDATION.value)


def prepare_data(
    config: SftConfig,
    chat: ChatFormat,
    *,
    samples: Folder,
    data: Folder,
    targets: Folder | None = None,
    scores: Folder | None = None,
) -> dict[str, Any]:
    """Tokenize all samples into shards, on the whole cluster. Returns the counts of rows kept and left out and, where
    samples have weights, attention `targets` or stored log-probabilities (`scores`), `mean_weight` over the training
    tokens that the loss falls on; with targets also `attention`: their number of training rows, the sum of their
    weights, and `scale`, the tokens over that sum; with scores `distill`: how many of these tokens have scores, and how
    many rows have none at all.

    TRL would cut a row at `max_length`, in the middle of its thinking: longer rows are left out whole, as is a row from
    which the chat template drops text. Raises UserError if no row is left, more are too long than
    `config.max_long_share` allows, or a target does not fit its sample.
    """
    import ray

    names = samples.names(".parquet")
    files = ray.data.from_items([{"name": name} for name in names], override_num_blocks=len(names))
    files.context.enable_progress_bars = False
    has_more = targets is not None or scores is not None or config.answer_weight != 1
    weighted = config.completion == WHOLE and (has_more or has_weights(samples))
    beside: dict[str, Any] = {"weighted": weighted, "targets": targets, "scores": scores}
    task = functools.partial(_prepare_file, config=config, chat=chat, samples=samples, data=data, **beside)
    counts, tasks = Counter[str](), Counter[str]()
    started = time.monotonic()
    total, num_tokens, length = 0.0, 0, 0
    mass, num_attending, num_scored, num_without = 0.0, 0, 0, 0
    for number, row in enumerate(files.map(task, num_cpus=1).iter_rows(), 1):
        if row["fault"] is not None:
            raise UserError(row["fault"])
        prepared = json.loads(row["prepared"])
        counts.update(prepared["counts"])
        tasks.update(prepared["tasks"])
        total, num_tokens = total + prepared["weight"], num_tokens + prepared["num_tokens"]
        length += prepared["length"]
        mass, num_attending = mass + prepared["mass"], num_attending + prepared["num_attending"]
        num_scored += prepared["num_scored"]
        num_without += prepared["num_without"]
        if len(names) > 1:
            seconds, rows = time.monotonic() - started, f"{counts.total():,} rows"
            logs.report(ProgressBar("sft, rows to tokens", number, len(names), seconds, rows, unit="files"))
    kept = {split: counts.pop(split, 0) for split in _SPLITS}
    check_dropped(config, counts, num_rows=counts.total() + sum(kept.values()))
    if not kept[Split.TRAIN]:
        raise UserError("sft: no sample to train on is left; see what was left out above")
    check_answer_only_tasks(config.answer_only_tasks, tasks)
    check_counts(config, num_train=kept[Split.TRAIN], num_validation=kept[Split.VALIDATION], length=length)
    if weighted and not total:
        raise UserError("sft: every sample to train on weighs nothing (Sample.weights)")
    found: dict[str, Any] = {"mean_weight": total / num_tokens} if weighted else {}
    if targets is not None:
        if not mass:
            raise UserError("sft: no sample to train on has anything to attend to; set attention.target=null")
        found["attention"] = {"rows": num_attending, "mass": mass, "scale": num_tokens / mass}
    if scores is not None:
        if not num_scored:
            raise UserError(
                "sft: no token to train on has a log-probability of the teacher's: the student's chat template, or the "
                "text that was kept, is not what the teacher wrote; set sft.distill.weight=0"
            )
        logger.info(
            f"sft: the teacher's likeliest tokens are known for {num_scored / num_tokens:.1%} of the tokens to learn; "
            f"{num_without:,} samples have none"
        )
        found["distill"] = {"tokens": num_scored, "without": num_without}
    return {**kept, "dropped": dict(counts), **found}


def _prepare_file(row: dict[str, str], **settings: Any) -> dict[str, str | None]:
    """The Ray task. A UserError is returned as a value: raised, it would carry Ray's traceback."""
    try:
        return {"prepared": prepare_file(row["name"], **settings).to_json(), "fault": None}
    except UserError as error:
        return {"prepared": None, "fault": str(error)}


@dataclass(slots=True)
class Prepared:
    """A prepared file: its rows of each split, and those left out for each reason; where rows are weighted, the sum of
    the weights over the `num_tokens` training tokens that the loss falls on. `length` is that of all training rows;
    `num_attending` of their positions have attention targets, with total weight `mass`; `num_scored` of the tokens have
    the teacher's log-probabilities, and `num_without` rows have none. `tasks` counts the training rows."""

    counts: Counter[str] = field(default_factory=Counter[str])
    tasks: Counter[str] = field(default_factory=Counter[str])
    weight: float = 0.0
    num_tokens: int = 0
    length: int = 0
    num_attending: int = 0
    mass: float = 0.0
    num_scored: int = 0
    num_without: int = 0

    def count(self, tokens: dict[str, Any]) -> None:
        """Count a training row."""
        self.length += len(tokens["input_ids"])
        if COLUMN in tokens:
            counted = [w for w, label in zip(tokens[COLUMN], tokens["labels"], strict=True) if label != -100]
            self.weight += sum(counted)
            self.num_tokens += len(counted)
        masses = [mass for mass in tokens.get(MASSES, ()) if mass]
        self.num_attending += len(masses)
        self.mass += sum(map(sum, masses))
        if TOP_IDS in tokens:
            pairs = zip(tokens[TOP_IDS], tokens["labels"], strict=True)
            num_scored = sum(bool(ids) and label != -100 for ids, label in pairs)
            self.num_scored += num_scored
            self.num_without += not num_scored

    def to_json(self) -> str:
        # dataclasses.asdict would rebuild the Counter from its items and count those.
        return json.dumps({name: getattr(self, name) for name in self.__slots__})


def prepare_file(
    name: str,
    *,
    config: SftConfig,
    chat: ChatFormat,
    samples: Folder,
    data: Folder,
    weighted: bool = False,
    targets: Folder | None = None,
    scores: Folder | None = None,
) -> Prepared:
    """Tokenize one file of samples into its two shards, with a weight per token if they are `weighted`, with attention
    `targets` and with the teacher's log-probabilities (`scores`) where there are any. Raises UserError for a target
    that does not fit its sample."""
    conversation = open_conversation(chat, key="sft.student")
    if weighted:
        check_weighted(config.trl, conversation)
    limit, of_prompt = max_length(config.trl), config.trl.get("completion_only_loss") is False
    names = [*_PLAIN, *([COLUMN] if weighted else [])]
    names += [] if targets is None else [SOURCES, MASSES]
    names += [] if scores is None else [TOP_IDS, TOP_LOGPROBS]
    prepared, schema = Prepared(), _schema(names)
    attended = None if targets is None else _targets(targets, name)
    scored = None if scores is None else _scores(scores, name, samples)
    with contextlib.ExitStack() as stack:
        writers: dict[str, pq.ParquetWriter] = {}
        for split in _SPLITS:
            shard = stack.enter_context(data.create(f"{split}-{name}"))
            writers[split] = stack.enter_context(pq.ParquetWriter(shard, schema, compression="zstd"))
        for whole in _batches(samples, name):
            batch = [_learnt_of(sample, config) for sample in whole]
            ready: dict[str, list[dict[str, Any]]] = {split: [] for split in _SPLITS}
            for sample, row in zip(batch, conversation.rows(batch), strict=True):
                target = None if attended is None else next(attended, None)
                if attended is not None:
                    _check(target, sample)
                fault = row.fault or (LONG if limit is not None and len(row.input_ids) > limit else None)
                prepared.counts[fault or sample.split] += 1
                if fault is None:
                    tokens = {"input_ids": row.input_ids, "labels": row.labels(of_prompt=of_prompt)}
                    if weighted:
                        _weigh(tokens, [1.0] * len(row.prompt_ids) + token_weights(conversation, row, sample))
                    if target is not None:
                        tokens |= _attend(conversation, row, sample, target)
                    if scored is not None:
                        tokens |= distill_columns(conversation.tokenizer, row, scored.take(sample.sample_id))
                    if sample.split == Split.TRAIN:
                        prepared.tasks[sample.task] += 1
                        prepared.count(tokens)
                    ready[sample.split].append({"sample_id": sample.sample_id, **tokens})
            for split, writer in writers.items():
                writer.write_table(pa.Table.from_pylist(ready[split], schema=schema))
    return prepared


def _learnt_of(sample: Sample, config: SftConfig) -> Sample:
    """A sample in the form that the student is trained on."""
    if config.completion == ANSWER_ONLY or sample.task in config.answer_only_tasks:
        return answer_of(sample)
    return weigh_answer(sample, config.answer_weight)


def answer_of(sample: Sample) -> Sample:
    """A sample whose completion is the text after the thinking: the form for fine-tuning on answers alone."""
    completion = [replace(m, content=split_thinking(m.content).visible.strip()) for m in sample.completion]
    return replace(sample, completion=completion, weights=[])


def _targets(targets: Folder, name: str) -> Iterator[AttentionTarget]:
    """The targets of a file of samples, in their order."""
    if not targets.exists(targets_name(name)):
        raise UserError(f"{targets.uri} has no {targets_name(name)}: its targets were not made from these samples")
    with targets.open_file(targets_name(name)) as source:
        for batch in pq.ParquetFile(source, buffer_size=_READ_BYTES).iter_batches(ROWS_AT_ONCE):
            yield from from_table(pa.Table.from_batches([batch]), AttentionTarget)


def _schema(names: Sequence[str]) -> pa.Schema:
    return pa.schema([(name, _COLUMNS[name]) for name in names])


def _scores(scores: Folder, name: str, samples: Folder) -> ScoreReader:
    """The stored log-probabilities of a file of samples. Curation keeps a file's name except for its prefix."""
    with samples.open_file(name) as source:
        wanted: list[str] = pq.read_table(source, columns=["sample_id"]).column(0).to_pylist()
    return ScoreReader(scores, name.replace("samples-", "generations-"), wanted=set(wanted))


def _check(target: AttentionTarget | None, sample: Sample) -> None:
    if target is None:
        raise UserError(f"attention target of sample {sample.sample_id} is missing; make the targets again")
    check_target(target, sample)


def _attend(conversation: Conversation, row: ChatRow, sample: Sample, target: AttentionTarget) -> dict[str, Any]:
    columns = attention_columns(conversation, row, sample, target)
    if columns is None:
        raise UserError(
            f"attention target of sample {sample.sample_id}: the student's chat template changes the question or the "
            "completion, so their steps cannot be found; set attention.target=null"
        )
    return columns


def _weigh(tokens: dict[str, Any], weights: list[float]) -> None:
    tokens |= {"labels": masked_labels(tokens["labels"], weights), COLUMN: weights}


def _batches(samples: Folder, name: str) -> Iterator[list[Sample]]:
    with samples.open_file(name) as source:
        # A column is read in pieces: a file of long traces may be a single row group.
        for batch in pq.ParquetFile(source, buffer_size=_READ_BYTES).iter_batches(ROWS_AT_ONCE):
            yield from_table(pa.Table.from_batches([batch]), Sample)


def keep_shards(data: Folder, split: str, file: Path) -> None:
    """Write all shards of a split, in order, into one Arrow file on this node's disk."""
    names = [name for name in data.names(".parquet") if name.startswith(f"{split}-")]
    with data.open_file(names[0]) as source:
        columns = pq.read_schema(source).names
    schema = _schema(columns)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for name in names:
            with data.open_file(name) as source:
                for batch in pq.ParquetFile(source, buffer_size=_READ_BYTES).iter_batches(ROWS_AT_ONCE):
                    writer.write_batch(batch)


def open_shards(file: Path) -> Any:
    """The output of `keep_shards`, as a memory-mapped `datasets.Dataset`."""
    from datasets import Dataset

    return Dataset.from_file(str(file))
