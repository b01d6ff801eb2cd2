"""A checkpoint folder, described by its JSON files and safetensors headers; no weights are read.

In: a Hugging Face folder. Out: its config, tensors and end tokens, or a UserError that names the missing part.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from stillery.errors import UserError

ARCHITECTURES = ("qwen2", "qwen3", "llama")

# The dtypes that numpy reads; it has no bfloat16, which is the upper half of a float32.
_DTYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a safetensors file: its shape, its dtype by safetensors' name, and the offset of its data."""

    file: Path
    shape: tuple[int, ...]
    dtype: str
    offset: int

    def read_rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows (or elements of a vector) from `start` to before `stop`, in float32; nothing else is read."""
        width, stored = prod(self.shape[1:]), _DTYPES[self.dtype]
        stop = min(stop, self.shape[0])
        place = self.offset + start * width * stored.itemsize
        data = np.fromfile(self.file, stored, count=(stop - start) * width, offset=place)
        wide = (data.astype(np.uint32) << 16).view(np.float32) if self.dtype == "BF16" else data.astype(np.float32)
        return wide.reshape(stop - start, *self.shape[1:])


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checked folder. `config` is config.json, `tokenizer` tokenizer.json; `end_tokens` end a generation."""

    folder: Path
    architecture: str
    config: Mapping[str, Any]
    tokenizer: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    end_tokens: tuple[int, ...]

    @property
    def num_parameters(self) -> int:
        return sum(prod(tensor.shape) for tensor in self.tensors.values())

    @property
    def vocabulary_size(self) -> int:
        """The number of rows of the embedding, which may be larger than the tokenizer's number of tokens."""
        return self.tensors["model.embed_tokens.weight"].shape[0]

    @property
    def is_tied(self) -> bool:
        """Whether the output projection is the embedding."""
        return "lm_head.weight" not in self.tensors

    @property
    def head_size(self) -> int:
        return self.config.get("head_dim") or self.config["hidden_size"] // self.config["num_attention_heads"]

    @property
    def rope(self) -> Mapping[str, Any]:
        """Rotary settings: rope_theta and rope_type, and the type's parameters; older configs store them elsewhere."""
        config = self.config
        found: dict[str, Any] = {"rope_theta": config.get("rope_theta", 10_000.0), "rope_type": "default"}
        found |= config.get("rope_scaling") or {}
        return found | (config.get("rope_parameters") or {})


def open_checkpoint(folder: Path) -> Checkpoint:
    """Check a checkpoint folder and describe it.

    Raises UserError for an architecture or a layout that no format supports, a missing or truncated weight file, a
    missing tensor, a missing tokenizer and a vocabulary larger than the embedding.
    """
    config = _read_config(folder)
    tensors = _read_headers(folder)
    _check_tensors(folder, config, tensors)
    tokenizer = _read_json(folder, "tokenizer.json", remedy="save the tokenizer into the folder as a fast tokenizer")
    _check_vocabulary(folder, tokenizer, rows=tensors["model.embed_tokens.weight"].shape[0])
    checkpoint = Checkpoint(folder, config["model_type"], config, tokenizer, tensors, _end_tokens(folder, config))
    if any(token >= checkpoint.vocabulary_size for token in checkpoint.end_tokens):
        raise UserError(f"{folder}: eos_token_id {checkpoint.end_tokens} lies outside the vocabulary; correct it")
    return checkpoint


def _read_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give a Hugging Face checkpoint folder")
    config = _read_json(folder, "config.json", remedy="give a Hugging Face checkpoint folder")
    architecture = config.get("model_type")
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise UserError(f"{folder}: architecture {architecture!r} can't be exported; these can: {known}")
    if config.get("quantization_config"):
        raise UserError(f"{folder}: the weights are quantized already; export the original checkpoint")
    if config.get("use_sliding_window"):
        raise UserError(f"{folder}: sliding-window attention can't be exported; set use_sliding_window to false")
    return config


def _read_json(folder: Path, name: str, *, remedy: str) -> dict[str, Any]:
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder}: has no {name}; {remedy}") from None
    except ValueError as error:
        raise UserError(f"{folder / name} is not valid JSON ({error}); {remedy}") from None


def _read_headers(folder: Path) -> dict[str, Tensor]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        places = cast(dict[str, str], _read_json(folder, index.name, remedy="copy the checkpoint again")["weight_map"])
        files = sorted(set(places.values()))
    else:
        files = ["model.safetensors"]
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder}: {len(missing)} of {len(files)} weight files missing, the first is {missing[0]}")
    return {name: tensor for file in files for name, tensor in _read_header(folder / file).items()}


def _read_header(file: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file: eight bytes of length, then JSON, then the data."""
    damaged = UserError(f"{file} is damaged or cut short; copy the checkpoint again")
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        if len(start) < 8 or (length := struct.unpack("<Q", start)[0]) > size - 8:
            raise damaged
        try:
            header: dict[str, Any] = json.loads(stream.read(length))
        except ValueError:
            raise damaged from None
    header.pop("__metadata__", None)
    if max((entry["data_offsets"][1] for entry in header.values()), default=0) != size - 8 - length:
        raise damaged
    for name, entry in header.items():
        if entry["dtype"] not in _DTYPES:
            raise UserError(f"{file}: tensor {name} is {entry['dtype']}; export weights in F32, F16 or BF16")
    return {
        name: Tensor(file, tuple(entry["shape"]), entry["dtype"], 8 + length + entry["data_offsets"][0])
        for name, entry in header.items()
    }


def _check_tensors(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    parts = ["input_layernorm", "post_attention_layernorm"]
    parts += [f"self_attn.{p}_proj" for p in "qkvo"] + [f"mlp.{p}_proj" for p in ("gate", "up", "down")]
    layers = range(config["num_hidden_layers"])
    wanted = ["model.embed_tokens.weight", "model.norm.weight"]
    wanted += [f"model.layers.{layer}.{part}.weight" for layer in layers for part in parts]
    if not config.get("tie_word_embeddings", False):
        wanted.append("lm_head.weight")
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise UserError(
            f"{folder}: {len(missing)} of {len(wanted)} tensors missing, the first is {missing[0]}; "
            "save the whole model again"
        )


def _check_vocabulary(folder: Path, tokenizer: Mapping[str, Any], *, rows: int) -> None:
    ids = [*tokenizer["model"]["vocab"].values()] if isinstance(tokenizer["model"]["vocab"], dict) else []
    ids += [token["id"] for token in tokenizer["added_tokens"]]
    largest = max(ids, default=-1)
    if largest >= rows:
        raise UserError(
            f"{folder}: the tokenizer has tokens up to id {largest}, but the embedding only {rows} rows; "
            "resize the embedding (model.resize_token_embeddings) and train the new rows"
        )


def _end_tokens(folder: Path, config: Mapping[str, Any]) -> tuple[int, ...]:
    """Generation config first, as transformers does; an empty tuple where a model never ends by itself."""
    path = folder / "generation_config.json"
    generation: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    found: Any = generation.get("eos_token_id", config.get("eos_token_id"))
    if found is None:
        return ()
    return tuple(cast(list[int], found)) if isinstance(found, list) else (int(found),)
