"""Tokenizer files for artifacts, adapted so that on-device tokenizers agree with transformers.

The C++ tokenizers of ONNX Runtime GenAI and ExecuTorch pad and truncate where tokenizer.json says so, and some add the
special tokens of its post-processor to a prompt whose chat template has already written them.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from stillery.errors import UserError
from stillery.export.checkpoint import Checkpoint

_SPECIAL_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")
_ADDS_NOTHING = ("ByteLevel",)


def write_tokenizer_files(checkpoint: Checkpoint, out: Path) -> None:
    """Write tokenizer.json (without padding, truncation or added tokens), tokenizer_config.json and the chat template
    into `out`."""
    tokenizer = dict(checkpoint.tokenizer) | {"padding": None, "truncation": None}
    tokenizer["post_processor"] = _without_added_tokens(checkpoint.tokenizer.get("post_processor"))
    _write_json(out / "tokenizer.json", tokenizer)
    # An absent key, not null, makes runtimes guess a token.
    config = dict.fromkeys(_SPECIAL_TOKENS) | _tokenizer_config(checkpoint) | {"add_bos_token": False}
    _write_json(out / "tokenizer_config.json", config)
    template = checkpoint.folder / "chat_template.jinja"
    if template.is_file():
        (out / template.name).write_text(template.read_text(encoding="utf-8"), encoding="utf-8")


def stage_checkpoint(checkpoint: Checkpoint, folder: Path) -> Path:
    """Make a folder with the checkpoint's weights (linked) and config, and the tokenizer files that will ship."""
    folder.mkdir()
    for path in sorted(checkpoint.folder.iterdir()):
        if path.suffix == ".safetensors":
            (folder / path.name).symlink_to(path.resolve())
        elif path.name in ("config.json", "generation_config.json", "model.safetensors.index.json"):
            shutil.copy(path, folder)
    write_tokenizer_files(checkpoint, folder)
    return folder


def read_chat_template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """The template of a folder: chat_template.jinja, else the tokenizer config's (the default of several)."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found: Any = settings.get("chat_template")
    if isinstance(found, list):
        named = {entry["name"]: entry["template"] for entry in cast(list[dict[str, str]], found)}
        return named.get("default")
    return found


def check_chat(checkpoint: Checkpoint) -> None:
    """Raise UserError for a checkpoint without a chat: no chat template, or no token that ends an answer."""
    if not read_chat_template(checkpoint.folder, _tokenizer_config(checkpoint)):
        raise UserError(f"{checkpoint.folder}: has no chat template; save the tokenizer with one")
    if not checkpoint.end_tokens:
        raise UserError(f"{checkpoint.folder}: no token ends an answer; set eos_token_id in generation_config.json")


def _tokenizer_config(checkpoint: Checkpoint) -> dict[str, Any]:
    path = checkpoint.folder / "tokenizer_config.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _without_added_tokens(processor: dict[str, Any] | None) -> dict[str, Any] | None:
    """Drop the steps that add special tokens, and keep the byte-level one, which only moves offsets."""
    if processor is None:
        return None
    if processor["type"] == "Sequence":
        kept = [step for step in cast(list[dict[str, Any]], processor["processors"]) if step["type"] in _ADDS_NOTHING]
        return processor | {"processors": kept} if kept else None
    return processor if processor["type"] in _ADDS_NOTHING else None


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
