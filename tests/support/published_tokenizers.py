"""Tokenizers of published models, rebuilt: tokens and merges from llama.cpp's vocabulary files, the rest from this
module.

`rebuild` returns a tokenizer.json; `expectations` returns texts with their tokens by the model's own tokenizer.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_LLAMA_3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_PLAIN = (
    "{% for m in messages %}### {{ m['role'] }}:\n{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}### assistant:\n{% endif %}"
)
# Ids 151646 and up of Qwen3's tokenizer_config.json; the first eleven are special.
_QWEN3_TOKENS = (
    "<|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> <|quad_start|> <|quad_end|> <|vision_start|> "
    "<|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|> <tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> "
    "<|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|> <tool_response> </tool_response> <think> </think>"
).split()


def split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def byte_level(*, use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def in_turn(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


DIGITS = {"type": "Digits", "individual_digits": True}


@dataclass(frozen=True)
class Family:
    """The contents of a published tokenizer.json and its config besides the vocabulary,
    `ggml-vocab-VOCABULARY.gguf`."""

    vocabulary: str
    architecture: str
    tokenizer_class: str
    pre_tokenizer: dict[str, Any]
    end: str
    chat_template: str
    normalizer: dict[str, Any] | None = None
    ignore_merges: bool = False
    adds_bos: str | None = None
    more_tokens: Sequence[str] = ()


_QWEN2 = Family(
    "qwen2", "qwen2", "Qwen2Tokenizer",
    in_turn(split(_CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _TAIL), byte_level(use_regex=False)),
    "<|im_end|>", _CHATML, normalizer={"type": "NFC"},
)  # fmt: skip
FAMILIES = {
    "qwen2": _QWEN2,
    "qwen3": replace(_QWEN2, architecture="qwen3", more_tokens=_QWEN3_TOKENS),
    "llama-3": Family(
        "llama-bpe", "llama", "PreTrainedTokenizerFast",
        in_turn(split(_CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _TAIL), byte_level(use_regex=False)),
        "<|eot_id|>", _LLAMA_3, ignore_merges=True, adds_bos="<|begin_of_text|>",
    ),
    # Published with tokenizer_class LlamaTokenizerFast, and SmolLM with GPT2Tokenizer. transformers 5 puts pipelines of
    # its own in the place of theirs for these names, so that neither is read as it was meant.
    "deepseek-coder": Family(
        "deepseek-coder", "llama", "PreTrainedTokenizerFast",
        in_turn(
            split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[一-龥ࠀ-一가-퟿]+"), DIGITS,
            byte_level(use_regex=False),
        ),
        "<｜end▁of▁sentence｜>", _PLAIN, normalizer={"type": "Sequence", "normalizers": []},
        adds_bos="<｜begin▁of▁sentence｜>",
    ),
    # SmolLM's pre-tokenizer, with the vocabulary of StarCoder 2, which has the same one.
    "smollm": Family(
        "starcoder", "llama", "PreTrainedTokenizerFast", in_turn(DIGITS, byte_level(use_regex=True)), "<|endoftext|>",
        _PLAIN,
    ),
    "gpt-2": Family("gpt-2", "llama", "GPT2Tokenizer", byte_level(use_regex=True), "<|endoftext|>", _PLAIN),
}  # fmt: skip


def rebuild(family: Family, vocabulary: Path) -> dict[str, Any]:
    """tokenizer.json from a vocabulary: its tokens and merges, with the rest from its family."""
    from gguf import TokenType

    tokens, types = tokens_of(vocabulary, "tokens"), tokens_of(vocabulary, "token_type")
    added: list[dict[str, Any]] = []
    vocab: dict[str, int] = {}
    last = max(position for position, kind in enumerate(types) if kind == TokenType.NORMAL)
    for position, (token, kind) in enumerate(zip(tokens, types, strict=True)):
        # The tokenizers library numbers what the vocabulary doesn't hold from its end on.
        if position < last or kind == TokenType.NORMAL:
            vocab[token] = position
        if kind != TokenType.NORMAL and not re.fullmatch(r"\[PAD\d+\]", token):
            added.append(added_token(token, position, is_special=kind == TokenType.CONTROL))
    first = max(last, *(token["id"] for token in added)) + 1
    for number, token in enumerate(family.more_tokens):
        added.append(added_token(token, first + number, is_special=number < 11))
    bos = family.adds_bos
    steps: list[dict[str, Any]] = [
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    ]
    if bos is not None:
        start, text = {"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
        second = [{"SpecialToken": {"id": bos, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}]
        ids = {bos: {"id": bos, "ids": [tokens.index(bos)], "tokens": [bos]}}
        steps.append(
            {
                "type": "TemplateProcessing",
                "single": [start, text],
                "pair": [start, text, *second],
                "special_tokens": ids,
            }
        )
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": family.normalizer,
        "pre_tokenizer": family.pre_tokenizer, "post_processor": {"type": "Sequence", "processors": steps},
        "decoder": byte_level(use_regex=True),
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": family.ignore_merges, "vocab": vocab,
            "merges": [merge.split(" ") for merge in tokens_of(vocabulary, "merges")],
        },
    }  # fmt: skip


def tokens_of(vocabulary: Path, what: str) -> list[Any]:
    """One of the lists of a vocabulary file: tokens, token_type or merges."""
    from gguf import GGUFReader

    found = GGUFReader(vocabulary).get_field(f"tokenizer.ggml.{what}")
    assert found is not None, f"{vocabulary} has no {what}"
    return found.contents()


def added_token(content: str, position: int, *, is_special: bool) -> dict[str, Any]:
    return {
        "id": position, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
        "normalized": not is_special, "special": is_special,
    }  # fmt: skip


def expectations(vocabulary: Path) -> Iterator[tuple[str, list[int]]]:
    """The texts beside a vocabulary, and their tokens by the model's own tokenizer."""
    texts = Path(f"{vocabulary}.inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
    lines = Path(f"{vocabulary}.out").read_text(encoding="utf-8").split("\n")
    for text, line in zip(texts, lines, strict=False):
        yield text, [int(token) for token in line.split()]
