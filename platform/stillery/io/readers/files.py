"""Files by path, glob, folder or URI, as streams of rows: JSON lines, JSON arrays, CSV, TSV and Parquet.

A file may be compressed with gzip, bzip2, xz or zstd; its first bytes decide, whatever its name. Rows are read on
demand. A row that cannot be read is a RowError among the rows; a file that cannot be read to its end is a UserError,
since its remaining contents are unknown.
"""

import contextlib
import io
import lzma
import posixpath
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import fsspec
import pyarrow as pa

from stillery.errors import UserError
from stillery.io.hashing import file_fingerprint
from stillery.io.readers.csv_rows import read_csv
from stillery.io.readers.json_rows import read_json
from stillery.io.readers.parquet_rows import read_parquet
from stillery.io.readers.rows import Row, RowError

Reader = Callable[[IO[bytes], str], Iterator[Row | RowError]]

_READERS: dict[str, Reader] = {
    ".jsonl": read_json,
    ".ndjson": read_json,
    ".json": read_json,
    ".parquet": read_parquet,
    ".csv": read_csv,
    ".tsv": partial(read_csv, delimiter="\t"),
}
SUFFIXES = tuple(_READERS)
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
# Other types that a file may have, by its first bytes, and the remedy.
_OTHER = {
    b"\xff\xfe": "UTF-16 or UTF-32 text, which is not read; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text, which is not read; save it as UTF-8",
    b"PK\x03\x04": "a ZIP archive or a workbook, which is not read; unpack it, or save it as CSV in UTF-8",
    b"version https://git-lfs": "a pointer of Git LFS, not the file; fetch it with git lfs pull",
    b"<!DOCTYPE": "a web page; download the file itself",
    b"<html": "a web page; download the file itself",
}


def find_files(names: Sequence[str], *, key: str) -> list[tuple[Any, str]]:
    """The files matched by paths, globs, folders or URIs, each with its fsspec file system; a folder's in order of
    name.

    Raises UserError, naming the config's key, where there is none.
    """
    found: list[tuple[Any, str]] = []
    for name in names:
        try:
            found += _find(name, key=key)
        except UserError:
            raise
        except Exception as error:
            # Boundary to the stores: each of fsspec's raises errors of its own.
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"{key}={name}: cannot be reached ({said}); check the address and the access") from None
    return found


def _find(name: str, *, key: str) -> list[tuple[Any, str]]:
    filesystem, path = fsspec.url_to_fs(name)
    if filesystem.isdir(path):
        entries = sorted(filesystem.ls(path, detail=False))
        # Not .json: a run's output holds a manifest beside its tables.
        paths = [e for e in entries if suffix_of(e) in _READERS and not e.endswith(".json") and not _is_hidden(e)]
    elif filesystem.exists(path):
        paths = [path]
    else:
        paths = sorted(filesystem.glob(path)) if any(mark in path for mark in "*?[") else []
    if not paths:
        what = "no such file" if not filesystem.isdir(path) else f"no {', '.join(SUFFIXES)} in it"
        raise UserError(f"{key}={name}: {what}")
    return [(filesystem, path) for path in paths]


def fingerprints(names: Sequence[str], *, key: str) -> list[str]:
    """The identity of the files' contents, in the order in which they are read: SHA-256 of local ones, else the store's
    own identifier (such as an ETag)."""
    return [
        file_fingerprint(Path(path)) if "file" in filesystem.protocol else f"{path}:{filesystem.ukey(path)}"
        for filesystem, path in find_files(names, key=key)
    ]


def read_rows(filesystem: Any, path: str) -> Iterator[Row | RowError]:
    """The rows of one file, read on demand."""
    suffix = suffix_of(path)
    if suffix not in _READERS:
        raise UserError(f"{path}: the suffix is not one of {', '.join(SUFFIXES)}; convert or rename it")
    with open_plain(filesystem, path) as (file, _), naming(path):
        yield from _READERS[suffix](file, path)


@contextlib.contextmanager
def open_plain(filesystem: Any, path: str) -> Generator[tuple[IO[bytes], str | None]]:
    """The file's decompressed bytes, and the compression's name. Parquet is seekable, the others are streams."""
    with contextlib.ExitStack() as stack, naming(path):
        file: Any = stack.enter_context(filesystem.open(path, "rb"))
        head = file.read(32)
        file.seek(0)
        for magic, what in _OTHER.items():
            if head.startswith(magic):
                raise UserError(f"{path}: {what}")
        if head.startswith(b"PAR1") and suffix_of(path) != ".parquet":
            raise UserError(f"{path}: a Parquet file; rename it to .parquet")
        if head.lstrip()[:1] in (b"{", b"[") and suffix_of(path) == ".parquet":
            raise UserError(f"{path}: JSON, not Parquet; rename it to .jsonl")
        compression = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
        if compression == "xz":
            file = stack.enter_context(lzma.open(file))
        elif compression is not None:
            file = stack.enter_context(io.BufferedReader(pa.CompressedInputStream(file, compression)))
        if compression is not None and suffix_of(path) == ".parquet":
            whole = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(file, whole, 1 << 20)
            whole.seek(0)
            file = whole
        yield file, compression


@contextlib.contextmanager
def naming(path: str) -> Generator[None]:
    """Turns errors on a file as a whole into errors that name it."""
    try:
        yield
    except (pa.ArrowException, OSError, EOFError, lzma.LZMAError) as error:
        raise UserError(f"{path}: cannot be read to its end ({str(error).splitlines()[0]}); write it again") from None


def suffix_of(path: str) -> str:
    """The suffix of the format, without that of the compression."""
    stem, suffix = posixpath.splitext(path.lower())
    return posixpath.splitext(stem)[1] if suffix in COMPRESSED else suffix


def _is_hidden(path: str) -> bool:
    return posixpath.basename(path).startswith((".", "_"))
