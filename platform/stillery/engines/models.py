"""What a config means by a model: `embedded:teacher`, a local Hugging Face folder, or a Hub name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillery.errors import UserError
from stillery.records import digest
from stillery.runs import model_fingerprint

EMBEDDED = "embedded:"

# The fields of vLLM's EngineArgs that make another model of the same weights.
SHAPING = ("dtype", "quantization", "kv_cache_dtype", "revision", "tokenizer", "tokenizer_revision", "hf_overrides")


def resolve_model(model: str) -> str:
    """The path or Hub name to load. Resolved on the machine that loads it: the package may lie elsewhere there."""
    if model.startswith(EMBEDDED):
        name = model.removeprefix(EMBEDDED)
        if name not in ("teacher", "student"):
            raise UserError(f"model {model!r}: the embedded models are embedded:teacher and embedded:student")
        return str(Path(__file__).parent.parent / "embedded" / "models" / name)
    path = Path(model).expanduser()
    return str(path.absolute()) if path.exists() else model


def is_folder(model: str) -> bool:
    """Whether a model is meant as a local folder rather than a Hub name, which has one slash and no dots before."""
    resolved = resolve_model(model)
    return Path(resolved).exists() or resolved.startswith(("/", ".", "~")) or resolved.count("/") > 1


def check_model(key: str, model: str) -> None:
    """Raise UserError, naming the config key, if a local folder is not a causal language model with a tokenizer."""
    if not is_folder(model):
        return
    folder = Path(resolve_model(model))
    if not folder.is_dir():
        raise UserError(f"{key}={model}: no such folder; give a Hugging Face model folder or a Hub name")
    if not (folder / "config.json").is_file():
        raise UserError(f"{key}={model}: not a Hugging Face model folder (it has no config.json)")
    if not list(folder.glob("*.safetensors")):
        raise UserError(f"{key}={model}: has no *.safetensors; save the model with safe_serialization=True")
    _check_shards(key, folder)
    if not (folder / "tokenizer.json").is_file() and not (folder / "tokenizer_config.json").is_file():
        raise UserError(f"{key}={model}: has no tokenizer.json; save the tokenizer into the folder")


def _check_shards(key: str, folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return
    shards = set(json.loads(index.read_text())["weight_map"].values())
    missing = sorted(name for name in shards if not (folder / name).is_file())
    if missing:
        raise UserError(
            f"{key}={folder}: {len(missing)} of {len(shards)} weight files are missing, the first is {missing[0]}"
        )


def model_id(model: str, engine: Mapping[str, Any] | None = None) -> str:
    """What identifies the model in sample ids and fingerprints: its contents for a folder, its name for the Hub.

    A retrained model in the same folder is another model; the same files in another folder are the same. Those keys
    of an `engine` table that change what a model says are part of its identity, those that place it are not.
    """
    identity = "sha:" + model_fingerprint(Path(resolve_model(model))) if is_folder(model) else model
    shaped = {key: value for key, value in (engine or {}).items() if key in SHAPING}
    return f"{identity}+{digest('engine', shaped)[:8]}" if shaped else identity
