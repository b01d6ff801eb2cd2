"""The files of a run's sample log that count: complete, and not replaced by another. Nothing is moved or written.

An engine may be writing, a driver may be compacting files: an incomplete file is skipped, and read once complete.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from stillery.records import Generation, schema_of
from stillery.sampling.sample_log import QUARANTINE, REPLACES
from stillery.ui.runs import RunView

T = TypeVar("T")


def log_of(run: RunView) -> Path | None:
    """The log that was written to last, with its local files; None where the run has none yet."""
    run.fetch(run.path / "log")
    logs = {path: files for path in (run.path / "log").glob("*/") if (files := _files(path))}
    return max(logs, key=lambda path: max(_changed(file) for file in logs[path])) if logs else None


def read_log(log: Path, read: Callable[[list[Path]], T]) -> T:
    """The result of `read` on the files of a log; retried if some were compacted meanwhile."""
    try:
        return read(whole_files(log))
    except (FileNotFoundError, duckdb.IOException):
        return read(whole_files(log))


def whole_files(log: Path) -> list[Path]:
    """The files of a log whose samples count, in order of batch and number."""
    read = {file: _replaced(file, _changed(file)) for file in _files(log)}
    gone = {name for replaced in read.values() for name in replaced or ()}
    return [
        file for file, replaced in read.items() if replaced is not None and file.relative_to(log).as_posix() not in gone
    ]


def _files(log: Path) -> list[Path]:
    aside = QUARANTINE.rstrip("/")
    return sorted(f for f in log.rglob("*.parquet") if aside not in f.parts and not f.name.startswith("."))


def _changed(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


@functools.lru_cache(maxsize=1 << 16)
def _replaced(file: Path, _changed_ns: int) -> tuple[str, ...] | None:
    """The names of the files that this one replaces; None for an incomplete or missing file, or one without samples."""
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError, ValueError):
        return None
    if not set(schema_of(Generation).names) <= set(schema.names):
        return None
    return tuple(json.loads((schema.metadata or {}).get(REPLACES, b"[]")))
