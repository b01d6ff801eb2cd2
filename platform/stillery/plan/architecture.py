"""The size of a model from its config.json alone: no weights are read or downloaded.

Parameters are counted by building the model on torch's meta device, which allocates nothing and is exact for every
architecture that the installed transformers supports.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from stillery.errors import UserError
from stillery.plan.published import PUBLISHED
from stillery.sampling.models import is_folder, resolve_model

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class Architecture:
    """A decoder-only language model. `num_embedding_parameters` are those of the input embedding and, if separate, of
    the output projection; `kv_values_per_token` is the number of values that one token takes in the cache of one layer,
    `kv_heads` the number of parts into which they can be split."""

    name: str
    num_parameters: int
    num_embedding_parameters: int
    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    kv_heads: int
    head_dim: int
    kv_values_per_token: int
    vocab_size: int
    max_positions: int
    dtype: str
    is_mixture: bool
    has_qk_norm: bool

    @property
    def dtype_bytes(self) -> int:
        return DTYPE_BYTES[self.dtype]


def read_architecture(model: str, *, key: str, model_config: Path | None = None) -> Architecture:
    """The architecture of a model as named in a config: `embedded:…`, a folder, or a Hub name.

    A Hub name is looked up in Hugging Face's cache, then among the published shapes, then on the Hub. `model_config` is
    a config.json to use instead. Raises UserError, naming the config key, if there is none.
    """
    return _measure(model, json.dumps(_read(model, key=key, model_config=model_config)), key)


def _read(model: str, *, key: str, model_config: Path | None) -> Mapping[str, Any]:
    if model_config is not None:
        return _parse(model_config, key=key)
    if is_folder(model):
        return _parse(Path(resolve_model(model, weights=False)) / "config.json", key=f"{key}={model}")
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(model, "config.json")
    if isinstance(cached, str):
        return _parse(Path(cached), key=f"{key}={model}")
    if model in PUBLISHED:
        return PUBLISHED[model]
    try:
        return _parse(Path(hf_hub_download(model, "config.json", etag_timeout=5)), key=f"{key}={model}")
    except (OSError, ValueError) as error:
        # A missing name or network is an OSError in huggingface_hub, a malformed name a ValueError.
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{key}={model}: its config.json cannot be had ({reason}); give the file with --model-config {model}=FILE"
        ) from None


def _parse(path: Path, *, key: str) -> Mapping[str, Any]:
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"{key}: {path} does not exist; give a Hugging Face config.json") from None
    except ValueError:
        raise UserError(f"{key}: {path} is not JSON; give a Hugging Face config.json") from None
    if not isinstance(figures, dict) or "model_type" not in figures:
        raise UserError(f"{key}: {path} has no model_type; give a Hugging Face config.json")
    return cast(Mapping[str, Any], figures)


@functools.cache
def _measure(model: str, figures: str, key: str) -> Architecture:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    read: dict[str, Any] = json.loads(figures)
    kind = read.pop("model_type")
    try:
        config: Any = AutoConfig.for_model(kind, **read)
        with torch.device("meta"):
            built: Any = AutoModelForCausalLM.from_config(config)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{key}={model}: the installed transformers builds no causal language model of type {kind!r} from its "
            f"config.json ({str(error).splitlines()[0]})"
        ) from None
    text = config.get_text_config()
    heads = int(text.num_attention_heads)
    kv_heads = int(getattr(text, "num_key_value_heads", None) or heads)
    head_dim = int(getattr(text, "head_dim", None) or text.hidden_size // heads)
    latent = getattr(text, "kv_lora_rank", None)
    embeddings = {id(m.weight): m.weight.numel() for m in (built.get_input_embeddings(), built.get_output_embeddings())}
    return Architecture(
        name=model,
        # parameters() lists a tied one once.
        num_parameters=sum(p.numel() for p in built.parameters()),
        num_embedding_parameters=sum(embeddings.values()),
        num_layers=int(text.num_hidden_layers),
        hidden_size=int(text.hidden_size),
        intermediate_size=int(getattr(text, "intermediate_size", None) or 4 * text.hidden_size),
        num_heads=heads,
        kv_heads=1 if latent else kv_heads,
        head_dim=head_dim,
        # Multi-head latent attention caches one compressed vector and the rotary part of the key.
        kv_values_per_token=int(latent) + int(text.qk_rope_head_dim) if latent else 2 * kv_heads * head_dim,
        vocab_size=int(text.vocab_size),
        max_positions=int(text.max_position_embeddings),
        dtype=_dtype(read),
        is_mixture=any(getattr(text, name, None) for name in ("num_experts", "n_routed_experts", "num_local_experts")),
        has_qk_norm=any(name.endswith("q_norm.weight") for name, _ in built.named_parameters()),
    )


def _dtype(figures: Mapping[str, Any]) -> str:
    """The dtype of the stored weights; older files call it torch_dtype."""
    said = str(figures.get("dtype") or figures.get("torch_dtype") or "float32").removeprefix("torch.")
    return said if said in DTYPE_BYTES else "bfloat16"
