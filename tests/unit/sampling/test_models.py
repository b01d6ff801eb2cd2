"""The meaning of a model name in a config, and the errors for invalid ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from stillery.config import EngineConfig
from stillery.errors import UserError
from stillery.sampling.models import check_model, is_folder, model_id, resolve_model


def make_model(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}))
    (folder / "model.safetensors").write_bytes(safetensors(num_bytes=8))
    (folder / "tokenizer.json").write_text("{}")
    return folder


def safetensors(*, num_bytes: int) -> bytes:
    """A complete file with one tensor of this many bytes."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [num_bytes], "data_offsets": [0, num_bytes]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(num_bytes)


def test_a_hub_name_is_left_alone() -> None:
    assert resolve_model("Qwen/QwQ-32B") == model_id("Qwen/QwQ-32B") == "Qwen/QwQ-32B"
    assert not is_folder("Qwen/QwQ-32B")


def test_settings_that_change_what_a_model_says_are_part_of_it_and_its_placement_is_not() -> None:
    def identity(**engine: Any) -> str:
        return model_id("Qwen/QwQ-32B", EngineConfig(engine=engine))

    assert identity(tensor_parallel_size=8, max_num_seqs=4, max_model_len=900, enforce_eager=True) == "Qwen/QwQ-32B"
    others = [
        identity(quantization="fp8"),
        identity(dtype="half"),
        identity(revision="v2"),
        identity(override_generation_config={"eos_token_id": 1}),
        identity(override_generation_config={"eos_token_id": 2}),
        identity(speculative_config={"model": "a/draft"}),
        identity(a_field_of_a_later_version=True),
        model_id("Qwen/QwQ-32B", EngineConfig(num_gpus=1)),
    ]
    assert len({"Qwen/QwQ-32B", *others}) == len(others) + 1


def test_a_path_in_an_engine_table_counts_by_what_lies_there(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 1}')
    engine = EngineConfig(engine={"generation_config": str(tmp_path)})
    first = model_id("a/model", engine)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 2}')
    assert model_id("a/model", engine) != first


def test_pickled_weights_count_only_where_they_are_loaded(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m")
    reading_all = EngineConfig(engine={"load_format": "auto"})
    before, before_all = model_id(str(folder)), model_id(str(folder), reading_all)
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    assert model_id(str(folder)) == before
    assert model_id(str(folder), reading_all) != before_all


def test_the_embedded_models_keep_their_ids() -> None:
    """Their samples' seeds come from these: the figures of the demo rest on them."""
    engine = EngineConfig(engine={"max_model_len": 1024, "max_num_seqs": 256})
    assert model_id("embedded:teacher", engine) == "sha:f63cb2d642874f8cd0e90f1abee0ff57"
    assert model_id("embedded:student") == "sha:d6b920918d120e0085ba61adfe0e951a"


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
    (tmp_path / "m" / "model.safetensors.index.json").write_text('{"weight_map": ')
    with pytest.raises(UserError, match=r"model\.safetensors\.index\.json is not an index of weights"):
        check_model("teacher.model", str(tmp_path / "m"))


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (LFS_POINTER, "git lfs pull"),
        (safetensors(num_bytes=100)[:-1], r"was cut off at (\d+) of (\d+) bytes"),
        (safetensors(num_bytes=100)[:20], "was cut off"),
        (b"", "not a safetensors file"),
        (b"PK\x03\x04" + bytes(60), "not a safetensors file"),
        ((4).to_bytes(8, "little") + b"[1]x", "not a safetensors file"),
        ((4).to_bytes(8, "little") + b"null", "not a safetensors file"),
    ],
)
def test_weights_that_are_not_whole_are_named(tmp_path: Path, weights: bytes, message: str) -> None:
    (make_model(tmp_path / "m") / "model.safetensors").write_bytes(weights)
    with pytest.raises(UserError, match=rf"teacher.model=.*model.safetensors .*{message}"):
        check_model("teacher.model", str(tmp_path / "m"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "config.json is not a model's"),
        ("[]", "config.json is not a model's"),
        ("{}", "no model_type"),
        ('{"model_type": "bert", "architectures": ["BertForMaskedLM"]}', "BertForMaskedLM generates no text"),
    ],
)
def test_a_config_that_is_of_no_language_model_is_named(tmp_path: Path, config: str, message: str) -> None:
    (make_model(tmp_path / "m") / "config.json").write_text(config)
    with pytest.raises(UserError, match=message):
        check_model("sft.student", str(tmp_path / "m"))
