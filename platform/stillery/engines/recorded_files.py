"""Files of recorded generations as rows, read as they are asked for: JSONL, Parquet or CSV, at a path or URI."""

import contextlib
import csv
import json
import posixpath
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from stillery.errors import UserError
from stillery.records import Generation

_BATCH_ROWS = 256


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file; `where` names it for a person."""

    where: str
    values: Mapping[str, Any]


def find_files(names: Sequence[str]) -> list[tuple[Any, str]]:
    """The files that paths, globs, folders or URIs mean, each with its fsspec file system; a folder's in order of name.

    Raises UserError where there is none.
    """
    found: list[tuple[Any, str]] = []
    for name in names:
        filesystem, path = fsspec.url_to_fs(name)
        if any(mark in path for mark in "*?["):
            paths = sorted(filesystem.glob(path))
        elif filesystem.isdir(path):
            entries = sorted(filesystem.ls(path, detail=False))
            # Not .json: a run's output holds a manifest beside its tables.
            paths = [e for e in entries if _suffix(e) in _READERS and not e.endswith(".json") and not _is_hidden(e)]
        else:
            paths = [path] if filesystem.exists(path) else []
        if not paths:
            raise UserError(f"{name}: no such file, or no {', '.join(_READERS)} file in it")
        found += [(filesystem, path) for path in paths]
    return found


def _is_hidden(path: str) -> bool:
    return posixpath.basename(path).startswith((".", "_"))


def read_rows(filesystem: Any, path: str) -> Iterator[Row]:
    """The rows of one file, read as they are asked for. Raises UserError, naming the row, for a malformed one."""
    if _suffix(path) not in _READERS:
        raise UserError(f"{path}: the suffix is not one of {', '.join(_READERS)}; convert or rename it")
    return _READERS[_suffix(path)](filesystem, path)


def _suffix(path: str) -> str:
    """The suffix that says the format, below one that says the compression."""
    stem, suffix = posixpath.splitext(path.lower())
    return posixpath.splitext(stem)[1] if suffix in (".gz", ".bz2", ".xz", ".zst") else suffix


@contextlib.contextmanager
def _naming(path: str) -> Generator[None]:
    """Faults of a file as a whole, as errors that name it."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]}); write it again") from None


def _open_text(filesystem: Any, path: str) -> Any:
    return filesystem.open(path, "rt", encoding="utf-8-sig", newline="", compression="infer")


def _read_json_lines(filesystem: Any, path: str) -> Iterator[Row]:
    with _naming(path), _open_text(filesystem, path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path} line {number}"
            try:
                values = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                raise UserError(f"{where}: not JSON ({error}); expected one object a line") from None
            if not isinstance(values, dict):
                raise UserError(f"{where}: a {type(values).__name__}; expected one JSON object a line")
            yield Row(where, cast(dict[str, Any], values))


def _read_csv(filesystem: Any, path: str) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)  # a long trace is longer than the module's default allows
    with _naming(path), _open_text(filesystem, path) as file:
        reader = csv.DictReader(file, strict=True)
        try:
            for values in reader:
                where = f"{path} line {reader.line_num}"
                if None in values or None in values.values():
                    raise UserError(f"{where}: not as many cells as the header has; quote cells that hold commas")
                yield Row(where, {name: cell or None for name, cell in values.items()})
        except csv.Error as error:
            raise UserError(f"{path} line {reader.line_num}: not CSV ({error}); check its quotes") from None


def _read_parquet(filesystem: Any, path: str) -> Iterator[Row]:
    number = 0
    for batch in read_batches(filesystem, path):
        for values in batch.to_pylist():
            yield Row(f"{path} row {number}", values)
            number += 1


def read_batches(filesystem: Any, path: str) -> Iterator[pa.RecordBatch]:
    """A Parquet file a few rows at a time: buffered, or a row group would be read as a whole."""
    with _naming(path), filesystem.open(path, "rb") as file:
        yield from pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False).iter_batches(batch_size=_BATCH_ROWS)


def is_own(filesystem: Any, path: str) -> bool:
    """Whether a file is a table of Generation rows, which a run wrote."""
    if not path.endswith(".parquet"):
        return False
    with filesystem.open(path, "rb") as file, _naming(path):
        metadata = pq.read_schema(file).metadata or {}
    return metadata.get(b"stillery.record") == Generation.__name__.encode()


_READERS: dict[str, Callable[[Any, str], Iterator[Row]]] = {
    ".jsonl": _read_json_lines,
    ".json": _read_json_lines,
    ".parquet": _read_parquet,
    ".csv": _read_csv,
}
