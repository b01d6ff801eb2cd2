"""Whether a trace is in the language that the classifiers were trained on."""

import re
from collections.abc import Sequence

from stillery.bonds.model.links import load_model

_WORD = re.compile(r"(?<![\\a-zA-Z])[^\W\d_]{2,}")
_FEW_WORDS = 8
_MIN_SHARE = 0.3
_MAX_READ = 20_000
_WIDE = re.compile(r"[\u0400-\u04ff\u0590-\u06ff\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3]")


def is_english(texts: Sequence[str]) -> bool:
    """Whether enough words of a trace are known to the English classifier. Bare maths counts as English."""
    text = "".join(texts)[:_MAX_READ]
    words = [word.casefold() for word in _WORD.findall(text)]
    if len(_WIDE.findall(text)) > max(_FEW_WORDS, len(text) // 20):
        return False
    if len(words) < _FEW_WORDS:
        return True
    vocabulary = load_model(markers=True).linear.vocabulary
    return sum(word in vocabulary for word in words) >= _MIN_SHARE * len(words)
