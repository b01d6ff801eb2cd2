"""Shapes and initial weights of the embedded models, and the Hugging Face folders that ship."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillery.tiny_models.tokenizer import END_ID, PAD_ID, VOCAB_SIZE

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")

EMBEDDING_STD = 0.5


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a model and of its training batches: `rows` rows of `row_length` tokens.

    Every row of a weight matrix is a multiple of 32 long, which 4-bit formats with blocks of 32 need.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    row_length: int
    rows: int


SHAPES = {
    "teacher": Shape(hidden=192, layers=6, heads=6, kv_heads=2, feed_forward=768, row_length=384, rows=8),
    "student": Shape(hidden=128, layers=4, heads=4, kv_heads=2, feed_forward=320, row_length=512, rows=6),
}


def make_model(shape: Shape, *, seed: int) -> Any:
    """A Qwen3ForCausalLM of this shape with random initial weights, in float32."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=VOCAB_SIZE,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=32,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        pad_token_id=PAD_ID,
        bos_token_id=None,
        eos_token_id=END_ID,
    )
    model = Qwen3ForCausalLM(config)
    # The token's identity must stay visible beside the layers' outputs, which Muon makes large from the start; the last
    # norm makes up for it in the logits. And normed queries and keys of 32 dimensions give too flat an attention at
    # weight 1.
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=EMBEDDING_STD)
    torch.nn.init.constant_(model.model.norm.weight, 1 / (EMBEDDING_STD * shape.hidden**0.5))
    for name, parameter in model.named_parameters():
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            torch.nn.init.constant_(parameter, 1.5)
    return model


def export(checkpoint: Path, *, role: str, tokenizer: Path, out: Path) -> None:
    """Write a training checkpoint as a Hugging Face folder in bfloat16, with the tokenizer's files."""
    import torch
    from transformers import GenerationConfig

    model = make_model(SHAPES[role], seed=0)
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["model"])
    model = model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        eos_token_id=END_ID, pad_token_id=PAD_ID, do_sample=True, temperature=1.0
    )
    model.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    for name in TOKENIZER_FILES:
        shutil.copy(tokenizer / name, out / name)
