"""Adapters: a folder of low-rank weights in peft's format, on top of a base model.

In: the folder, and the base that its adapter_config.json names. Out: the whole model, which is used for training,
sampling and export; merged once per machine and cached there.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from stillery.errors import UserError
from stillery.io.copies import keep_copy
from stillery.io.hashing import SUMS
from stillery.io.transfer import sums_of, write_sums
from stillery.records import digest
from stillery.telemetry.logs import logger

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


def is_adapter(folder: Path) -> bool:
    """Whether a local folder holds an adapter and no model of its own."""
    return (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").is_file()


def read_adapter(named: str, folder: Path) -> Mapping[str, Any]:
    """An adapter's settings. Raises UserError, with the name `named`, if it cannot be merged or names no base."""
    try:
        found: Any = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{named}: its {ADAPTER_CONFIG} is no JSON object; copy it again")
    settings = cast(dict[str, Any], found)
    if settings.get("peft_type") != "LORA":
        raise UserError(
            f"{named}: is an adapter of the kind {settings.get('peft_type')}, of which only LORA is merged here; merge "
            "it into its base (peft: merge_and_unload) and give that"
        )
    if not settings.get("base_model_name_or_path"):
        raise UserError(f"{named}: its {ADAPTER_CONFIG} names no base; set base_model_name_or_path in it")
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise UserError(f"{named}: has no {ADAPTER_WEIGHTS}; save the adapter with safe_serialization=True")
    return settings


def merge_once(named: str, folder: Path, *, base: str, identity: str) -> Path:
    """The merged model of an adapter in this machine's cache, keyed by the adapter's and base's `identity`; `base`
    is the path or Hub name to load. Its chat format is the adapter folder's where that has a tokenizer, else the
    base's."""

    def fill(partial: Path) -> None:
        from transformers import AutoTokenizer

        logger.info(f"{named}: merging the adapter into {base}, once")
        # Rounded to half precision, the merged weights would answer differently from base plus adapter.
        merge(named, base, folder, partial, dtype="float32")
        has_tokenizer = (folder / "tokenizer_config.json").is_file() or (folder / "tokenizer.json").is_file()
        tokenizer: Any = AutoTokenizer.from_pretrained(str(folder) if has_tokenizer else base)
        tokenizer.save_pretrained(str(partial))
        if (folder / "generation_config.json").is_file():
            (partial / "generation_config.json").write_bytes((folder / "generation_config.json").read_bytes())
        (partial / SUMS).write_bytes(write_sums(sums_of(partial)))

    return keep_copy(digest("merged", identity), fill, what=named)


def merge(named: str, base: str, adapter: Path, out: Path, *, dtype: str) -> None:
    """Write base and adapter as one model into `out`, with the weights in `dtype` ("auto": the base's own).

    Raises UserError if the adapter does not fit this base.
    """
    quiet_peft()
    import transformers
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    transformers.utils.logging.disable_progress_bar()
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, use_safetensors=True)
    _check_shapes(named, adapter, model, base=base)
    whole: Any = PeftModel.from_pretrained(model, str(adapter))
    try:
        whole = whole.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise UserError(f"{named}: the adapter cannot be merged into {base} ({error}); train it again") from None
    whole.save_pretrained(str(out))


def _check_shapes(named: str, adapter: Path, model: Any, *, base: str) -> None:
    """Raise UserError if the adapter has a weight for a module that the base lacks: peft would only warn of it."""
    from safetensors import safe_open

    with safe_open(adapter / ADAPTER_WEIGHTS, framework="numpy") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118, no mapping
    weights = {name.removesuffix(".weight"): tensor.shape for name, tensor in model.named_parameters()}
    for name, shape in shapes.items():
        module, mark, _ = name.removeprefix("base_model.model.").partition(".lora_A")
        if not mark:
            continue
        if module not in weights or weights[module][-1] != shape[-1]:
            there = list(weights[module]) if module in weights else "none"
            raise UserError(
                f"{named}: has weights for {module} of {shape[-1]} inputs, and {base} has {there} there; correct "
                f"base_model_name_or_path in its {ADAPTER_CONFIG}"
            )


def quiet_peft() -> None:
    """Stop torchao, which peft imports where it is installed, from reporting which of its kernels this machine lacks;
    none of them is used."""
    import logging
    import os

    os.environ.setdefault("TORCHAO_FORCE_SKIP_LOADING_SO_FILES", "1")
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
