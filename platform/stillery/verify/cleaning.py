"""Strips typesetting from an answer: markdown, delimiters, quotes, Unicode.

Pure. All comparisons of answers work on cleaned text.
"""

import re
import unicodedata
from functools import lru_cache

from stillery.maths.notation import normalize
from stillery.verify.markdown import strip_markdown

_WRAPPERS = (
    ("$$", "$$"), ("***", "***"), ("**", "**"), ("__", "__"), ("*", "*"), ("`", "`"), ('"', '"'), ("'", "'"),
)  # fmt: skip
_POWER = re.compile(r"(?<=\w)\*\*(?=[\w({-])")
_CLOCK = re.compile(r"(?<![\d:])0?(\d{1,2})(?::(\d\d)\s*([ap])\.*\s?m?|\s*([ap])\.?\s?m)(?![a-z])\.*")
_EARLY = re.compile(r"(?<![\d:.])0(?=\d:\d\d(?!\d))")
_LETTERS = re.compile(r"\w(?:[\s,\u00b7-]+\w)+")


@lru_cache(maxsize=8192)
def clean(text: str) -> str:
    """The answer without markdown, math delimiters, quotes, fonts, LaTeX spacing and a final full stop.

    Decimal digits of any script become ASCII, `\\dfrac` becomes `\\frac`, `x²` becomes `x^{2}`. A dollar sign stays
    only where it is a currency sign: escaped, or alone. Linear in the length of the text.
    """
    return _unwrap(normalize(_unwrap(_POWER.sub("^", strip_markdown(text, has_quotes=False)))))


def clean_text(text: str) -> str:
    """The form in which two answers in words are compared: case, quotes, outer punctuation and the spelling of a.m. and
    p.m. are ignored."""
    folded = unicodedata.normalize("NFKC", clean(text)).casefold()
    folded = _CLOCK.sub(_clock, _EARLY.sub("", re.sub(r"\s*,\s*", ",", folded)))
    return folded.strip(" \t\n.,;:!?\"'`*_()[]{}«»「」『』")


def join_letters(text: str) -> str:
    """A text that spells a word letter by letter ("n a o a", "n-a-o-a") as that word; any other text unchanged."""
    return re.sub(r"[\W_]", "", text) if _LETTERS.fullmatch(text) else text


def _clock(match: re.Match[str]) -> str:
    hour, minute, half, half_of_hour = match.groups()
    return f"{hour}:{minute or '00'}{half or half_of_hour}m"


def _unwrap(text: str) -> str:
    """The text without delimiters around the whole of it, and without final punctuation."""
    while True:
        before = text
        text = text.strip()
        text = text.rstrip(".,;: ") if not text.endswith("...") else text
        for opening, closing in _WRAPPERS:
            if not (text.startswith(opening) and text.endswith(closing)):
                continue
            inner = text[len(opening) : len(text) - len(closing)]
            if len(text) > len(opening) + len(closing) and opening not in inner and closing not in inner:
                text = inner
        if text == before:
            return text
