"""Folders at a path or fsspec URI, and the tables in them.

Every file is complete or absent: it is written under a temporary name, synced to disk and renamed, or put into an
object store in one piece. Listings are never cached, so that other processes' files are seen.
"""

import contextlib
import os
import posixpath
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from stillery import records
from stillery.errors import UserError

# Stores where a file appears complete at once, and there is no renaming.
OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss")


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder at an absolute path or fsspec URI; every worker of the cluster must be able to reach it."""

    uri: str

    def __truediv__(self, name: str) -> "Folder":
        return Folder(posixpath.join(self.uri, name))

    @property
    def local(self) -> Path:
        """The folder as a local path. Raises UserError for object stores, from which a checkpoint must be copied."""
        if "://" in self.uri and not self.uri.startswith("file://"):
            raise UserError(f"{self.uri} is not a local path")
        return Path(self.uri.removeprefix("file://"))

    @property
    def is_local(self) -> bool:
        return "://" not in self.uri or self.uri.startswith("file://")

    def open_fs(self) -> tuple[Any, str]:
        """The fsspec file system, without a listing cache, and the path on it.

        Raises UserError if the URI's protocol is unknown or its package is not installed.
        """
        # Threads share an S3 file system, so one could get another's cached listing.
        options = {"use_listings_cache": False} if self._protocol in ("s3", "s3a") else {}
        try:
            fs, path = fsspec.url_to_fs(self.uri, **options)
        except (ImportError, ValueError) as error:
            raise UserError(f"cannot open {self.uri}: {error}") from error
        fs.invalidate_cache()
        return fs, path

    @property
    def _protocol(self) -> str:
        return self.uri.partition("://")[0] if "://" in self.uri else "file"

    def names(self, suffix: str = "") -> list[str]:
        """The names of the entries, sorted; none if the folder does not exist."""
        fs, path = self.open_fs()
        try:
            paths: list[str] = fs.ls(path, detail=False)
        except FileNotFoundError:
            return []
        return sorted(n for n in (posixpath.basename(p.rstrip("/")) for p in paths) if n.endswith(suffix))

    def find(self, suffix: str = "") -> list[str]:
        """The files of the folder and its subfolders, sorted, by their relative paths; none if it does not exist."""
        fs, path = self.open_fs()
        prefix = path.rstrip("/") + "/"
        return sorted(p.removeprefix(prefix) for p in fs.find(path) if p.endswith(suffix))

    def exists(self, name: str) -> bool:
        fs, path = self.open_fs()
        return bool(fs.exists(posixpath.join(path, name)))

    def read_bytes(self, name: str) -> bytes:
        fs, path = self.open_fs()
        return fs.cat_file(posixpath.join(path, name))

    def open_file(self, name: str) -> IO[bytes]:
        """A file, open for reading."""
        if self.is_local:
            return (self.local / name).open("rb")
        fs, path = self.open_fs()
        return fs.open(posixpath.join(path, name), "rb")

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a file that is either complete, and stays so if the machine loses power, or absent."""
        try:
            if self.is_local:
                _write_local(self.local / name, data)
            else:
                self._write_remote(name, data)
        except OSError as error:
            raise UserError(
                f"cannot write {self.uri}/{name}: {error.strerror or error}; free space or choose another run.dir"
            ) from error

    @contextlib.contextmanager
    def create(self, name: str) -> Generator[IO[bytes]]:
        """A file to be written piece by piece: it gets its name when the block ends, and is absent if it fails."""
        fs, path = self.open_fs()
        temporary = posixpath.join(path, f".{uuid.uuid4().hex}.partial")
        try:
            fs.makedirs(path, exist_ok=True)
            with fs.open(temporary, "wb") as file:
                yield file
                if self.is_local:
                    file.flush()
                    os.fsync(file.fileno())
            fs.mv(temporary, posixpath.join(path, name))
        except BaseException as error:
            with contextlib.suppress(OSError):
                fs.rm(temporary)
            if not isinstance(error, OSError):
                raise
            raise UserError(
                f"cannot write {self.uri}/{name}: {error.strerror or error}; free space or choose another run.dir"
            ) from error

    def _write_remote(self, name: str, data: bytes) -> None:
        fs, path = self.open_fs()
        target = posixpath.join(path, name)
        if self._protocol in OBJECT_STORES:
            fs.pipe_file(target, data)
            return
        temporary = posixpath.join(posixpath.dirname(target), f".{uuid.uuid4().hex}.partial")
        try:
            fs.makedirs(posixpath.dirname(target), exist_ok=True)
            with fs.open(temporary, "wb") as file:
                file.write(data)
            fs.mv(temporary, target)
        except OSError:
            with contextlib.suppress(OSError):
                fs.rm(temporary)
            raise

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        fs, path = self.open_fs()
        with contextlib.suppress(FileNotFoundError):
            fs.rm_file(posixpath.join(path, name))

    def move(self, name: str, new_name: str) -> None:
        """Rename a file within the folder. Raises FileNotFoundError if it does not exist."""
        fs, path = self.open_fs()
        target = posixpath.join(path, new_name)
        fs.makedirs(posixpath.dirname(target), exist_ok=True)
        fs.mv(posixpath.join(path, name), target)

    def read_table(self, name: str, record: type[Any]) -> pa.Table:
        """One Parquet file as a table of the record's schema. Raises UserError, naming it, for a truncated file or one
        with another table."""
        try:
            return records.conform(pq.read_table(pa.BufferReader(self.read_bytes(name))), record)
        except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
            raise self._unreadable(name, f"no table of {record.__name__} ({error})") from None

    def num_rows_of(self, name: str) -> int:
        """The number of rows of one Parquet file, from its footer. Raises UserError for a truncated one."""
        with self.open_file(name) as file:
            try:
                return pq.read_metadata(file).num_rows
            except pa.ArrowInvalid as error:
                raise self._unreadable(name, f"not whole ({error})") from None

    def _unreadable(self, name: str, why: str) -> UserError:
        return UserError(
            f"{self.uri}/{name}: the file is {why}; if it was changed or copied, get it again; else remove the folder, "
            "and what made it is run again"
        )

    def read_rows(self, name: str, record: type[records.R]) -> list[records.R]:
        return records.from_table(self.read_table(name, record), record)

    def read_all(self, record: type[Any]) -> pa.Table:
        """Every Parquet file of the folder, in order of name, as one table: an output holds one kind of record."""
        tables = [self.read_table(name, record) for name in self.names(".parquet")]
        return pa.concat_tables(tables) if tables else records.to_table([], record)

    def num_rows(self) -> int:
        """The number of rows of all Parquet files of the folder, from their footers."""
        return sum(self.num_rows_of(name) for name in self.names(".parquet"))

    def write_table(self, name: str, table: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self.write_bytes(name, sink.getvalue().to_pybytes())

    def write_rows(self, name: str, rows: list[Any], record: type[Any]) -> None:
        self.write_table(name, records.to_table(rows, record))


def _write_local(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{uuid.uuid4().hex}.partial"
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
