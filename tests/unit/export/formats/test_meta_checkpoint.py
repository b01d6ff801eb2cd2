"""The Meta-format checkpoint, run by ExecuTorch's own transformer before lowering, answers like transformers."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

import stillery
from stillery.errors import UserError
from stillery.export.checkpoint import open_checkpoint
from stillery.export.formats.executorch.meta_checkpoint import meta_state_dict, model_class, transformer_params

pytest.importorskip("executorch")

_STUDENT = Path(stillery.__file__).parent / "tiny_models" / "models" / "student"
_SMALL = {
    "vocab_size": 1024,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "eos_token_id": 2,
    "initializer_range": 0.2,
}
_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 50_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
_TOKENS = torch.randint(0, 1024, (1, 100), generator=torch.Generator().manual_seed(1))
_TOLERANCE = 2e-4


def _checkpoint(folder: Path, architecture: str, **settings: Any) -> Path:
    """A random model whose biases and norms differ from zero and one, with the student's tokenizer."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **_SMALL, **settings))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(_STUDENT / name, folder)
    return folder


def _transformers_logits(folder: Path) -> torch.Tensor:
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(_TOKENS).logits[0]


def _executorch_logits(folder: Path, scratch: Path, tokens: torch.Tensor) -> torch.Tensor:
    """Logits of ExecuTorch's eager transformer from the converted weights."""
    from executorch.examples.models.llama.model import Llama2Model
    from executorch.extension.llm.export.config.llm_config import LlmConfig, ModelType

    checkpoint = open_checkpoint(folder)
    (scratch / "params.json").write_text(json.dumps(transformer_params(checkpoint)))
    torch.save(meta_state_dict(checkpoint), scratch / "weights.pth")
    config = LlmConfig()
    config.base.model_class = ModelType(model_class(checkpoint))
    config.base.params = str(scratch / "params.json")
    config.base.checkpoint = str(scratch / "weights.pth")
    config.debug.generate_full_logits = True
    with torch.no_grad():
        return Llama2Model(config).get_eager_model()(tokens)[0]


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("qwen3", {"tie_word_embeddings": True}),
        ("qwen2", {"tie_word_embeddings": False}),
        ("llama", {"tie_word_embeddings": True}),
        ("llama", {"tie_word_embeddings": False, "rope_parameters": _LLAMA3_ROPE}),
        ("llama", {"tie_word_embeddings": True, "rope_parameters": _LLAMA3_ROPE | {"factor": 32.0}}),
    ],
)
def test_executorch_computes_what_transformers_does(
    tmp_path: Path, architecture: str, settings: dict[str, Any]
) -> None:
    folder = _checkpoint(tmp_path / "model", architecture, **settings)
    expected = _transformers_logits(folder)
    found = _executorch_logits(folder, tmp_path, _TOKENS)
    assert expected.std() > 0.5
    torch.testing.assert_close(found, expected, rtol=0, atol=_TOLERANCE)


def test_the_comparison_would_see_a_lost_rotary_scaling(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / "model", "llama", rope_parameters=_LLAMA3_ROPE)
    scaled = _transformers_logits(folder)
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": _LLAMA3_ROPE["rope_theta"]}
    (folder / "config.json").write_text(json.dumps(config))
    assert (_transformers_logits(folder) - scaled).abs().max() > 10 * _TOLERANCE


def test_a_tied_output_projection_is_stored_once(tmp_path: Path) -> None:
    state = meta_state_dict(open_checkpoint(_checkpoint(tmp_path / "model", "qwen3", tie_word_embeddings=True)))
    assert state["output.weight"] is state["tok_embeddings.weight"]


def test_a_tensor_without_a_place_is_refused_not_dropped(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / "model", "llama", attention_bias=True)
    with pytest.raises(UserError, match=r"o_proj\.bias has no place"):
        meta_state_dict(open_checkpoint(folder))


@pytest.mark.parametrize("change", [{"rope_type": "yarn"}, {"factor": 4.0}, {"low_freq_factor": 2.0}])
def test_other_rotary_scalings_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = _checkpoint(tmp_path / "model", "llama", rope_parameters=_LLAMA3_ROPE)
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] |= change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="rotary scaling"):
        transformer_params(open_checkpoint(folder))


def test_another_activation_is_refused(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / "model", "qwen3", hidden_act="gelu")
    with pytest.raises(UserError, match="hidden_act 'gelu'"):
        transformer_params(open_checkpoint(folder))


def test_bfloat16_weights_are_widened_exactly(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / "model", "qwen3", tie_word_embeddings=True)
    narrow = {name: tensor.bfloat16() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(narrow, folder / "model.safetensors")
    state = meta_state_dict(open_checkpoint(folder))
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    torch.testing.assert_close(state["norm.weight"], narrow["model.norm.weight"].float(), rtol=0, atol=0)
