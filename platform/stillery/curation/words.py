"""Texts as normalised words, so that two notations of one problem agree. Pure, and linear."""

import re
from collections.abc import Iterator, Sequence

# `$x$`, `\(x\)`, `\left`, `\text{…}` and spacing are a formula's typesetting, not its content.
_TYPESETTING = re.compile(
    r"\\(?:left|right|displaystyle|text|mathrm|mathbf|operatorname|[,;:!]|quad|qquad)\b|\\[()\[\]]"
)
_TIMES = re.compile(r"\\(?:times|cdot|ast)\b|[×·]")
_EMPHASIS = re.compile(r"\*\*|__|^#+ ", re.MULTILINE)
_SEPARATED = re.compile(r"(?<=\d)[,\u202f\u00a0](?=\d{3}(?!\d))|(?<=\d)\{,\}(?=\d{3})")
_WORD = re.compile(r"\w+|[+\-*/=<>^%]")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without white space, markdown, LaTeX's typesetting and digit separators.

    Operators count as words: 3 + 4 and 3 * 4 are different problems.
    """
    plain = _TIMES.sub("*", _EMPHASIS.sub("", text))
    plain = _SEPARATED.sub("", _TYPESETTING.sub(" ", plain)).replace("_", " ")
    return _WORD.findall(plain.lower())


def ngrams(words: Sequence[str], n: int) -> Iterator[tuple[int, str]]:
    """Every n-gram of words with the position of its first word; for a text shorter than n words, the whole text."""
    for start in range(max(1, len(words) - n + 1) if words else 0):
        yield start, " ".join(words[start : start + n])


def shingles(text: str, n: int) -> set[str]:
    """The n-grams of a text as a set, for similarity."""
    return {gram for _, gram in ngrams(words_of(text), n)}


def jaccard(left: set[str], right: set[str]) -> float:
    """The Jaccard similarity: the size of the intersection over that of the union; 1 for two empty sets."""
    return len(left & right) / len(left | right) if left or right else 1.0
