"""What a config means by a model, and the errors for what is none."""

import json
from pathlib import Path

import pytest

from stillery.engines.models import check_model, is_folder, model_id, resolve_model
from stillery.errors import UserError


def make_model(folder: Path) -> Path:
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).write_text("{}")
    return folder


def test_a_hub_name_is_left_alone() -> None:
    assert resolve_model("Qwen/QwQ-32B") == model_id("Qwen/QwQ-32B") == "Qwen/QwQ-32B"
    assert not is_folder("Qwen/QwQ-32B")


def test_settings_that_change_what_a_model_says_are_part_of_it_and_its_placement_is_not() -> None:
    assert model_id("Qwen/QwQ-32B", {"tensor_parallel_size": 8}) == "Qwen/QwQ-32B"
    assert model_id("Qwen/QwQ-32B", {"quantization": "fp8"}) not in ("Qwen/QwQ-32B", model_id("x", {"dtype": "half"}))


def test_the_embedded_models_are_model_folders() -> None:
    for name in ("teacher", "student"):
        check_model("teacher.model", f"embedded:{name}")
        assert model_id(f"embedded:{name}").startswith("sha:")
    with pytest.raises(UserError, match="embedded:teacher and embedded:student"):
        resolve_model("embedded:tutor")


def test_a_whole_folder_passes(tmp_path: Path) -> None:
    folder = str(make_model(tmp_path / "m"))
    check_model("teacher.model", folder)
    assert resolve_model(folder) == folder


@pytest.mark.parametrize(
    ("removed", "message"),
    [("config.json", "no config.json"), ("model.safetensors", "safetensors"), ("tokenizer.json", "tokenizer")],
)
def test_a_folder_that_is_no_model_is_named(tmp_path: Path, removed: str, message: str) -> None:
    (make_model(tmp_path / "m") / removed).unlink()
    with pytest.raises(UserError, match=message):
        check_model("sft.student", str(tmp_path / "m"))


def test_a_missing_folder_and_a_missing_shard_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        check_model("teacher.model", str(tmp_path / "gone"))
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}}
    (make_model(tmp_path / "m") / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="1 of 2 weight files are missing, the first is model-00002"):
        check_model("teacher.model", str(tmp_path / "m"))
