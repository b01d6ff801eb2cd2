"""The text of an answer -> the same answer without what is only typesetting: delimiters, spacing, fonts, Unicode.

Pure. Everything that compares answers compares cleaned text.
"""

import re
import unicodedata

_UNICODE = str.maketrans({
    "−": "-", "–": "-", "×": r"\times ", "÷": "/", "·": r"\cdot ", "∙": r"\cdot ", "π": r"\pi ", "∞": r"\infty ",
    "θ": r"\theta ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ", "∪": r"\cup ", "∩": r"\cap ",
    "°": r"^\circ", "“": '"', "”": '"', "‘": "'", "’": "'", "⁄": "/", "￥": "¥", "，": ",",
})  # fmt: skip
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")
_VULGAR = re.compile("[¼½¾⅐-⅞]")
_ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|(\w+))")
# `\\\\` ends a row of a matrix and is no spacing.
_SPACING = re.compile(r"(?<!\\)\\(?:[,;:!> ]|(?:q?quad|displaystyle|left|right)(?![a-zA-Z]))|~")
_FONT = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|it|sf)|mbox)\s*\{([^{}]*)\}")
_WRAPPERS = (
    ("$$", "$$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("__", "__"), ("`", "`"), ('"', '"'), ("'", "'"),
)  # fmt: skip
_WHOLE_CLOCK = re.compile(r"\d{1,2}:\d\d\s*[ap]\.*\s?m?\.*", re.IGNORECASE)
_CLOCK = re.compile(r"(\d:\d\d)\s*([ap])\.*\s?m?(?![a-z])\.*")


def clean(text: str) -> str:
    """The answer without math delimiters, emphasis, quotes, fonts, LaTeX spacing and a final full stop.

    Decimal digits of any script become ASCII, `\\dfrac` becomes `\\frac`, `x²` becomes `x^{2}`. A dollar sign stays
    only where it is a currency sign: escaped, or alone. Linear in the length of the text.
    """
    text = _fold_unicode(text)
    text = text.replace("{,}", ",").replace("\\!", "")
    text = re.sub(r"\\[dtc]frac(?![a-zA-Z])", r"\\frac", text)
    text = _SPACING.sub(" ", text)
    text = _FONT.sub(r" \1", text)
    text = text.replace(r"^{\circ}", r"^\circ").replace(r"\degree", r"^\circ")
    text = text.replace("**", "^") if re.search(r"\w\*\*\w", text) and not text.startswith("**") else text
    text = _unwrap(" ".join(text.split()))
    if text.replace(r"\$", "").count("$") % 2 == 0:
        text = re.sub(r"(?<!\\)\$", "", text)
    return _unwrap(" ".join(text.replace(r"\$", "$").split()))


def clean_text(text: str) -> str:
    """The form in which two answers that are words are compared: case, quotes, outer punctuation and the
    spelling of a.m. and p.m. are ignored."""
    folded = unicodedata.normalize("NFKC", clean(text)).casefold()
    folded = _CLOCK.sub(r"\1\2m", re.sub(r"\s*,\s*", ",", folded))
    return folded.strip(" \t\n.,;:!?\"'`*_()[]{}")


def is_clock(text: str) -> bool:
    """Whether a cleaned text is a time of day with a.m. or p.m. and nothing else: words, not mathematics."""
    return _WHOLE_CLOCK.fullmatch(text) is not None


def _fold_unicode(text: str) -> str:
    if text.isascii():
        return re.sub(r"[\x00-\x1f\x7f]", " ", text)
    text = _SUPERSCRIPT.sub(lambda m: "^{" + m.group().translate(_SUPERSCRIPTS) + "}", text)
    text = _VULGAR.sub(lambda m: " " + unicodedata.normalize("NFKC", m.group()), text)
    text = unicodedata.normalize("NFKC", text.translate(_UNICODE)).translate(_UNICODE)
    text = _ROOT.sub(lambda m: r"\sqrt{" + (m[2] if m[1] is None else m[1]) + "}", text)
    # Format characters (zero-width, bidirectional controls) and lone surrogates hide or reorder what is compared.
    kept = (c for c in text if unicodedata.category(c) not in ("Cf", "Cs"))
    folded = (str(unicodedata.digit(c)) if c.isdigit() and not c.isascii() else c for c in kept)
    return re.sub(r"[\x00-\x1f\x7f]", " ", "".join(folded))


def _unwrap(text: str) -> str:
    """Without the delimiters that wrap the whole of it, and without final punctuation."""
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
