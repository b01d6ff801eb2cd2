"""Hashes of files and models: of their full contents, computed once while a file is unchanged."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from stillery.io.hashing import contents_of, file_fingerprint, model_fingerprint

MIB = 1 << 20


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of kept hashes."""
    monkeypatch.setenv("STILLERY_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hashes"


def make_model(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(5 * MIB))
    return folder


def settle(path: Path) -> None:
    """Wait until a new write must have a new time."""
    while time.time_ns() - path.stat().st_ctime_ns <= 2_100_000_000:
        time.sleep(0.05)


def write_within(path: Path, position: int) -> None:
    """Change one byte, and set the time of the last change back as a careless tool might."""
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(position)
        file.write(b"x")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_the_same_files_elsewhere_are_the_same_model(tmp_path: Path) -> None:
    first = make_model(tmp_path / "a")
    second = shutil.copytree(first, tmp_path / "b")
    linked = tmp_path / "c"
    linked.mkdir()
    for path in first.iterdir():
        (linked / path.name).symlink_to(path)
    assert model_fingerprint(first) == model_fingerprint(second) == model_fingerprint(linked)


def test_a_kept_hash_is_used_as_long_as_the_file_is_the_same(tmp_path: Path, kept: Path) -> None:
    model = make_model(tmp_path / "a")
    path = model / "model.safetensors"
    settle(path)
    before, found = model_fingerprint(model), file_fingerprint(path)
    (entry,) = kept.glob("*.json")
    # Were the file read again, this mark would be overlooked.
    entry.write_text(json.dumps(json.loads(entry.read_text()) | {"sha256": "kept"}))
    assert file_fingerprint(path) == "kept"
    write_within(path, 5 * MIB // 2)
    assert file_fingerprint(path) not in ("kept", found)
    assert model_fingerprint(model) != before
    entry.write_text("{")
    assert model_fingerprint(model) != before


def test_a_file_in_the_place_of_another_is_read(tmp_path: Path) -> None:
    path, replacement = make_model(tmp_path / "a") / "model.safetensors", tmp_path / "new"
    before = file_fingerprint(path)
    replacement.write_bytes(b"x" + bytes(5 * MIB - 1))
    replacement.replace(path)
    assert file_fingerprint(path) != before


def test_what_was_written_just_now_is_not_kept(tmp_path: Path, kept: Path) -> None:
    model = make_model(tmp_path / "a")
    model_fingerprint(model)
    assert not list(kept.glob("*.json"))


@pytest.mark.parametrize(
    "name",
    ["tokenizer.model", "merges.txt", "vocab.txt", "chat_template.jinja", "qwen.tiktoken", "modeling_own.py",
     "generation_config.json", "additional_chat_templates/tools.jinja"],
)  # fmt: skip
def test_every_file_that_a_model_is_read_from_counts(tmp_path: Path, name: str) -> None:
    model = make_model(tmp_path / "a")
    seen = {model_fingerprint(model)}
    (model / name).parent.mkdir(exist_ok=True)
    for text in ("one", "two"):
        (model / name).write_text(text)
        seen.add(model_fingerprint(model))
    assert len(seen) == 3


@pytest.mark.parametrize(
    "name", ["README.md", "LICENSE", "LICENSE.txt", ".gitattributes", "pytorch_model.bin", "x.gguf"]
)
def test_files_that_no_model_is_read_from_do_not(tmp_path: Path, name: str) -> None:
    model = make_model(tmp_path / "a")
    before = model_fingerprint(model)
    (model / name).write_text("any")
    assert model_fingerprint(model) == before


def test_an_adapter_includes_its_base(tmp_path: Path) -> None:
    base, adapter = make_model(tmp_path / "base"), make_model(tmp_path / "adapter")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    before = model_fingerprint(adapter)
    (base / "config.json").write_text('{"other": 1}')
    assert model_fingerprint(adapter) != before


def test_paths_in_settings_count_by_what_lies_there(tmp_path: Path) -> None:
    template, folder = tmp_path / "t.jinja", tmp_path / "f"
    template.write_text("{{ one }}")
    folder.mkdir()
    settings = {
        "chat_template_path": str(template),
        "deep": [{"er": str(folder)}],
        "lr": 1e-3,
        "name": "a/b",
        "n": None,
    }
    before = contents_of(settings)
    assert (before["lr"], before["name"], before["n"]) == (1e-3, "a/b", None)
    moved = tmp_path / "elsewhere.jinja"
    shutil.copy(template, moved)
    assert contents_of({**settings, "chat_template_path": str(moved)}) == before
    (folder / "x.json").write_text("new")
    deeper = contents_of(settings)
    template.write_text("{{ two }}")
    assert len({str(before), str(deeper), str(contents_of(settings))}) == 3


@pytest.mark.parametrize("text", ["", "x" * 5000, "a\0b", "~nobody-there/x", "auto"])
def test_what_is_no_path_stays_as_it_is(text: str) -> None:
    assert contents_of({"a": text}) == {"a": text}
