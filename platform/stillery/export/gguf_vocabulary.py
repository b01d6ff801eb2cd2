"""A Hugging Face fast tokenizer as GGUF metadata: tokens, types, merges, pre-tokenizer, special tokens, template.

llama.cpp implements byte-level BPE itself and knows pre-tokenizers by name, so what it can't express is refused here
rather than written and tokenized otherwise.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from gguf import GGUFWriter, TokenType

from stillery.errors import UserError
from stillery.export.checkpoint import Checkpoint

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN2 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _TAIL
_LLAMA3 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _TAIL

# (pattern, whether whole words skip the merges) to llama.cpp's name: in `llama-bpe` they do, in the others not.
_PRE_TOKENIZERS = {(_QWEN2, False): "qwen2", (_LLAMA3, True): "llama-bpe", (_LLAMA3, False): "smaug-bpe"}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What llama.cpp needs to know of a tokenizer. Ids without a token are filled up to the embedding's rows."""

    pre_tokenizer: str
    tokens: list[str]
    types: list[TokenType]
    merges: list[str]
    bos: int | None
    eos: int | None
    eot: int | None
    pad: int | None
    adds_bos: bool
    chat_template: str | None


def read_vocabulary(checkpoint: Checkpoint) -> Vocabulary:
    """Raises UserError, naming the part at fault, for a tokenizer that GGUF can't express."""
    tokenizer = checkpoint.tokenizer
    _check_expressible(checkpoint.folder, tokenizer)
    tokens, types = _tokens(tokenizer, rows=checkpoint.vocabulary_size)
    ids = {token: position for position, token in enumerate(tokens)}
    path = checkpoint.folder / "tokenizer_config.json"
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    bos = ids.get(_text(settings.get("bos_token")) or "")
    ends = checkpoint.end_tokens
    # The turn's end is what the tokenizer calls eos; llama.cpp stops at `eot` as well.
    eos = ids.get(_text(settings.get("eos_token")) or "", ends[0] if ends else None)
    others = [token for token in ends if token != eos]
    return Vocabulary(
        pre_tokenizer=_pre_tokenizer(checkpoint.folder, tokenizer),
        tokens=tokens,
        types=types,
        merges=[m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]],
        bos=bos,
        eos=eos if eos in ends or not ends else ends[0],
        eot=others[0] if others else None,
        pad=ids.get(_text(settings.get("pad_token")) or ""),
        adds_bos=bos is not None and _starts_with(tokenizer.get("post_processor"), tokens[bos]),
        chat_template=read_chat_template(checkpoint.folder, settings),
    )


def write_vocabulary(writer: GGUFWriter, vocabulary: Vocabulary) -> None:
    """Add a vocabulary to the metadata of a GGUF file."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre_tokenizer)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    for token, add in (
        (vocabulary.bos, writer.add_bos_token_id),
        (vocabulary.eos, writer.add_eos_token_id),
        (vocabulary.eot, writer.add_eot_token_id),
        (vocabulary.pad, writer.add_pad_token_id),
    ):
        if token is not None:
            add(token)
    writer.add_add_bos_token(vocabulary.adds_bos)
    if vocabulary.chat_template is not None:
        writer.add_chat_template(vocabulary.chat_template)


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


def _check_expressible(folder: Path, tokenizer: Mapping[str, Any]) -> None:
    model = tokenizer["model"]
    faults = {
        f"model type {model['type']} (BPE is)": model["type"] != "BPE",
        "byte fallback (SentencePiece)": bool(model.get("byte_fallback")),
        "dropout": bool(model.get("dropout")),
        "subword prefixes or suffixes": bool(model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")),
        f"normalizer {(tokenizer.get('normalizer') or {}).get('type')} (none and NFC are)": (
            tokenizer.get("normalizer") or {"type": "NFC"}
        )["type"]
        != "NFC",
    }
    for token in tokenizer["added_tokens"]:
        if token["lstrip"] or token["rstrip"] or token["single_word"]:
            faults[f"added token {token['content']!r}, which strips space or takes whole words"] = True
    found = [name for name, is_there in faults.items() if is_there]
    if found:
        raise UserError(f"{folder}: tokenizer can't be expressed in GGUF: {found[0]}; use --format onnx or executorch")


def _pre_tokenizer(folder: Path, tokenizer: Mapping[str, Any]) -> str:
    outer: dict[str, Any] = tokenizer.get("pre_tokenizer") or {"type": "none"}
    steps: list[dict[str, Any]] = outer["pretokenizers"] if outer["type"] == "Sequence" else [outer]
    splits = [step["pattern"].get("Regex") for step in steps if step["type"] == "Split"]
    level = [step for step in steps if step["type"] == "ByteLevel"]
    ignores_merges = bool(tokenizer["model"].get("ignore_merges"))
    if len(level) == 1 and len(steps) == len(splits) + 1 and not level[0]["add_prefix_space"]:
        if not splits and level[0].get("use_regex", True) and not ignores_merges:
            return "gpt-2"
        known = _PRE_TOKENIZERS.get((splits[0], ignores_merges)) if len(splits) == 1 else None
        if known is not None and not level[0].get("use_regex", True):
            return known
    raise UserError(
        f"{folder}: tokenizer can't be expressed in GGUF: its pre-tokenizer isn't byte-level BPE with the pattern of "
        "Qwen2, Llama 3 or GPT-2; use --format onnx or executorch"
    )


def _tokens(tokenizer: Mapping[str, Any], *, rows: int) -> tuple[list[str], list[TokenType]]:
    tokens = [f"[PAD{position}]" for position in range(rows)]
    types = [TokenType.UNUSED] * rows
    for token, position in tokenizer["model"]["vocab"].items():
        tokens[position], types[position] = token, TokenType.NORMAL
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
    return tokens, types


def _starts_with(post_processor: Mapping[str, Any] | None, token: str) -> bool:
    """Whether the tokenizer puts a token before every text."""
    steps = [post_processor] if post_processor else []
    steps = [inner for step in steps for inner in step.get("processors", [step])]
    singles = [step["single"] for step in steps if step["type"] == "TemplateProcessing"]
    return any(single and single[0].get("SpecialToken", {}).get("id") == token for single in singles)


def _text(token: Any) -> str | None:
    """A special token of tokenizer_config.json, which is a text or a record with the text under content."""
    return token["content"] if isinstance(token, dict) else token
