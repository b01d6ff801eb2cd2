"""Verified copies of files between a run's storage and a node's own disk.

A model folder written by stillery contains SHA256SUMS, the checksums of its files in sha256sum's format. It is written
last, so a folder that has it is complete.
"""

import hashlib
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from stillery.errors import UserError
from stillery.io.hashing import SUMS
from stillery.io.storage import Folder

_CHUNK_BYTES = 8 << 20
_FILES_AT_ONCE = 4
_SUM_LINE = re.compile(r"(?P<sum>[0-9a-f]{64}) [ *](?P<name>.+)")


def copy_files(source: Folder, target: Folder, names: Iterable[str]) -> dict[str, str]:
    """Copy files between folders and read each one back. Returns their SHA-256 by name.

    Raises UserError for a file that arrived changed.
    """
    source_fs, source_path = source.open_fs()
    target_fs, target_path = target.open_fs()
    target_fs.makedirs(target_path, exist_ok=True)

    def copy(name: str) -> tuple[str, str]:
        written = posixpath.join(target_path, name)
        sent = hashlib.sha256()
        with source_fs.open(posixpath.join(source_path, name), "rb") as reader, target_fs.open(written, "wb") as writer:
            while chunk := reader.read(_CHUNK_BYTES):
                sent.update(chunk)
                writer.write(chunk)
        if _sum_of(target_fs, written) != sent.hexdigest():
            raise UserError(f"{target.uri}/{name} is not what {source.uri}/{name} was when it was copied; try again")
        return name, sent.hexdigest()

    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        return dict(pool.map(copy, names))


def copy_tree(source: Path, target: Folder) -> None:
    """Copy a local folder with its subfolders into `target`, reading each file back.

    Raises UserError for a file that arrived changed.
    """
    for folder in [source, *sorted(path for path in source.rglob("*") if path.is_dir())]:
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
        below = folder.relative_to(source).as_posix()
        copy_files(Folder(str(folder)), target if below == "." else target / below, names)


def publish_model(target: Folder, parts: Sequence[tuple[Folder, Iterable[str]]]) -> None:
    """Make `target` a model folder of these files from these folders; leftovers of a killed call are replaced."""
    fs, path = target.open_fs()
    if fs.exists(path):
        fs.rm(path, recursive=True)
    sums: dict[str, str] = {}
    for source, names in parts:
        sums |= copy_files(source, target, names)
    target.write_bytes(SUMS, write_sums(sums))


def write_sums(sums: Mapping[str, str]) -> bytes:
    """The contents of a SHA256SUMS file."""
    return "".join(f"{value}  {name}\n" for name, value in sorted(sums.items())).encode()


def read_sums(data: bytes) -> dict[str, str]:
    """The checksums by name from a SHA256SUMS file. Raises UserError for an invalid line."""
    found = [(line, _SUM_LINE.fullmatch(line)) for line in data.decode(errors="replace").splitlines()]
    damaged = next((line for line, match in found if match is None), None)
    if damaged is not None:
        raise UserError(f"{SUMS} holds the line {damaged[:80]!r}, which is no sum and name: copy the folder again")
    return {match["name"]: match["sum"] for _, match in found if match is not None}


def verify_model(folder: Path) -> None:
    """Raise UserError if a local folder has checksums and its files do not match them."""
    if not (folder / SUMS).is_file():
        return
    compare_sums(str(folder), read_sums((folder / SUMS).read_bytes()), sums_of(folder))


def compare_sums(where: str, wanted: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Raise UserError, with the location, if a wanted file is missing among those found, or differs."""
    differing = sorted(name for name in wanted if wanted[name] != found.get(name))
    if differing:
        state = "is missing" if differing[0] not in found else "is not the file that was written"
        raise UserError(f"{where}: {differing[0]} {state}, by its {SUMS}; copy or make the model again")


def sums_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of a local folder, except its checksum file."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != SUMS)
    fs, _ = Folder(str(folder)).open_fs()
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        return dict(zip((f.name for f in files), pool.map(lambda f: _sum_of(fs, str(f)), files), strict=True))


def _sum_of(fs: Any, path: str) -> str:
    found = hashlib.sha256()
    with fs.open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()
