"""Checkpoints for tests of the export: small random models with the embedded tokenizer, and faulty copies."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stillery.sampling.models import resolve_model

STUDENT = Path(resolve_model("embedded:student"))


def copy_of(checkpoint: Path, out: Path, **config: Any) -> Path:
    """A copy of a checkpoint folder with other values in config.json."""
    shutil.copytree(checkpoint, out)
    edit_json(out / "config.json", lambda data: data.update(config))
    return out


def edit_json(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def edit_tensors(checkpoint: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change the tensors (torch, by name) of a checkpoint with a single weight file."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(checkpoint / "model.safetensors")
    edit(tensors)
    save_file({name: t.contiguous() for name, t in tensors.items()}, checkpoint / "model.safetensors")


def random_checkpoint(out: Path, architecture: str, **config: Any) -> Path:
    """A small random model whose attention matters (a wide initialization), with the student's tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    settings: dict[str, Any] = {
        "vocab_size": 1024, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 2048,
        "initializer_range": 0.25, "eos_token_id": 2, "bos_token_id": None, "pad_token_id": 0,
    }  # fmt: skip
    settings |= config
    # Qwen2's configs have no such entry.
    if settings["head_dim"] is None:
        del settings["head_dim"]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **settings))
    for name, parameter in model.named_parameters():
        # Biases start at zero, and a forgotten zero would go unnoticed.
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(STUDENT / name, out / name)
    return out
