"""Copies of model folders: complete or absent, verified, made once per node, and bounded."""

import multiprocessing
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from stillery.errors import UserError
from stillery.io.copies import cache_home, fetch_model, keep_copy
from stillery.io.hashing import SUMS
from stillery.io.storage import Folder
from stillery.io.transfer import publish_model, read_sums, verify_model
from stillery.sampling.models import check_model, model_id, resolve_model

STUDENT = Path(resolve_model("embedded:student"))
FILES = sorted(path.name for path in STUDENT.iterdir() if path.name != "README.md")


@pytest.fixture
def published() -> Folder:
    """The embedded student at a URI whose path is no plain one, as training leaves it."""
    folder = Folder(f"memory://bucket/{uuid.uuid4().hex}/a run, ünder #1/checkpoint")
    publish_model(folder, [(Folder(str(STUDENT)), FILES)])
    return folder


def test_a_published_model_is_the_same_wherever_it_lies(published: Folder, tmp_path: Path) -> None:
    copy = fetch_model(published)
    assert {path.name for path in copy.iterdir()} == {*FILES, SUMS}
    assert all((copy / name).read_bytes() == (STUDENT / name).read_bytes() for name in FILES)
    verify_model(copy)
    check_model("sft.student", published.uri)
    assert resolve_model(published.uri) == str(copy)
    elsewhere = Folder(str(tmp_path / "checkpoint"))
    publish_model(elsewhere, [(published, FILES)])
    assert fetch_model(elsewhere) == copy
    assert model_id(published.uri) == model_id(elsewhere.uri) == model_id(str(copy)) == model_id("embedded:student")


def test_the_sums_are_those_of_sha256sum(published: Folder) -> None:
    copy = fetch_model(published)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=copy, check=True)


def test_without_weights_only_the_small_files_are_copied(published: Folder) -> None:
    copy = fetch_model(published, weights=False)
    assert {path.name for path in copy.iterdir()} == {*FILES, SUMS} - {"model.safetensors"}
    assert copy != fetch_model(published)


def test_a_file_that_changed_on_the_way_is_refused_and_not_kept(published: Folder) -> None:
    whole = published.read_bytes("model.safetensors")
    published.write_bytes("model.safetensors", whole[:-4] + b"oops")
    with pytest.raises(UserError, match=r"checkpoint: model\.safetensors is not the file that was written"):
        fetch_model(published)
    assert not [path for path in (cache_home() / "models").iterdir() if path.is_dir()]
    published.write_bytes("model.safetensors", whole)
    check_model("model", str(fetch_model(published)))


def test_a_file_that_is_gone_is_named(published: Folder) -> None:
    fs, path = published.open_fs()
    fs.rm(f"{path}/tokenizer.json")
    with pytest.raises(UserError, match=r"tokenizer\.json is missing, by its SHA256SUMS"):
        fetch_model(published)


def test_what_a_killed_call_left_is_replaced(published: Folder) -> None:
    published.write_bytes("model-00001-of-00002.safetensors", b"half")
    publish_model(published, [(Folder(str(STUDENT)), FILES)])
    assert set(read_sums(published.read_bytes(SUMS))) == set(FILES)
    key = fetch_model(published).name
    shutil.rmtree(cache_home() / "models" / key)
    partial = cache_home() / "models" / f".{key}.partial"
    partial.mkdir()
    (partial / "config.json").write_text("half")
    copy = fetch_model(published)
    assert (copy / "config.json").read_bytes() == (STUDENT / "config.json").read_bytes()
    assert not partial.exists()


def test_a_model_that_changed_at_its_address_is_copied_again() -> None:
    folder = Folder(f"memory://bucket/{uuid.uuid4().hex}")
    for name in FILES:
        folder.write_bytes(name, (STUDENT / name).read_bytes())
    first, identity = fetch_model(folder), model_id(folder.uri)
    assert fetch_model(folder) == first
    time.sleep(0.01)
    folder.write_bytes("generation_config.json", b"{}")
    assert model_id(folder.uri) != identity
    assert (fetch_model(folder) / "generation_config.json").read_text() == "{}"


@pytest.mark.parametrize("uri", ["memory://nowhere/at/all", "memory://"])
def test_an_address_without_a_model_is_said(uri: str) -> None:
    with pytest.raises(UserError, match=r"no Hugging Face model is there \(it has no config.json\)"):
        check_model("sft.student", uri)


def _fetch(uri: str, results: "multiprocessing.SimpleQueue[str]") -> None:
    results.put(str(fetch_model(Folder(uri))))


def test_processes_of_a_node_that_start_together_copy_once(tmp_path: Path) -> None:
    source = Folder(str(tmp_path / "checkpoint"))
    publish_model(source, [(Folder(str(STUDENT)), FILES)])
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    workers = [context.Process(target=_fetch, args=(source.uri, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    copies = {results.get() for _ in workers}
    for worker in workers:
        worker.join()
    assert len(copies) == 1
    made = (Path(copies.pop()) / "config.json").stat().st_ino
    assert (fetch_model(source) / "config.json").stat().st_ino == made


def _fill(folder: Path) -> None:
    (folder / "weights").write_bytes(b"0" * 1000)


def _keep(key: str) -> None:
    keep_copy(key, _fill, what=key)


def test_the_longest_unused_copies_go_when_they_take_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("fork")
    for key in ("first", "second", "third"):
        # Each in a process that has ended: copies that are read stay.
        worker = context.Process(target=_keep, args=(key,))
        worker.start()
        worker.join()
        time.sleep(0.02)
    monkeypatch.setenv("STILLERY_CACHE_GB", "2.5e-6")
    _keep("fourth")
    assert {p.name for p in (cache_home() / "models").iterdir() if p.is_dir()} == {"third", "fourth"}
    monkeypatch.setenv("STILLERY_CACHE_GB", "1e-9")
    _keep("fifth")
    assert {p.name for p in (cache_home() / "models").iterdir() if p.is_dir()} == {"fourth", "fifth"}


def test_a_killed_process_leaves_no_half_copy_and_no_lock(tmp_path: Path) -> None:
    program = (
        "import os, sys; from stillery.io.transfer import keep_copy\n"
        "def fill(folder):\n"
        "    (folder / 'weights').write_text('half'); os.kill(os.getpid(), 9)\n"
        "keep_copy('model', fill, what='it')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    assert not (cache_home() / "models" / "model").exists()
    copy = keep_copy("model", _fill, what="it")
    assert (copy / "weights").read_bytes() == b"0" * 1000


def test_a_cache_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STILLERY_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"\$STILLERY_CACHE to a folder on the node's own disk"):
        _keep("model")
