"""A checkpoint in the format of ExecuTorch's Llama transformer: Meta's tensor names, and a params file.

In: a checked Hugging Face checkpoint. Out: a state dict in float32 and the transformer's parameters, or a UserError for
features that the transformer can't compute. Its loader silently drops unknown tensors, so this code must map all of
them.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import safe_open

from stillery.errors import UserError
from stillery.export.checkpoint import Checkpoint

_TENSORS = {
    "model.embed_tokens.weight": "tok_embeddings.weight",
    "model.norm.weight": "norm.weight",
    "lm_head.weight": "output.weight",
}
_LAYER_PARTS = {
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj.weight": "attention.wo.weight",
    "self_attn.q_norm": "attention.q_norm_fn",
    "self_attn.k_norm": "attention.k_norm_fn",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    # The transformer applies its activation to w1.
    "mlp.gate_proj.weight": "feed_forward.w1.weight",
    "mlp.down_proj.weight": "feed_forward.w2.weight",
    "mlp.up_proj.weight": "feed_forward.w3.weight",
}
_LAYER_TENSOR = re.compile(r"model\.layers\.(\d+)\.(.+)")

# Llama 3's rotary scaling as ExecuTorch computes it: the factor depends on the model class, the rest is fixed.
_CLASS_OF_ROPE_FACTOR = {8.0: "llama3_1", 32.0: "llama3_2"}
_SCALED_ROPE = {"low_freq_factor": 1.0, "original_max_position_embeddings": 8192}
# With parameters and weights given, the class only decides rotary scaling and the file's name.
_CLASS_OF_ARCHITECTURE = {"qwen3": "qwen3_0_6b", "qwen2": "qwen2_5_0_5b", "llama": "llama3_2"}


def model_class(checkpoint: Checkpoint) -> str:
    """Return the name of ExecuTorch's ModelType for a checkpoint."""
    if _is_scaled(checkpoint):
        return _CLASS_OF_ROPE_FACTOR[float(checkpoint.rope["factor"])]
    return _CLASS_OF_ARCHITECTURE[checkpoint.architecture]


def transformer_params(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the fields of ExecuTorch's ModelArgs; UserError for settings without a counterpart there."""
    config = checkpoint.config
    if (activation := config.get("hidden_act", "silu")) != "silu":
        raise UserError(f"{checkpoint.folder}: executorch can't export hidden_act {activation!r}, only 'silu'")
    params: dict[str, Any] = {
        "dim": config["hidden_size"],
        "n_layers": config["num_hidden_layers"],
        "n_heads": config["num_attention_heads"],
        "n_kv_heads": config.get("num_key_value_heads") or config["num_attention_heads"],
        "head_dim": checkpoint.head_size,
        "hidden_dim": config["intermediate_size"],
        "vocab_size": checkpoint.vocabulary_size,
        "norm_eps": config["rms_norm_eps"],
        "rope_theta": float(checkpoint.rope["rope_theta"]),
        "attention_qkv_bias": "model.layers.0.self_attn.q_proj.bias" in checkpoint.tensors,
        "use_hf_rope": not _is_scaled(checkpoint),
    }
    if checkpoint.architecture == "qwen3":
        params |= {"use_qk_norm": True, "qk_norm_before_rope": True}
    if _is_scaled(checkpoint):
        params |= {"use_scaled_rope": True, "high_freq_factor": checkpoint.rope["high_freq_factor"]}
    return params


def meta_state_dict(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Return the weights under Meta's names in float32, in which quantization scales keep their precision.

    A tied output projection is the embedding's own tensor, not a copy.
    """
    state: dict[str, torch.Tensor] = {}
    for file in sorted({tensor.file for tensor in checkpoint.tensors.values()}):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - not a mapping
                if name.endswith("rotary_emb.inv_freq"):
                    continue
                tensor = weights.get_tensor(name).to(torch.float32)
                state[_meta_name(name, checkpoint)] = _interleaved(tensor, name, checkpoint)
    state.setdefault("output.weight", state["tok_embeddings.weight"])
    return state


def _meta_name(name: str, checkpoint: Checkpoint) -> str:
    if name in _TENSORS:
        return _TENSORS[name]
    if match := _LAYER_TENSOR.fullmatch(name):
        layer, part = match.groups()
        stem, _, kind = part.rpartition(".")
        if part in _LAYER_PARTS:
            return f"layers.{layer}.{_LAYER_PARTS[part]}"
        if stem in _LAYER_PARTS:
            return f"layers.{layer}.{_LAYER_PARTS[stem]}.{kind}"
    raise UserError(f"{checkpoint.folder}: tensor {name} has no place in ExecuTorch's transformer; try another format")


def _is_scaled(checkpoint: Checkpoint) -> bool:
    """Whether rotary positions are scaled as Llama 3 does; UserError for any other scaling."""
    rope = checkpoint.rope
    if rope["rope_type"] == "default":
        return False
    is_known = rope["rope_type"] == "llama3" and float(rope["factor"]) in _CLASS_OF_ROPE_FACTOR
    if not is_known or any(rope[key] != value for key, value in _SCALED_ROPE.items()):
        raise UserError(
            f"{checkpoint.folder}: rotary scaling {dict(rope)} can't be exported to executorch; "
            "the default and Llama 3's (factor 8 or 32 of 8192 positions) can"
        )
    return True


def _interleaved(tensor: torch.Tensor, name: str, checkpoint: Checkpoint) -> torch.Tensor:
    """Interleave the rows of Q and K in Meta's order, pairs side by side, where the scaled rotary needs it."""
    heads = _heads_of(name, checkpoint.config)
    if heads is None or not _is_scaled(checkpoint):
        return tensor
    halves = tensor.view(heads, 2, checkpoint.head_size // 2, -1)
    return halves.transpose(1, 2).reshape(tensor.shape)


def _heads_of(name: str, config: Mapping[str, Any]) -> int | None:
    if ".q_proj." in name:
        return config["num_attention_heads"]
    if ".k_proj." in name:
        return config.get("num_key_value_heads") or config["num_attention_heads"]
    return None
