"""The corpus: the same on every machine, and broad enough to distinguish pre-tokenizers."""

import json
import unicodedata
from collections import Counter

import pytest

from stillery.export.parity.corpus import build_corpus
from support.export_models import STUDENT

CORPUS = build_corpus(["<|im_end|>", "<think>"])


def test_it_is_large_varied_and_the_same_every_time() -> None:
    kinds = Counter(text.kind for text in CORPUS)
    assert len(CORPUS) > 2500
    assert len(kinds) > 50
    assert build_corpus(["<|im_end|>", "<think>"]) == CORPUS
    assert all(text.text.encode("utf-8") and "\0" not in text.text for text in CORPUS)


def test_only_the_decomposed_texts_are_decomposed() -> None:
    for text in CORPUS:
        assert (unicodedata.normalize("NFC", text.text) == text.text) == (text.kind != "decomposed")


@pytest.mark.parametrize("pattern", [r"\p{N}{1,3}", r"\p{N}+"])
def test_it_tells_pre_tokenizers_apart_that_differ_in_digits_only(pattern: str) -> None:
    from tokenizers import Tokenizer

    data = json.loads((STUDENT / "tokenizer.json").read_text())
    # Without merges of digits nothing can differ, so some are added.
    vocabulary, merges = data["model"]["vocab"], data["model"]["merges"]
    for position, pair in enumerate([("1", "2"), ("3", "4"), ("0", "0")]):
        vocabulary["".join(pair)] = 1024 + position
        merges.insert(0, list(pair))
    split = data["pre_tokenizer"]["pretokenizers"][0]["pattern"]
    original = Tokenizer.from_str(json.dumps(data))
    split["Regex"] = split["Regex"].replace(r"\p{N}|", f"{pattern}|", 1)
    other = Tokenizer.from_str(json.dumps(data))
    differing = [t for t in CORPUS if original.encode(t.text).ids != other.encode(t.text).ids]
    assert "digits" in {text.kind for text in differing}
