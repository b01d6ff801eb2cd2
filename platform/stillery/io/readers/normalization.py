"""Normalises a question, so that two that differ only in notation compare equal."""

import re
import unicodedata
from collections.abc import Sequence

from stillery.records import digest

# Before NFKC, which would make x² and x2 the same.
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_SIGNS = str.maketrans({
    "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "―": "-", "−": "-", "“": '"', "”": '"', "„": '"', "«": '"',
    "»": '"', "‘": "'", "’": "'", "‚": "'", "`": "'", "´": "'", "⁄": "/", "∕": "/", "×": r"\times ", "·": r"\cdot ",
    "⋅": r"\cdot ", "÷": r"\div ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "π": r"\pi ", "°": r"^\circ ",
    "。": ".", "、": ",", "．": ".",
})  # fmt: skip
_EMPHASIS = re.compile(r"(?<![\w*_\\])(\*{1,3}|_{1,3}|~~)(?=[^\s*_])([^\n]{1,300}?)(?<=[^\s*_\\])\1(?![\w*_])")
_CODE = re.compile(r"(?<!`)(`{1,2})(?=[^`\s])([^`\n]{1,500})(?<=[^`\s])\1(?!`)")
_LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]?(?=[^\W\d])|[-*+•][ \t]+(?=[^\W\d]))", re.MULTILINE)
_LATEX_SPACE = re.compile(r"(?<!\\)\\(?:[,;:! ]|(?:q?quad|left|right|displaystyle|limits|thinspace)(?![a-zA-Z]))|~")
_LATEX_NAMES = (
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\(le|ge|ne)q(?![a-zA-Z])"), r"\\\1"),
)
_DELIMITER = re.compile(r"(?<!\\)\$\$?|\\[()\[\]]")
_BRACED = re.compile(r"(?<=[\^_])\{(\w)\}")
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,)(?=\d{3}(?!\d))")
# White space matters only between two words.
_SPACE = re.compile(r"\s+(?=\W)|(?<=\W)\s+")
_FINAL = ".?:;,…'\" "


def normalize(text: str) -> str:
    """The text without differences of notation: case, Unicode forms (full width, ligatures, kinds of dashes and
    quotes), format characters, white space, markdown, LaTeX's delimiters and spacing, thousands separators, final
    punctuation. Linear in its length."""
    text = _CODE.sub(r"\2", text)
    text = text.replace("`", "'").lower() if text.isascii() else _fold_unicode(text)
    text = _LINE_MARK.sub("", text)
    for _ in range(2):  # emphasis within emphasis
        text = _EMPHASIS.sub(r"\2", text)
    text = _LATEX_SPACE.sub(" ", text)
    for pattern, name in _LATEX_NAMES:
        text = pattern.sub(name, text)
    text = _DELIMITER.sub(" ", text)
    text = _THOUSANDS.sub("", _BRACED.sub(r"\1", text))
    return _without_end(_SPACE.sub("", " ".join(text.split())))


def _fold_unicode(text: str) -> str:
    text = _SUPERSCRIPT.sub(lambda match: "^{" + match.group().translate(_SUPERSCRIPTS) + "}", text)
    text = unicodedata.normalize("NFKC", text.translate(_SIGNS)).translate(_SIGNS)
    return unicodedata.normalize("NFKC", "".join(c for c in text if unicodedata.category(c) != "Cf").casefold())


def _without_end(text: str) -> str:
    """The text without final punctuation; an exclamation mark is punctuation after a word, but a factorial after a
    number or letter."""
    end = len(text)
    while end:
        start = end
        while start and text[start - 1] == "!":
            start -= 1
        before = text[max(start - 2, 0) : start]
        if start == end and text[end - 1] in _FINAL:
            end -= 1
        elif start < end and ((len(before) == 2 and before.isalpha()) or before[-1:] in tuple(_FINAL)):
            end = start
        else:
            break
    return text[:end].lstrip("'\" ")


def question_key(question: str, choices: Sequence[str] = ()) -> str:
    """The key by which two problems are the same: the normalized question, and the normalized choices in any order."""
    return digest(normalize(question), sorted(map(normalize, choices)))
