"""Orders recorded generations as an output: a prompt's samples together, by index.

The files may hold them in any order and number, so they pass through a temporary folder, partitioned by prompt into
parts that each fit into memory.
"""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow.parquet as pq

from stillery.records import Generation, digest, from_table, schema_of, to_table

NUM_PARTS = 64
ROWS_AT_ONCE = 64


def in_order(rows: Iterable[Generation]) -> Iterator[list[Generation]]:
    """The rows in lists: all samples of a prompt are in one list, in order of sample index."""
    with tempfile.TemporaryDirectory(prefix="stillery-recorded-") as folder:
        paths = [Path(folder) / f"{part}.parquet" for part in range(NUM_PARTS)]
        _divide(rows, paths)
        for path in paths:
            part = from_table(pq.read_table(path), Generation)
            if part:
                yield sorted(part, key=lambda row: (row.prompt_id, row.sample_index, row.attempt))


def _divide(rows: Iterable[Generation], paths: list[Path]) -> None:
    waiting: list[list[Generation]] = [[] for _ in paths]
    with ExitStack() as stack:
        writers = [stack.enter_context(pq.ParquetWriter(path, schema_of(Generation))) for path in paths]
        for row in rows:
            part = int(digest(row.prompt_id)[:8], 16) % len(paths)
            waiting[part].append(row)
            if len(waiting[part]) == ROWS_AT_ONCE:
                writers[part].write_table(to_table(waiting[part], Generation))
                waiting[part].clear()
        for writer, rest in zip(writers, waiting, strict=True):
            writer.write_table(to_table(rest, Generation))
