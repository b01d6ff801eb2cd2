"""A run in an object store: the shown part of it as a copy in this machine's cache, kept up to date.

CACHE/ui/KEY/ has the layout of the run folder, with the times of the store's files; KEY is a digest of its address.

Small files (the config, manifests, the state of a training) are updated at each access, at most every few seconds;
tables are fetched when a page needs their folder, and kept. Nothing is written to the store.
"""

import contextlib
import os
import posixpath
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stillery.io.copies import cache_home
from stillery.io.run_folder import MANIFEST, STARTED
from stillery.io.storage import Folder
from stillery.records import digest

# How long a listing of the store counts as current, in seconds.
LISTED_FOR_S = 5.0
# A store has no lock that shows whether a driver works. A run with writes this recent counts as running.
_AT_WORK_S = 300.0
_TOLD = ("run.yaml", STARTED)
_TABLES = (".parquet", ".json", ".html")


@dataclass(frozen=True, slots=True)
class _RemoteFile:
    size: int
    changed: float


class RunCopy:
    """The copy of one run. Methods may be called from any thread; the store's failures become an OSError."""

    def __init__(self, source: Folder, *, listed_for_s: float = LISTED_FOR_S) -> None:
        self.path = cache_home() / "ui" / digest("ui", source.uri)[:16]
        self._source = source
        self._listed_for_s = listed_for_s
        self._entries: dict[str, _RemoteFile] = {}
        self._listed = float("-inf")
        self._lock = threading.Lock()
        self.path.mkdir(parents=True, exist_ok=True)

    def refresh(self) -> None:
        """List the run if the last listing is some seconds old, update the small files, and remove those that have
        gone."""
        with self._lock:
            if time.monotonic() - self._listed < self._listed_for_s:
                return
            self._entries = self._list()
            for name in self._entries:
                if name in _TOLD or posixpath.basename(name) in (MANIFEST, "trainer_state.json"):
                    self._bring(name)
            self._make_folders()
            for path in [path for path in self.path.rglob("*") if path.is_file()]:
                # A hidden file may be another process's download.
                if path.relative_to(self.path).as_posix() not in self._entries and not path.name.startswith("."):
                    path.unlink(missing_ok=True)
            self._listed = time.monotonic()

    def fetch(self, folder: Path) -> None:
        """Fetch the tables below a folder of the copy, as of the last listing."""
        below = folder.relative_to(self.path).as_posix() + "/"
        with self._lock:
            for name in [name for name in self._entries if name.startswith(below) and name.endswith(_TABLES)]:
                self._bring(name)

    @property
    def is_at_work(self) -> bool:
        """Whether something was written in the last minutes."""
        newest = max((entry.changed for entry in self._entries.values()), default=0.0)
        return time.time() - newest < _AT_WORK_S

    def _list(self) -> dict[str, _RemoteFile]:
        with _as_os_error(self._source):
            fs, path = self._source.open_fs()
            found: dict[str, dict[str, Any]] = fs.find(path, detail=True)
        prefix = path.rstrip("/") + "/"
        names = {name.removeprefix(prefix): entry for name, entry in found.items()}
        return {
            name: _RemoteFile(int(entry["size"] or 0), _changed(entry))
            for name, entry in names.items()
            # Unfinished files have a hidden name, and no name may lead out of the folder.
            if not any(part.startswith(".") for part in name.split("/"))
        }

    def _bring(self, name: str) -> None:
        """Copy a file, unless the local one has the same size and time; a file that has gone is left out."""
        entry, target = self._entries[name], self.path / name
        with contextlib.suppress(FileNotFoundError):
            here = target.stat()
            if here.st_size == entry.size and abs(here.st_mtime - entry.changed) < 0.01:
                return
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            with contextlib.suppress(FileNotFoundError), _as_os_error(self._source):
                fs, path = self._source.open_fs()
                fs.get_file(posixpath.join(path, name), str(partial))
                os.utime(partial, (entry.changed, entry.changed))
                partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def _make_folders(self) -> None:
        """The folders of outputs, each with the time of its newest file, which identifies a running stage."""
        newest: dict[str, float] = {}
        for name, entry in self._entries.items():
            parts = name.split("/")
            if parts[0] == "stages" and len(parts) > 3:
                output = "/".join(parts[:3])
                newest[output] = max(newest.get(output, 0.0), entry.changed)
        for output, changed in newest.items():
            (self.path / output).mkdir(parents=True, exist_ok=True)
            os.utime(self.path / output, (changed, changed))


@contextlib.contextmanager
def _as_os_error(source: Folder) -> Any:
    """Boundary to the store: each client raises errors of its own."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OSError(f"{source.uri} cannot be read: {said}") from error


def _changed(entry: Mapping[str, Any]) -> float:
    """The store's modification time of a file, in seconds; 0 where unknown."""
    names = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")
    told = next((entry[name] for name in names if entry.get(name)), 0.0)
    if isinstance(told, str):
        told = datetime.fromisoformat(told)
    if isinstance(told, datetime):
        return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
    return float(told)
