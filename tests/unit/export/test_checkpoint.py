"""A checkpoint folder is checked before anything is written, and the message names the remedy."""

import json
from pathlib import Path

import pytest

from stillery.errors import UserError
from stillery.export.checkpoint import open_checkpoint
from support.export_models import STUDENT, copy_of, edit_json, edit_tensors


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        open_checkpoint(folder)
    message = str(caught.value)
    assert len(message.splitlines()) <= 2
    return message


def test_the_embedded_student_is_whole() -> None:
    checkpoint = open_checkpoint(STUDENT)
    assert checkpoint.architecture == "qwen3"
    assert checkpoint.is_tied
    assert checkpoint.num_parameters == 820_608
    assert checkpoint.vocabulary_size == 1024
    assert checkpoint.end_tokens == (2,)
    assert checkpoint.rope["rope_theta"] == 10_000.0


def test_an_unsupported_architecture_names_those_that_are(tmp_path: Path) -> None:
    message = refused(copy_of(STUDENT, tmp_path / "m", model_type="mamba"))
    assert "'mamba'" in message
    assert "qwen2, qwen3, llama" in message


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = copy_of(STUDENT, tmp_path / "m")
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors", "b": "model-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    message = refused(folder)
    assert "2 of 2 weight files missing" in message
    assert "model-00001-of-00002.safetensors" in message


def test_a_weight_file_that_was_cut_short(tmp_path: Path) -> None:
    folder = copy_of(STUDENT, tmp_path / "m")
    weights = (folder / "model.safetensors").read_bytes()
    for length in (0, 5, 100, len(weights) - 1):
        (folder / "model.safetensors").write_bytes(weights[:length])
        assert "damaged or cut short" in refused(folder)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    message = refused(copy_of(STUDENT, tmp_path / "m", num_hidden_layers=5))
    assert "model.layers.4." in message
    assert "lm_head.weight" in refused(copy_of(STUDENT, tmp_path / "untied", tie_word_embeddings=False))


def test_a_vocabulary_larger_than_the_embedding(tmp_path: Path) -> None:
    folder = copy_of(STUDENT, tmp_path / "m")
    edit_json(folder / "tokenizer.json", lambda t: t["added_tokens"].append({"id": 1024, "content": "<new>"}))
    message = refused(folder)
    assert "up to id 1024" in message
    assert "1024 rows" in message


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = copy_of(STUDENT, tmp_path / "m")
    (folder / name).unlink()
    assert name in refused(folder)


def test_no_folder_and_sliding_windows_and_quantized_weights(tmp_path: Path) -> None:
    assert "no such folder" in refused(tmp_path / "nothing")
    assert "sliding-window" in refused(copy_of(STUDENT, tmp_path / "s", use_sliding_window=True))
    assert "quantized already" in refused(copy_of(STUDENT, tmp_path / "q", quantization_config={"bits": 4}))


def test_an_end_token_outside_the_vocabulary(tmp_path: Path) -> None:
    folder = copy_of(STUDENT, tmp_path / "m")
    edit_json(folder / "generation_config.json", lambda g: g.update(eos_token_id=[2, 4096]))
    assert "outside the vocabulary" in refused(folder)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_rows_are_read_in_every_dtype(tmp_path: Path, dtype: str) -> None:
    import numpy as np
    import torch
    from safetensors.torch import load_file

    folder = copy_of(STUDENT, tmp_path / "m")
    edit_tensors(folder, lambda t: t.update({name: v.to(getattr(torch, dtype)) for name, v in t.items()}))
    stored = load_file(folder / "model.safetensors")
    checkpoint = open_checkpoint(folder)
    for name in ("model.layers.2.mlp.down_proj.weight", "model.norm.weight"):
        expected = stored[name].float().numpy()
        assert np.array_equal(checkpoint.tensors[name].read_rows(0, 10_000), expected)
        assert np.array_equal(checkpoint.tensors[name].read_rows(5, 9), expected[5:9])
