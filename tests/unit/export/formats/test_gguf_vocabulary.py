"""The parts of a tokenizer that GGUF can express, and tokenizers that are refused because GGUF would tokenize
differently."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gguf", reason="the extra `edge` is not installed")

from gguf import TokenType

from stillery.errors import UserError
from stillery.export.checkpoint import open_checkpoint
from stillery.export.formats.gguf.vocabulary import Vocabulary, read_vocabulary
from support.export_models import STUDENT, copy_of, edit_json

LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


GPT_2 = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}


def split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def in_turn(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def vocabulary_of(folder: Path) -> Vocabulary:
    return read_vocabulary(open_checkpoint(folder))


def edited(out: Path, **parts: Any) -> Path:
    """A copy of the student with other parts in tokenizer.json."""
    folder = copy_of(STUDENT, out)
    edit_json(folder / "tokenizer.json", lambda tokenizer: tokenizer.update(parts))
    return folder


def with_pattern(out: Path, pattern: str, *, ignore_merges: bool) -> Path:
    def edit(tokenizer: dict[str, Any]) -> None:
        tokenizer["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = pattern
        tokenizer["model"]["ignore_merges"] = ignore_merges

    folder = copy_of(STUDENT, out)
    edit_json(folder / "tokenizer.json", edit)
    return folder


def test_the_embedded_tokenizer() -> None:
    vocabulary = vocabulary_of(STUDENT)
    assert vocabulary.pre_tokenizer == "qwen2"
    assert len(vocabulary.tokens) == 1024
    assert vocabulary.tokens[2] == "<|im_end|>"
    assert vocabulary.types[2] == TokenType.CONTROL
    assert vocabulary.types[1020] == TokenType.USER_DEFINED
    assert (vocabulary.bos, vocabulary.eos, vocabulary.eot, vocabulary.pad) == (None, 2, None, 0)
    assert not vocabulary.adds_bos
    assert vocabulary.merges[0] == "h e"
    assert vocabulary.chat_template == (STUDENT / "chat_template.jinja").read_text()


def test_the_pre_tokenizer_is_told_by_pattern_and_merges(tmp_path: Path) -> None:
    assert vocabulary_of(with_pattern(tmp_path / "a", LLAMA_3, ignore_merges=True)).pre_tokenizer == "llama-bpe"
    assert vocabulary_of(with_pattern(tmp_path / "b", LLAMA_3, ignore_merges=False)).pre_tokenizer == "smaug-bpe"
    assert vocabulary_of(edited(tmp_path / "c", pre_tokenizer=GPT_2)).pre_tokenizer == "gpt-2"


def test_pre_tokenizers_of_several_steps(tmp_path: Path) -> None:
    smollm = in_turn(DIGITS, GPT_2)
    assert vocabulary_of(edited(tmp_path / "a", pre_tokenizer=smollm)).pre_tokenizer == "smollm"
    patterns = ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+")
    coder = in_turn(*(split(pattern) for pattern in patterns), DIGITS, GPT_2 | {"use_regex": False})
    assert vocabulary_of(edited(tmp_path / "b", pre_tokenizer=coder)).pre_tokenizer == "deepseek-coder"


@pytest.mark.parametrize(
    "pre_tokenizer",
    [
        in_turn(GPT_2, DIGITS),
        in_turn(DIGITS | {"individual_digits": False}, GPT_2),
        in_turn(split(LLAMA_3), GPT_2),
        in_turn(split(LLAMA_3)),
        in_turn(split(LLAMA_3) | {"behavior": "Removed"}, GPT_2 | {"use_regex": False}),
        in_turn(split(LLAMA_3) | {"invert": True}, GPT_2 | {"use_regex": False}),
        in_turn(split(LLAMA_3), GPT_2 | {"use_regex": False, "add_prefix_space": True}),
        in_turn(split(LLAMA_3) | {"pattern": {"String": " "}}, GPT_2 | {"use_regex": False}),
    ],
)
def test_the_same_steps_in_another_order_or_with_other_settings_are_refused(
    tmp_path: Path, pre_tokenizer: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match="its pre-tokenizer isn't byte-level BPE"):
        vocabulary_of(edited(tmp_path / "m", pre_tokenizer=pre_tokenizer))


@pytest.mark.parametrize("normalizers", [[], [{"type": "NFC"}], [{"type": "Sequence", "normalizers": []}]])
def test_a_sequence_of_no_normalizers_or_of_nfc_is_none_or_nfc(
    tmp_path: Path, normalizers: list[dict[str, Any]]
) -> None:
    normalizer = {"type": "Sequence", "normalizers": normalizers}
    assert vocabulary_of(edited(tmp_path / "m", normalizer=normalizer)).pre_tokenizer == "qwen2"
    wrong = {"type": "Sequence", "normalizers": [*normalizers, {"type": "Prepend", "prepend": "\u2581"}]}
    with pytest.raises(UserError, match="normalizer Prepend"):
        vocabulary_of(edited(tmp_path / "w", normalizer=wrong))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"normalizer": {"type": "Lowercase"}}, "normalizer Lowercase"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre-tokenizer"),
        ({"pre_tokenizer": None}, "pre-tokenizer"),
        ({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}}, "pre-tokenizer"),
    ],
)
def test_what_gguf_cannot_express_is_refused(tmp_path: Path, parts: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"can't be expressed in GGUF.*{said}"):
        vocabulary_of(edited(tmp_path / "m", **parts))


@pytest.mark.parametrize("edit", ["byte_fallback", "type", "lstrip", "pattern", "ignore_merges"])
def test_models_and_added_tokens_that_gguf_cannot_express(tmp_path: Path, edit: str) -> None:
    def change(tokenizer: dict[str, Any]) -> None:
        if edit == "byte_fallback":
            tokenizer["model"]["byte_fallback"] = True  # as in every tokenizer made from SentencePiece
        elif edit == "type":
            tokenizer["model"]["type"] = "Unigram"
        elif edit == "lstrip":
            tokenizer["added_tokens"][3]["lstrip"] = True
        elif edit == "ignore_merges":
            tokenizer["model"]["ignore_merges"] = True
        else:
            tokenizer["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\w+|\W+"

    folder = copy_of(STUDENT, tmp_path / "m")
    edit_json(folder / "tokenizer.json", change)
    with pytest.raises(UserError, match="can't be expressed in GGUF"):
        vocabulary_of(folder)


def test_rows_without_a_token_are_filled_and_several_ends_are_kept(tmp_path: Path) -> None:
    folder = copy_of(STUDENT, tmp_path / "m")
    edit_json(folder / "tokenizer.json", lambda tokenizer: tokenizer["added_tokens"].pop())
    edit_json(folder / "generation_config.json", lambda generation: generation.update(eos_token_id=[0, 2]))
    vocabulary = vocabulary_of(folder)
    assert vocabulary.tokens[1023] == "[PAD1023]"
    assert vocabulary.types[1023] == TokenType.UNUSED
    # The tokenizer's own end of turn is the main one.
    assert (vocabulary.eos, vocabulary.eot) == (2, 0)


def test_a_start_token_that_the_tokenizer_adds(tmp_path: Path) -> None:
    start = {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    template = {"type": "TemplateProcessing", "single": [start, text], "pair": [], "special_tokens": {}}
    folder = edited(tmp_path / "m", post_processor={"type": "Sequence", "processors": [template]})
    edit_json(folder / "tokenizer_config.json", lambda config: config.update(bos_token={"content": "<|im_start|>"}))
    # The student's template writes its first token itself, by name.
    vocabulary = vocabulary_of(folder)
    assert vocabulary.bos == 1
    assert vocabulary.adds_bos
    for template, adds in (("{{ bos_token }}{{ messages }}", True), ("{{ messages }}", False)):
        (folder / "chat_template.jinja").write_text(template)
        assert vocabulary_of(folder).adds_bos == adds
    (folder / "chat_template.jinja").unlink()
    assert vocabulary_of(folder).adds_bos
