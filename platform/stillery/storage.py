"""A folder at a path or fsspec URI, and the tables in it.

Every file is written under a temporary name and renamed, so it is whole or not there.
"""

import contextlib
import posixpath
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from stillery import records
from stillery.errors import UserError


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder at an absolute path or fsspec URI; every worker of the cluster must be able to reach it."""

    uri: str

    def __truediv__(self, name: str) -> "Folder":
        return Folder(posixpath.join(self.uri, name))

    @property
    def local(self) -> Path:
        """The folder as a local path. Raises UserError for object stores, which a checkpoint is copied from."""
        if "://" in self.uri and not self.uri.startswith("file://"):
            raise UserError(f"{self.uri} is not a local path")
        return Path(self.uri.removeprefix("file://"))

    @property
    def is_local(self) -> bool:
        return "://" not in self.uri or self.uri.startswith("file://")

    def open_fs(self) -> tuple[Any, str]:
        """The fsspec file system and the path on it."""
        fs, path = fsspec.url_to_fs(self.uri)
        return fs, path

    def names(self, suffix: str = "") -> list[str]:
        """The names of the entries, sorted; none if the folder does not exist."""
        fs, path = self.open_fs()
        if not fs.exists(path):
            return []
        return sorted(
            n for n in (posixpath.basename(p.rstrip("/")) for p in fs.ls(path, detail=False)) if n.endswith(suffix)
        )

    def exists(self, name: str) -> bool:
        fs, path = self.open_fs()
        return bool(fs.exists(posixpath.join(path, name)))

    def read_bytes(self, name: str) -> bytes:
        fs, path = self.open_fs()
        return fs.cat_file(posixpath.join(path, name))

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a file that is either wholly there or not there: a temporary name, then renamed."""
        fs, path = self.open_fs()
        target = posixpath.join(path, name)
        temporary = posixpath.join(path, f".{uuid.uuid4().hex}.partial")
        try:
            fs.makedirs(path, exist_ok=True)
            with fs.open(temporary, "wb") as file:
                file.write(data)
            fs.mv(temporary, target)
        except OSError as error:
            with contextlib.suppress(OSError):
                fs.rm(temporary)
            raise UserError(
                f"cannot write {self.uri}/{name}: {error.strerror or error}; free space or choose another run.dir"
            ) from error

    def read_table(self, name: str, record: type[Any]) -> pa.Table:
        """One Parquet file as a table of the record's schema."""
        return records.conform(pq.read_table(pa.BufferReader(self.read_bytes(name))), record)

    def read_rows(self, name: str, record: type[records.R]) -> list[records.R]:
        return records.from_table(self.read_table(name, record), record)

    def read_all(self, record: type[Any]) -> pa.Table:
        """Every Parquet file of the folder, in order of name, as one table: an output holds one kind of record."""
        tables = [self.read_table(name, record) for name in self.names(".parquet")]
        return pa.concat_tables(tables) if tables else records.to_table([], record)

    def num_rows(self) -> int:
        """The rows of all Parquet files of the folder, by what their ends say of them."""
        fs, path = self.open_fs()
        total = 0
        for name in self.names(".parquet"):
            with fs.open(posixpath.join(path, name), "rb") as file:
                total += pq.read_metadata(file).num_rows
        return total

    def write_table(self, name: str, table: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self.write_bytes(name, sink.getvalue().to_pybytes())

    def write_rows(self, name: str, rows: list[Any], record: type[Any]) -> None:
        self.write_table(name, records.to_table(rows, record))
