"""Parquet, a few rows at a time."""

from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stillery.io.readers.rows import Row, RowError, Unreadable

_BATCH_ROWS = 256


def read_parquet(file: IO[bytes], path: str) -> Iterator[Row | RowError]:
    """The rows of a Parquet file, counted from 0."""
    yield from rows_of(read_batches(file), path)


def read_batches(file: IO[bytes]) -> Iterator[pa.RecordBatch]:
    """A Parquet file a few rows at a time: buffered, since otherwise a row group would be read as a whole."""
    yield from pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False).iter_batches(batch_size=_BATCH_ROWS)


def rows_of(batches: Iterator[pa.RecordBatch], name: str) -> Iterator[Row]:
    """The rows of Arrow tables, counted from 0; a cell that has no Python value is Unreadable."""
    number = 0
    for batch in batches:
        for values in _values(batch):
            yield Row(f"{name} row {number}", values)
            number += 1


def _values(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    names: list[str] = batch.schema.names
    if len(set(names)) < len(names):
        columns = [column.to_pylist() for column in batch.columns]
        twice = {name: Unreadable("the file has two columns of this name") for name in names if names.count(name) > 1}
        return [{**dict(zip(names, cells, strict=True)), **twice} for cells in zip(*columns, strict=True)]
    rows = _plain_values(batch)
    for field in batch.schema:
        if pa.types.is_float32(field.type) or pa.types.is_float16(field.type):
            # 0.1 in a column of this precision is not 0.10000000149011612.
            narrow = np.float32 if pa.types.is_float32(field.type) else np.float16
            for row in rows:
                if isinstance(row[field.name], float):
                    row[field.name] = float(str(narrow(row[field.name])))
    return rows


def _plain_values(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    try:
        return batch.to_pylist()
    except (ValueError, OverflowError, pa.ArrowException):
        cells = {name: [_value(cell) for cell in batch.column(name)] for name in batch.schema.names}
        return [{name: column[i] for name, column in cells.items()} for i in range(batch.num_rows)]


def _value(cell: Any) -> Any:
    try:
        return cell.as_py()
    except (ValueError, OverflowError, pa.ArrowException) as error:
        return Unreadable(str(error).splitlines()[0])
