"""Resolves a model of the config: `embedded:teacher`, `pretrained:smollm2-135m`, a folder at a path or URI, a Hub name.

A Hugging Face folder that is an adapter stands for its base with the adapter merged into it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from stillery.config import EngineConfig
from stillery.errors import UserError
from stillery.io.copies import fetch_model, identify_model
from stillery.io.hashing import model_fingerprint
from stillery.io.storage import Folder
from stillery.records import digest
from stillery.sampling.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, is_adapter, merge_once, read_adapter
from stillery.sampling.hub import find_on_hub
from stillery.sampling.neutral import LIMITS, engine_output_settings
from stillery.sampling.pretrained import PRETRAINED, pretrained_model

EMBEDDED = "embedded:"

# vLLM's EngineArgs that prevent code execution by a model's author: no code of the repository's, and no pickles.
TRUST = {"trust_remote_code": False, "load_format": "safetensors"}
# Suffixes of the names of architectures that generate no text.
NOT_GENERATIVE = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM")


def resolve_model(model: str, *, weights: bool = True) -> str:
    """The path or Hub name to load. Resolved on the machine that loads it: the package may have another location there,
    and that machine gets a copy of a folder at a URI, without the weights where they are not needed."""
    if not is_remote(model):
        return _whole(model, Path(locate_folder(model)))
    copy = fetch_model(Folder(model), weights=weights)
    if is_adapter(copy):
        return _whole(model, fetch_model(Folder(model)))
    if weights:
        _check_files(model, copy)
    return str(copy)


def fetch_adapter(folder: Folder) -> Path:
    """A local folder of an adapter, not merged: itself, or this machine's copy."""
    return folder.local if folder.is_local else fetch_model(folder)


def locate_folder(model: str) -> str:
    """The local path or Hub name of a model that is not at a URI; an adapter is not merged."""
    if model.startswith(EMBEDDED):
        name = model.removeprefix(EMBEDDED)
        if name not in ("teacher", "student"):
            raise UserError(f"model {model!r}: the embedded models are embedded:teacher and embedded:student")
        return str(Path(__file__).parent.parent / "tiny_models" / "models" / name)
    if model.startswith(PRETRAINED):
        return str(pretrained_model(model))
    path = Path(model.removeprefix("file://")).expanduser()
    return str(path.absolute()) if path.exists() else model


def _whole(model: str, folder: Path) -> str:
    """The folder or, for an adapter, the folder of its base with the adapter merged in."""
    if not is_adapter(folder):
        return str(folder) if folder.exists() else model
    base = str(read_adapter(model, folder)["base_model_name_or_path"])
    identity = _adapter_id(folder, base)
    return str(merge_once(model, folder, base=resolve_model(base), identity=identity))


def _adapter_id(folder: Path, base: str) -> str:
    return digest("adapter", model_fingerprint(folder), model_id(base))


def _remote_id(model: str) -> str:
    folder = Folder(model)
    if folder.exists("config.json") or not folder.exists(ADAPTER_CONFIG):
        return identify_model(folder)
    base = read_adapter(model, fetch_model(folder))["base_model_name_or_path"]
    return digest("adapter", identify_model(folder), model_id(str(base)))


def is_remote(model: str) -> bool:
    """Whether a model is a folder at a URI that is not this machine's own file system."""
    return "://" in model and not model.startswith("file://")


def is_folder(model: str) -> bool:
    """Whether a model names a folder rather than a Hub name, which has one slash and no dots before."""
    if is_remote(model):
        return True
    resolved = locate_folder(model)
    return Path(resolved).exists() or resolved.startswith(("/", ".", "~", "file://")) or resolved.count("/") > 1


def check_model(key: str, model: str) -> None:
    """Raise UserError, naming the config key, if a folder is not a causal language model with a tokenizer.

    The weights of a folder at a URI are checked where they are copied to.
    """
    if not is_folder(model):
        return
    folder = fetch_model(Folder(model), weights=False) if is_remote(model) else Path(locate_folder(model))
    if not folder.is_dir():
        raise UserError(f"{key}={model}: no such folder; give a Hugging Face model folder or a Hub name")
    if is_adapter(folder):
        _check_adapter(f"{key}={model}", fetch_model(Folder(model)) if is_remote(model) else folder)
        return
    _check_files(f"{key}={model}", folder, weights=not is_remote(model))


def _check_adapter(named: str, folder: Path) -> None:
    """Raise UserError if an adapter's weights or its base cannot be loaded."""
    base = str(read_adapter(named, folder)["base_model_name_or_path"])
    fault = fault_of_weights(folder / ADAPTER_WEIGHTS)
    if fault is not None:
        raise UserError(f"{named}: {ADAPTER_WEIGHTS} {fault}")
    key = f"{named}: base_model_name_or_path"
    if is_folder(base):
        if not is_remote(base) and Path(locate_folder(base)).resolve() == folder.resolve():
            raise UserError(
                f"{named}: names itself as its base; correct base_model_name_or_path in its {ADAPTER_CONFIG}"
            )
        check_model(key, base)
    elif find_on_hub(key, base) is None:
        raise UserError(
            f"{named}: its base {base} is not here and the Hub cannot be reached; put the path of a copy into its "
            f"{ADAPTER_CONFIG} (base_model_name_or_path)"
        )


def _check_files(named: str, folder: Path, *, weights: bool = True) -> None:
    """Raise UserError, with the name `named`, if a local folder is not a causal language model with a tokenizer."""
    _check_architecture(named, folder)
    if weights:
        _check_weights(named, folder)
    if not (folder / "tokenizer.json").is_file() and not (folder / "tokenizer_config.json").is_file():
        raise UserError(f"{named}: has no tokenizer.json; save the tokenizer into the folder")


def _check_weights(named: str, folder: Path) -> None:
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise UserError(f"{named}: has no *.safetensors; save the model with safe_serialization=True")
    _check_shards(named, folder)
    for path in weights:
        fault = fault_of_weights(path)
        if fault is not None:
            raise UserError(f"{named}: {path.name} {fault}")


def _check_architecture(named: str, folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise UserError(f"{named}: not a Hugging Face model folder (it has no config.json)")
    try:
        config: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError:
        config = None
    if not isinstance(config, dict) or "model_type" not in config:
        raise UserError(f"{named}: its config.json is not a model's (it has no model_type)")
    made_for = [str(name) for name in cast(dict[str, Any], config).get("architectures") or []]
    if made_for and all(name.endswith(NOT_GENERATIVE) for name in made_for):
        raise UserError(f"{named}: {made_for[0]} generates no text; give a causal language model")


def fault_of_weights(path: Path) -> str | None:
    """The fault in a safetensors file, by its header and size alone; None for an intact one."""
    if not path.is_file():
        return "is no file; copy it again"
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        if head == b"version ":
            return "is a Git LFS pointer and not the weights; run `git lfs pull`"
        length = int.from_bytes(head, "little")
        if len(head) < 8 or length > size - 8:
            return "is not a safetensors file, or was cut off; copy it again"
        try:
            header: Any = json.loads(file.read(length))
            ends = [int(tensor["data_offsets"][1]) for name, tensor in header.items() if name != "__metadata__"]
        except (ValueError, AttributeError, KeyError, TypeError, IndexError):
            return "is not a safetensors file; copy it again"
    whole = 8 + length + max(ends, default=0)
    return f"was cut off at {size:,} of {whole:,} bytes; copy it again" if size < whole else None


def _check_shards(named: str, folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{named}: {index.name} is not an index of weights; copy it again") from None
    missing = sorted(name for name in shards if not (folder / name).is_file())
    if missing:
        raise UserError(f"{named}: {len(missing)} of {len(shards)} weight files are missing, the first is {missing[0]}")


def model_id(model: str, engine: EngineConfig | None = None) -> str:
    """The model's identity in sample ids and fingerprints: its contents for a folder, its name for the Hub.

    A retrained model in the same folder is another model; the same files in another folder are the same. The `engine`
    settings that change the model's output are part of its identity; those that only place it, or truncate its samples,
    are not.
    """
    shaped = {} if engine is None else {k: v for k, v in engine_output_settings(engine).items() if k not in LIMITS}
    identity = model
    if is_remote(model):
        identity = "sha:" + _remote_id(model)
    elif is_folder(model):
        folder = Path(locate_folder(model))
        reads_all = shaped.get("load_format", "safetensors") != "safetensors"
        if is_adapter(folder):
            identity = "sha:" + _adapter_id(folder, str(read_adapter(model, folder)["base_model_name_or_path"]))
        else:
            identity = "sha:" + model_fingerprint(folder, other_weights=reads_all)
    return f"{identity}+{digest('engine', shaped)[:8]}" if shaped else identity


def context_length(model: str, engine: Mapping[str, Any]) -> int | None:
    """The maximum number of tokens of prompt and completion together: `max_model_len` of the `engine` table, else the
    value in the model's config, without any scaling of its positions; None if it has none."""
    told = engine.get("max_model_len")
    if isinstance(told, int) and told > 0:
        return told
    from transformers import PretrainedConfig

    config, _ = PretrainedConfig.get_config_dict(resolve_model(model))
    length = {**config, **(config.get("text_config") or {})}.get("max_position_embeddings")
    return length if isinstance(length, int) else None
