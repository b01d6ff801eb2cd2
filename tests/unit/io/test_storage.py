"""Folders: complete files, and listings that never come from a cache."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from stillery.errors import UserError
from stillery.io.storage import Folder


class ListingFileSystem(LocalFileSystem):
    """Local files whose folders are listed once and then remembered, as file systems of object stores do."""

    protocol = "listing"

    def ls(self, path: str, detail: bool = False, **kwargs: Any) -> list[Any]:
        path = self._strip_protocol(path)
        if path not in self.dircache:
            self.dircache[path] = super().ls(path, detail=True, **kwargs)
        found = self.dircache[path]
        return found if detail else [entry["name"] for entry in found]

    def find(self, path: str, **_: Any) -> list[str]:  # type: ignore[override]
        path = self._strip_protocol(path)
        found = self.ls(path, detail=True) if Path(path).is_dir() else []
        inner = [name for entry in found if entry["type"] == "directory" for name in self.find(entry["name"])]
        return [entry["name"] for entry in found if entry["type"] == "file"] + inner

    def exists(self, path: str, **_: Any) -> bool:
        parent, _, name = self._strip_protocol(path).rpartition("/")
        return any(entry.rpartition("/")[2] == name for entry in self.ls(parent, detail=False))

    def invalidate_cache(self, path: str | None = None) -> None:  # noqa: ARG002
        self.dircache.clear()


@pytest.fixture
def listing(tmp_path: Path) -> Iterator[Folder]:
    fsspec.register_implementation("listing", ListingFileSystem, clobber=True)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "a.parquet").write_bytes(b"a")
    yield Folder(f"listing://{tmp_path}")
    ListingFileSystem.clear_instance_cache()


def test_what_another_process_writes_is_listed_at_once(listing: Folder, tmp_path: Path) -> None:
    fs, path = fsspec.url_to_fs(listing.uri)
    assert fs.ls(path, detail=False) == [f"{tmp_path}/old"]
    assert (listing.names(), listing.find(), listing.exists("new.parquet")) == (["old"], ["old/a.parquet"], False)
    code = "import pathlib, sys; p = pathlib.Path(sys.argv[1]); (p / 'new.parquet').touch(); (p / 'old/b').touch()"
    fs.ls(path)
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert fs.ls(path, detail=False) == [f"{tmp_path}/old"], "this file system caches nothing: the test shows nothing"
    assert listing.names() == ["new.parquet", "old"]
    assert listing.find() == ["new.parquet", "old/a.parquet", "old/b"]
    assert listing.find(".parquet") == ["new.parquet", "old/a.parquet"]
    assert listing.exists("new.parquet")


@pytest.mark.parametrize("protocol", ["", "file://", "memory://"])
def test_files_are_written_moved_and_removed(tmp_path: Path, protocol: str) -> None:
    folder = Folder(f"{protocol}{tmp_path}/run")
    assert (folder.names(), folder.find()) == ([], [])
    folder.write_bytes("a/b/c.json", b"1")
    folder.write_bytes("a/b/c.json", b"2")
    folder.write_bytes("d.json", b"3")
    assert (folder.names(), folder.find()) == (["a", "d.json"], ["a/b/c.json", "d.json"])
    assert folder.read_bytes("a/b/c.json") == b"2"
    with folder.open_file("d.json") as file:
        assert file.read() == b"3"
    folder.move("d.json", "e/d.json")
    folder.remove("a/b/c.json")
    folder.remove("never.json")
    assert folder.find() == ["e/d.json"]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken" / "by a folder").mkdir(parents=True)
    with pytest.raises(UserError, match=r"cannot write .*/taken: .*; free space or choose another run.dir"):
        Folder(str(tmp_path)).write_bytes("taken", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_file_system_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="cannot open nothing://bucket/run: Protocol not known"):
        Folder("nothing://bucket/run").names()
