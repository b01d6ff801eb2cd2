"""A Hugging Face fast tokenizer as GGUF metadata: tokens, types, merges, pre-tokenizer, special tokens, template.

llama.cpp implements byte-level BPE itself and knows pre-tokenizers by name, so a tokenizer that it can't express is
refused here rather than written and tokenized differently.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType

from stillery.errors import UserError
from stillery.export.checkpoint import Checkpoint
from stillery.export.tokenizer_files import read_chat_template

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN2 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _TAIL
_LLAMA3 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _TAIL
_HAN_AND_HANGUL = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"

# From the sequence of patterns that split a text, before bytes become letters, to llama.cpp's name. `gpt-2` stands for
# the pattern built into byte-level pre-tokenizers. Whole words skip the merges in `llama-bpe`, and in no other.
_PRE_TOKENIZERS: dict[tuple[tuple[str, ...], bool], str] = {
    ((_QWEN2,), False): "qwen2",
    ((_LLAMA3,), True): "llama-bpe",
    ((_LLAMA3,), False): "smaug-bpe",
    (("gpt-2",), False): "gpt-2",
    (("digits", "gpt-2"), False): "smollm",
    (("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _HAN_AND_HANGUL, "digits"), False): "deepseek-coder",
}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The metadata of a tokenizer for llama.cpp. Ids without a token are filled up to the embedding's rows."""

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
    # The turn's end is the tokenizer's eos; llama.cpp stops at `eot` as well.
    eos = ids.get(_text(settings.get("eos_token")) or "", ends[0] if ends else None)
    others = [token for token in ends if token != eos]
    template = read_chat_template(checkpoint.folder, settings)
    return Vocabulary(
        pre_tokenizer=_pre_tokenizer(checkpoint.folder, tokenizer),
        tokens=tokens,
        types=types,
        merges=[m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]],
        bos=bos,
        eos=eos if eos in ends or not ends else ends[0],
        eot=others[0] if others else None,
        pad=ids.get(_text(settings.get("pad_token")) or ""),
        adds_bos=bos is not None
        and _starts_with(tokenizer.get("post_processor"), tokens[bos])
        and _writes_bos(template, tokens[bos]),
        chat_template=template,
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


def _check_expressible(folder: Path, tokenizer: Mapping[str, Any]) -> None:
    model = tokenizer["model"]
    normalizers = [n for n in _normalizers(tokenizer.get("normalizer")) if n != "NFC"]
    faults = {
        "it is a SentencePiece model (byte fallback)": bool(model.get("byte_fallback")),
        f"model type {model['type']} (BPE is)": model["type"] != "BPE",
        "dropout": bool(model.get("dropout")),
        "subword prefixes or suffixes": bool(model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")),
        f"normalizer {', '.join(normalizers)} (none and NFC are)": bool(normalizers),
    }
    for token in tokenizer["added_tokens"]:
        if token["lstrip"] or token["rstrip"] or token["single_word"]:
            faults[f"added token {token['content']!r}, which strips space or takes whole words"] = True
    found = [name for name, is_there in faults.items() if is_there]
    if found:
        raise UserError(f"{folder}: tokenizer can't be expressed in GGUF: {found[0]}; use --format onnx or executorch")


def _normalizers(normalizer: Mapping[str, Any] | None) -> list[str]:
    """The types of the normalizers that change a text, in order; an empty sequence changes none."""
    if normalizer is None:
        return []
    if normalizer["type"] != "Sequence":
        return [normalizer["type"]]
    return [name for step in normalizer["normalizers"] for name in _normalizers(step)]


def _pre_tokenizer(folder: Path, tokenizer: Mapping[str, Any]) -> str:
    outer: dict[str, Any] = tokenizer.get("pre_tokenizer") or {"type": "none"}
    steps: list[dict[str, Any]] = outer["pretokenizers"] if outer["type"] == "Sequence" else [outer]
    splits = [_split(step) for step in steps]
    ignores_merges = bool(tokenizer["model"].get("ignore_merges"))
    known = _PRE_TOKENIZERS.get((tuple(split for split in splits if split), ignores_merges))
    # Bytes become letters once, at the end.
    is_byte_level = [step["type"] == "ByteLevel" for step in steps] == [False] * (len(steps) - 1) + [True]
    if known is None or None in splits or not is_byte_level:
        raise UserError(
            f"{folder}: tokenizer can't be expressed in GGUF: its pre-tokenizer isn't byte-level BPE with the pattern "
            "of Qwen2, Llama 3, SmolLM, DeepSeek Coder or GPT-2; use --format onnx or executorch"
        )
    return known


def _split(step: Mapping[str, Any]) -> str | None:
    """The split of one step: a pattern or its name, none (an empty text), or an unknown one (None)."""
    if step["type"] == "ByteLevel" and not step["add_prefix_space"]:
        return "gpt-2" if step.get("use_regex", True) else ""
    if step["type"] == "Digits" and step["individual_digits"]:
        return "digits"
    if step["type"] == "Split" and step["behavior"] == "Isolated" and not step["invert"]:
        return step["pattern"].get("Regex")
    return None


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


def _writes_bos(template: str | None, token: str) -> bool:
    """Whether a chat starts with the token. Where its template doesn't write it, transformers adds none to a chat, and
    llama.cpp would."""
    return template is None or "bos_token" in template or token in template


def _text(token: Any) -> str | None:
    """A special token of tokenizer_config.json, given as a text or a record with the text under content."""
    return token["content"] if isinstance(token, dict) else token
