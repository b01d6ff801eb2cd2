"""Runs in an object store: the pages equal those of a local run, and the store is only read."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
from starlette.testclient import TestClient

from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.io.transfer import copy_tree
from stillery.ui.app import make_app
from stillery.ui.run_copy import RunCopy
from stillery.ui.runs import RunList
from support.ui_runs import make_ui_run

PAGES = (
    "/runs/adder/samples?verdict=wrong&sort=-stability",
    "/runs/adder/samples/p01s2",
    "/runs/adder/samples/p01s0/molecule.svg",
    "/runs/adder/problems?split=test&change=gained",
    "/runs/adder/problems/test0?i=1",
    "/runs/adder/report",
    "/compare?a=adder:student_before&b=adder:student_after",
)


@pytest.fixture
def store() -> Iterator[Folder]:
    folder = Folder(f"memory://{uuid.uuid4().hex}/adder")
    yield folder
    for name in folder.find():
        folder.remove(name)


def held(store: Folder) -> dict[str, bytes]:
    return {name: store.read_bytes(name) for name in store.find()}


def shown(runs: RunList, page: str) -> tuple[int, str]:
    with TestClient(make_app(runs), base_url="http://127.0.0.1") as client:
        answer = client.get(page)
    return answer.status_code, answer.text


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_that_of_a_local_run(tmp_path: Path, store: Folder, page: str) -> None:
    local = make_ui_run(tmp_path / "adder").local
    copy_tree(local, store)
    before = held(store)
    here, there = shown(RunList([str(local)]), page), shown(RunList([store.uri]), page)
    assert here[0] == 200
    assert there == (here[0], here[1].replace(str(local), store.uri))
    assert held(store) == before


def test_a_copy_brings_what_is_asked_for_and_follows_the_store(tmp_path: Path, store: Folder) -> None:
    local = make_ui_run(tmp_path / "adder", until="generate").local
    copy_tree(local, store)
    store.write_bytes("stages/sft/f1/checkpoint/model.safetensors", b"weights")
    copy = RunCopy(store, listed_for_s=0)
    copy.refresh()
    assert sorted(path.name for path in copy.path.rglob("*") if path.is_file()) == [
        "manifest.json",
        "manifest.json",
        "run.yaml",
    ]
    copy.fetch(copy.path / "stages" / "generate" / "generate-1")
    tables = [path.name for path in copy.path.rglob("*.parquet")]
    assert sorted(tables) == ["generations-00000.parquet", "generations-00001.parquet"]
    store.remove("stages/generate/generate-1/generations-00001.parquet")
    store.write_bytes("run.yaml", b"run: {name: other}\n")
    copy.refresh()
    assert [path.name for path in copy.path.rglob("*.parquet")] == ["generations-00000.parquet"]
    assert (copy.path / "run.yaml").read_bytes() == b"run: {name: other}\n"


def test_who_wrote_a_moment_ago_is_at_work_and_of_others_nobody_knows(tmp_path: Path, store: Folder) -> None:
    copy_tree(make_ui_run(tmp_path / "adder", until="curate").local, store)
    page = shown(RunList([store.uri]), "/runs/adder")[1]
    assert '<tr class="now">' in page
    assert "kept for training" in page
    fs: Any = fsspec.filesystem("memory")
    for name in fs.find(store.uri):
        fs.store[name].created -= timedelta(hours=1)
    page = shown(RunList([store.uri]), "/runs/adder")[1]
    assert "Whether the run is being worked on cannot be told" in page


def test_a_run_that_is_not_there_is_named(store: Folder) -> None:
    with pytest.raises(UserError, match=f"no run {store.uri}"):
        RunList([store.uri])
