"""Checks a folder's weights against its config by the safetensors headers; no weights are read.

In: a local model folder. Out: nothing, or a UserError that names the missing, misshapen or superfluous tensors.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillery.errors import UserError

_SHARD = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<total>\d{5})\.safetensors")
_INDEX = "model.safetensors.index.json"
_WHOLE = "model.safetensors"


def check_files(named: str, folder: Path) -> None:
    """Raise UserError for an incomplete set of shards, a file that safetensors refuses, an index of other shards, or an
    adapter beside the model. `named` identifies the model."""
    if (folder / "adapter_config.json").is_file():
        raise UserError(
            f"{named}: has an adapter_config.json beside its config.json, so its adapter would be loaded in place of "
            "the model; merge the adapter (merge_and_unload), or take its files away"
        )
    shards = [match for path in folder.glob("*.safetensors") if (match := _SHARD.fullmatch(path.name))]
    for (stem, total), there in Counter((m["stem"], int(m["total"])) for m in shards).items():
        if there < total and stem == "model":
            raise UserError(f"{named}: has {there} of {total} weight files ({stem}-…-of-{total:05d}); copy the others")
    held = {path.name: _names_in(named, path) for path in sorted(folder.glob("*.safetensors"))}
    index = folder / _INDEX
    if index.is_file():
        places: Mapping[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        lost = [name for name, file in places.items() if name not in held.get(file, ())]
        if lost:
            raise UserError(
                f"{named}: {_INDEX} places {lost[0]} in {places[lost[0]]}, which does not hold it ({len(lost)} of "
                f"{len(places)} tensors); copy index and weights of the same model"
            )


def check_trainable(named: str, folder: Path, *, weights: bool = True) -> None:
    """Raise UserError if transformers could not load the whole model from the folder, or train or save it: a
    missing or misshapen tensor (with `weights`, in the folder), quantized weights, a generation config that it
    refuses to write."""
    if weights and not (folder / _WHOLE).is_file() and not (folder / _INDEX).is_file():
        there = sorted(path.name for path in folder.glob("*.safetensors"))
        raise UserError(f"{named}: has {there[0]} without {_INDEX}; copy all of the model, or save it again")
    from transformers import AutoConfig

    try:
        config: Any = AutoConfig.from_pretrained(str(folder))
    except Exception as error:
        # Boundary: each architecture checks its config in its own way.
        raise UserError(f"{named}: transformers cannot read its config.json ({_first_line(error)})") from None
    if getattr(config, "quantization_config", None):
        raise UserError(f"{named}: its weights are quantized, and cannot be trained; give the original model")
    _check_generation(named, folder)
    if weights:
        _check_tensors(named, folder, config)


def check_vocabulary(named: str, folder: Path, tokenizer: Any) -> None:
    """Raise UserError if the tokenizer has tokens without an embedding row in the model's config."""
    from transformers import AutoConfig

    rows = AutoConfig.from_pretrained(str(folder)).get_text_config().vocab_size
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= rows:
        raise UserError(
            f"{named}: the tokenizer has tokens up to id {largest}, but the model only {rows} rows (vocab_size); give "
            "it its own tokenizer, or resize the embedding (model.resize_token_embeddings) and save both"
        )


def check_context(named: str, folder: Path, tokenizer: Any, *, max_model_len: int | None) -> None:
    """Raise UserError if the evaluation needs a longer context than vLLM gives the model. Positions that a rope type
    scales are left to vLLM."""
    from transformers import AutoConfig

    config: Any = AutoConfig.from_pretrained(str(folder)).get_text_config()
    rope: Any = getattr(config, "rope_parameters", None) or {}
    positions = getattr(config, "max_position_embeddings", None)
    if max_model_len is None or positions is None or rope.get("rope_type", "default") != "default":
        return
    longest = min(positions, tokenizer.model_max_length)
    if max_model_len > longest:
        raise UserError(
            f"evaluate.engine.max_model_len={max_model_len}: {named} reads at most {longest} tokens "
            "(max_position_embeddings, and the tokenizer's model_max_length); lower it, or give another student"
        )


def _names_in(named: str, path: Path) -> set[str]:
    """The names of a file's tensors."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return set(file.keys())
    except SafetensorError as error:
        raise UserError(f"{named}: {path.name} is damaged ({error}); copy it again") from None


def _check_generation(named: str, folder: Path) -> None:
    """transformers writes a generation config with every checkpoint, and refuses a contradictory one."""
    from transformers import GenerationConfig

    path = folder / "generation_config.json"
    if not path.is_file():
        return
    try:
        generation = GenerationConfig.from_pretrained(str(folder))
        generation.validate(strict=True)
    except Exception as error:
        lines = [line.strip("- ") for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        told = next((line for line in lines if line.startswith("`")), lines[0])
        raise UserError(
            f"{named}: its generation_config.json cannot be saved with a checkpoint: {told[:200]}; correct the file"
        ) from None
    ends: Any = generation.eos_token_id
    if ends is not None and not all(isinstance(end, int) for end in (ends if isinstance(ends, list) else [ends])):
        raise UserError(
            f"{named}: the eos_token_id of its generation_config.json is {ends!r}; expected the id of a token, or a "
            "list of them"
        )


def _check_tensors(named: str, folder: Path, config: Any) -> None:
    """Let transformers match the tensors of the headers with the model, on a device that holds no data."""
    import torch
    import transformers
    from transformers.modeling_utils import load_state_dict

    tensors: dict[str, Any] = {}
    for path in _files_of(folder):
        tensors |= load_state_dict(str(path), map_location="meta")
    verbosity = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        with torch.device("meta"):
            model = type(transformers.AutoModelForCausalLM.from_config(config))
        _, found = model.from_pretrained(
            None, config=config, state_dict=tensors, device_map="meta", output_loading_info=True,
            ignore_mismatched_sizes=True,
        )  # fmt: skip
    except Exception as error:
        raise UserError(f"{named}: transformers cannot make this model ({_first_line(error)})") from None
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
        transformers.utils.logging.enable_progress_bar()
    missing = sorted(found["missing_keys"])
    if missing:
        tied = missing == ["lm_head.weight"]
        remedy = "set tie_word_embeddings to true if it shares the embedding, or " if tied else ""
        raise UserError(
            f"{named}: {len(missing)} of the tensors that config.json asks for are missing, the first is {missing[0]}; "
            f"{remedy}save the whole model again"
        )
    for name, stored, wanted in sorted(found["mismatched_keys"]):
        raise UserError(
            f"{named}: {name} has the shape {list(stored)}, and by config.json {list(wanted)}; give the config.json "
            "that belongs to the weights"
        )


def _files_of(folder: Path) -> list[Path]:
    """The files that transformers loads: a single whole file takes precedence over an index."""
    if (folder / _WHOLE).is_file():
        return [folder / _WHOLE]
    places: Mapping[str, str] = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"]
    return [folder / name for name in sorted(set(places.values()))]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
