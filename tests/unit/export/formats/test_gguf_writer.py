"""The written file, read back by gguf-py: names, types, metadata, and the values of the tensors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gguf", reason="the extra `edge` is not installed")

from gguf import GGUFReader

from stillery.errors import UserError
from stillery.export.checkpoint import open_checkpoint
from stillery.export.formats.gguf import writer as gguf_writer
from stillery.export.formats.gguf.writer import write_gguf
from support.export_models import STUDENT, copy_of, edit_tensors, random_checkpoint


def written(checkpoint: Path, out: Path, quantization: str = "F32") -> GGUFReader:
    write_gguf(open_checkpoint(checkpoint), out, quantization=quantization)
    return GGUFReader(out)


def tensor(reader: GGUFReader, name: str) -> Any:
    return next(t for t in reader.tensors if t.name == name)


def value(reader: GGUFReader, key: str) -> Any:
    field = reader.get_field(key)
    assert field is not None, key
    return field.contents()


def original(checkpoint: Path, name: str) -> np.ndarray:
    from safetensors.torch import load_file

    return load_file(checkpoint / "model.safetensors")[name].float().numpy()


def test_metadata_and_tensors_of_the_student(tmp_path: Path) -> None:
    reader = written(STUDENT, tmp_path / "m.gguf")
    assert value(reader, "general.architecture") == "qwen3"
    assert value(reader, "qwen3.rope.freq_base") == 10_000.0
    assert value(reader, "qwen3.attention.head_count_kv") == 2
    assert value(reader, "qwen3.attention.key_length") == 32
    assert value(reader, "tokenizer.ggml.pre") == "qwen2"
    assert value(reader, "tokenizer.ggml.eos_token_id") == 2
    names = {t.name for t in reader.tensors}
    assert "output.weight" not in names
    assert "blk.3.attn_q_norm.weight" in names
    query = original(STUDENT, "model.layers.1.self_attn.q_proj.weight")
    assert np.array_equal(np.reshape(tensor(reader, "blk.1.attn_q.weight").data, query.shape), query)


def test_a_tensor_in_many_slices_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(STUDENT, tmp_path / "whole.gguf", "Q8_0")
    monkeypatch.setattr(gguf_writer, "_SLICE_ELEMENTS", 5000)
    written(STUDENT, tmp_path / "sliced.gguf", "Q8_0")
    assert (tmp_path / "whole.gguf").read_bytes() == (tmp_path / "sliced.gguf").read_bytes()


def test_llama_rows_are_interleaved_within_heads_and_its_output_is_written(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(tmp_path / "m", "llama", tie_word_embeddings=False, attention_bias=True)
    reader = written(checkpoint, tmp_path / "m.gguf")
    for part, heads in (("q", 4), ("k", 2)):
        for kind in ("weight", "bias"):
            rows = original(checkpoint, f"model.layers.0.self_attn.{part}_proj.{kind}")
            found = np.reshape(tensor(reader, f"blk.0.attn_{part}.{kind}").data, rows.shape)
            for head in range(heads):
                theirs, ours = rows[head * 16 : head * 16 + 16], found[head * 16 : head * 16 + 16]
                assert np.array_equal(ours[0::2], theirs[:8])
                assert np.array_equal(ours[1::2], theirs[8:])
    values = original(checkpoint, "model.layers.0.self_attn.v_proj.weight")
    assert np.array_equal(np.reshape(tensor(reader, "blk.0.attn_v.weight").data, values.shape), values)
    output = original(checkpoint, "lm_head.weight")
    assert np.array_equal(np.reshape(tensor(reader, "output.weight").data, output.shape), output)


def test_llama_3_frequencies_are_those_of_transformers(tmp_path: Path) -> None:
    from transformers import AutoConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = {
        "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
    }  # fmt: skip
    checkpoint = random_checkpoint(tmp_path / "m", "llama", rope_parameters=rope)
    reader = written(checkpoint, tmp_path / "m.gguf")
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](AutoConfig.from_pretrained(checkpoint), "cpu")
    plain = 500_000.0 ** -(np.arange(0, 16, 2) / 16)
    np.testing.assert_allclose(plain / tensor(reader, "rope_freqs.weight").data, scaled.numpy(), rtol=1e-5)


def test_an_unknown_rotary_scaling_and_an_unknown_tensor_are_refused(tmp_path: Path) -> None:
    rope = {"rope_type": "longrope", "rope_theta": 10_000.0}
    with pytest.raises(UserError, match="'longrope'"):
        written(copy_of(STUDENT, tmp_path / "a", rope_parameters=rope), tmp_path / "a.gguf")
    strange = copy_of(STUDENT, tmp_path / "b")
    edit_tensors(strange, lambda t: t.update({"model.extra.weight": t["model.norm.weight"].clone()}))
    with pytest.raises(UserError, match=r"model\.extra\.weight has no place"):
        written(strange, tmp_path / "b.gguf")


def test_a_weight_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    broken = copy_of(STUDENT, tmp_path / "m")
    edit_tensors(broken, lambda t: t["model.layers.0.mlp.up_proj.weight"][0].fill_(float("nan")))
    with pytest.raises(UserError, match=r"up_proj\.weight holds a value that isn't finite"):
        written(broken, tmp_path / "m.gguf")
