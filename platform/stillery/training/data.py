"""Samples made ready to train on, a file at a time: no process holds more than a few hundred rows.

In: samples, as curation leaves them. Out: for each of their files a shard of tokens to train on and one to validate
on, rows longer than the student may read left out whole. A training node keeps the shards of a split in one Arrow file
on its own disk, which `datasets` maps into memory.

    data/train-samples-00000.parquet         sample_id, input_ids and labels (-100 where no loss falls) of the rows of
    data/validation-samples-00000.parquet    samples-00000.parquet, in their order
"""

import contextlib
import functools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stillery.config import SftConfig
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Sample, Split, from_table
from stillery.sampling.chat.conversation import ChatFormat, open_conversation
from stillery.sampling.chat.lengths import LONG, check_dropped, max_length
from stillery.telemetry.logs import logger

ROWS_AT_ONCE = 256

_IDS = pa.list_(pa.int32())
_SCHEMA = pa.schema([("sample_id", pa.large_string()), ("input_ids", _IDS), ("labels", _IDS)])
_READ_BYTES = 8 << 20
_SPLITS = (Split.TRAIN.value, Split.VALIDATION.value)


def prepare_data(config: SftConfig, chat: ChatFormat, *, samples: Folder, data: Folder) -> dict[str, Any]:
    """Tokenize all samples into shards, on the whole cluster. Returns the counts of rows kept and left out.

    TRL would cut a row at `max_length`, in the middle of its thinking: longer ones are left out whole, as is a row of
    which the chat template leaves something out. Raises UserError if that is all of them, or more are too long than
    `config.max_long_share` allows.
    """
    import ray

    names = samples.names(".parquet")
    files = ray.data.from_items([{"name": name} for name in names], override_num_blocks=len(names))
    files.context.enable_progress_bars = False
    task = functools.partial(_prepare_file, config=config, chat=chat, samples=samples, data=data)
    counts: Counter[str] = Counter()
    for number, row in enumerate(files.map(task, num_cpus=1).iter_rows(), 1):
        if row["fault"] is not None:
            raise UserError(row["fault"])
        counts.update(json.loads(row["counts"]))
        if len(names) > 1:
            logger.info(f"sft: prepared {number} of {len(names)} files, {counts.total():,} rows")
    kept = {split: counts.pop(split, 0) for split in _SPLITS}
    check_dropped(config, counts, num_rows=counts.total() + sum(kept.values()))
    if not kept[Split.TRAIN]:
        raise UserError("sft: no sample to train on is left; see what was left out above")
    return {**kept, "dropped": dict(counts)}


def _prepare_file(row: dict[str, str], **settings: Any) -> dict[str, str | None]:
    """The Ray task. What a user can mend comes back as a value: an exception would come with Ray's traceback."""
    try:
        return {"counts": json.dumps(prepare_file(row["name"], **settings)), "fault": None}
    except UserError as error:
        return {"counts": None, "fault": str(error)}


def prepare_file(name: str, *, config: SftConfig, chat: ChatFormat, samples: Folder, data: Folder) -> Counter[str]:
    """Tokenize one file of samples into its two shards. Returns the number of rows of each split, and of those that are
    left out for each reason."""
    conversation = open_conversation(chat, key="sft.student")
    limit, of_prompt = max_length(config.trl), config.trl.get("completion_only_loss") is False
    counts: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        writers: dict[str, pq.ParquetWriter] = {}
        for split in _SPLITS:
            shard = stack.enter_context(data.create(f"{split}-{name}"))
            writers[split] = stack.enter_context(pq.ParquetWriter(shard, _SCHEMA, compression="zstd"))
        for batch in _batches(samples, name):
            ready: dict[str, list[dict[str, Any]]] = {split: [] for split in _SPLITS}
            for sample, row in zip(batch, conversation.rows(batch), strict=True):
                fault = row.fault or (LONG if limit is not None and len(row.input_ids) > limit else None)
                counts[fault or sample.split] += 1
                if fault is None:
                    tokens = {"input_ids": row.input_ids, "labels": row.labels(of_prompt=of_prompt)}
                    ready[sample.split].append({"sample_id": sample.sample_id, **tokens})
            for split, writer in writers.items():
                writer.write_table(pa.Table.from_pylist(ready[split], schema=_SCHEMA))
    return counts


def _batches(samples: Folder, name: str) -> Iterator[list[Sample]]:
    with samples.open_file(name) as source:
        # A column is read in pieces: a file of long traces may be one group of rows.
        for batch in pq.ParquetFile(source, buffer_size=_READ_BYTES).iter_batches(ROWS_AT_ONCE):
            yield from_table(pa.Table.from_batches([batch]), Sample)


def keep_shards(data: Folder, split: str, file: Path) -> None:
    """Write all shards of a split, in order, into one Arrow file on this node's disk."""
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, _SCHEMA) as writer:
        for name in data.names(".parquet"):
            if name.startswith(f"{split}-"):
                with data.open_file(name) as source:
                    for batch in pq.ParquetFile(source, buffer_size=_READ_BYTES).iter_batches(ROWS_AT_ONCE):
                        writer.write_batch(batch)


def open_shards(file: Path) -> Any:
    """What `keep_shards` wrote, as a `datasets.Dataset` that is mapped into memory."""
    from datasets import Dataset

    return Dataset.from_file(str(file))
