"""A node's own copies of model folders at a URI or in the registry.

    CACHE/models/KEY/              a copy, renamed into place when it is whole and verified
    CACHE/models/.KEY.lock         held shared by every process that reads the copy, alone by the one that makes it

KEY is a digest of the folder's contents, so the same model under two addresses is stored once, and a changed folder is
copied again. The least recently used copies are evicted first when they take more than $STILLERY_CACHE_GB.
"""

import errno
import fcntl
import os
import posixpath
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillery.errors import UserError
from stillery.io.hashing import OTHER_WEIGHTS, SUMS, fingerprint_of_sums
from stillery.io.run_folder import home
from stillery.io.storage import Folder
from stillery.io.transfer import compare_sums, copy_files, read_sums, write_sums
from stillery.records import digest

DEFAULT_CACHE_GB = 100.0

# Weights that no code here loads, and unfinished files.
_LEFT_OUT = (*sorted(OTHER_WEIGHTS), ".partial")

# The locks of the copies that this process reads: the kernel releases them when it ends, however it ends.
_held: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class _CachedCopy:
    """A file of a folder; `version` is the storage's identifier of its contents: an ETag or a modification time."""

    name: str
    size: int
    version: str


def cache_home() -> Path:
    """A folder on the node's own disk, for copies of models and scratch: $STILLERY_CACHE, else HOME/cache."""
    told = os.environ.get("STILLERY_CACHE")
    return Path(told).expanduser().absolute() if told else home() / "cache"


def fetch_model(folder: Folder, *, weights: bool = True) -> Path:
    """The node's own copy of a model folder at a URI, made if it does not exist yet; `weights` false leaves those out.

    Raises UserError if there is no such folder, if it arrives incomplete, or if the disk is full.
    """
    entries = [entry for entry in _entries(folder) if weights or not entry.name.endswith(".safetensors")]
    sums = read_sums(folder.read_bytes(SUMS)) if any(entry.name == SUMS for entry in entries) else None
    wanted = sorted(entry.name for entry in entries if entry.name != SUMS)
    if sums is None:
        key = digest("model", folder.uri, [[entry.name, entry.size, entry.version] for entry in entries])
    else:
        sums = {name: value for name, value in sums.items() if weights or not name.endswith(".safetensors")}
        key = digest("model", sums)

    def fill(partial: Path) -> None:
        copied = copy_files(folder, Folder(str(partial)), wanted)
        if sums is not None:
            compare_sums(folder.uri, sums, copied)
        (partial / SUMS).write_bytes(write_sums(copied))

    return keep_copy(key, fill, what=folder.uri)


def identify_model(folder: Folder) -> str:
    """The identity of a model folder at a URI, without reading its weights: by its checksums, which make it equal to a
    local folder of the same files, else by the storage's identifiers of its files."""
    entries = _entries(folder)
    if any(entry.name == SUMS for entry in entries):
        return fingerprint_of_sums(read_sums(folder.read_bytes(SUMS)))
    return digest("model", folder.uri, [[entry.name, entry.size, entry.version] for entry in entries])


def keep_copy(key: str, fill: Callable[[Path], None], *, what: str) -> Path:
    """The node's copy under a key, which `fill` makes in an empty folder if there is none; one process at a time.

    The copy stays while this process runs. Raises UserError, naming `what` is copied, for a full disk.
    """
    models = cache_home() / "models"
    folder, lock = models / key, models / f".{key}.lock"
    if key in _held and folder.is_dir():
        return folder
    if key in _held:
        # Removed by hand: our own lock would keep us from making it again.
        os.close(_held.pop(key))
    try:
        models.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise UserError(
            f"cannot keep copies of models in {models} ({error.strerror}): set $STILLERY_CACHE to a folder on the "
            "node's own disk that this user may write to"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        while not folder.is_dir():
            # A process that waited for the one that makes it, or lost it to an eviction in between, looks again.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not folder.is_dir():
                _make(folder, fill)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.utime(lock)
    except BaseException as error:
        os.close(descriptor)
        if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"cannot keep a copy of {what} in {models} ({error.strerror}): free space there, lower $STILLERY_CACHE_GB, "
            "or set $STILLERY_CACHE to a folder on a larger disk"
        ) from None
    _held[key] = descriptor
    _evict(models)
    return folder


def _make(folder: Path, fill: Callable[[Path], None]) -> None:
    """Only the holder of the lock is here, so a folder under the temporary name is left over from a killed call."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        fill(partial)
        # Without it, a machine that loses power after the rename may come back with empty files.
        for path in [*(p for p in partial.rglob("*") if p.is_file()), partial]:
            _sync(path)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _evict(models: Path) -> None:
    """Remove copies that no process reads, the least recently used first, until the rest is within the limit."""
    limit = float(os.environ.get("STILLERY_CACHE_GB") or DEFAULT_CACHE_GB) * 1e9
    copies = {p: _size(p) for p in models.iterdir() if p.is_dir() and not p.name.startswith(".")}
    total = sum(copies.values())
    for folder in sorted(copies, key=lambda p: _last_used(models / f".{p.name}.lock")):
        if total <= limit:
            return
        descriptor = os.open(models / f".{folder.name}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
            total -= copies[folder]
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _last_used(lock: Path) -> float:
    return lock.stat().st_mtime if lock.exists() else 0.0


def _entries(folder: Folder) -> list[_CachedCopy]:
    """The files of a model, sorted by name."""
    fs, path = folder.open_fs()
    fs.invalidate_cache(path)
    try:
        found: list[dict[str, Any]] = fs.ls(path, detail=True)
    except FileNotFoundError:
        found = []
    except OSError as error:
        raise UserError(f"{folder.uri} cannot be read ({error}): correct the address or the credentials") from None
    entries = [
        _CachedCopy(posixpath.basename(entry["name"]), int(entry["size"]), _version(entry))
        for entry in found
        if entry["type"] == "file" and not entry["name"].endswith((*_LEFT_OUT, "/"))
    ]
    if not any(entry.name in ("config.json", "adapter_config.json") for entry in entries):
        raise UserError(f"{folder.uri}: no Hugging Face model is there (it has no config.json)")
    return sorted(entries, key=lambda entry: entry.name)


def _version(entry: Mapping[str, Any]) -> str:
    """The storage services' names for it, the most informative first."""
    names = ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "last_modified", "updated", "mtime", "created")
    return str(next((entry[name] for name in names if entry.get(name)), ""))
