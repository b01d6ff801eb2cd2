"""The text of an answer -> which of the choices it names, by letter or by its text. Pure."""

import re
import string
from collections.abc import Sequence

from stillery.verify.cleaning import clean, clean_text

_LETTER = re.compile(r"[(\[{]?\s*([A-Za-z])\s*[)\]}]?[.:]?")
_LABELLED = re.compile(
    r"(?:option|choice|answer)?\s*(?:[(\[{]\s*([A-Za-z])\s*[)\]}]|([A-Za-z])\s*[).:])\s*(.*)", re.IGNORECASE
)
_NAMED = re.compile(
    r"(?:the\s+)?(?:correct\s+)?(?:option|choice|answer)\s*:?\s*(?:is\s+)?[(\[]?([A-Za-z])[)\]]?", re.IGNORECASE
)


def choice_of(text: str, choices: Sequence[str]) -> str | None:
    """The letter (upper case) of the choice that a text names, or None.

    "B", "(b)", "B.", "option B", "B) Paris" and "Paris" all name the second of London and Paris; "B) London" names
    none. A text that is exactly one of the choices names that one, even if it looks like a letter.
    """
    letters = string.ascii_uppercase[: len(choices)] if choices else string.ascii_uppercase
    texts = [clean_text(_without_label(choice)) for choice in choices]
    cleaned = clean(text)
    if clean_text(cleaned) in texts:
        return letters[texts.index(clean_text(cleaned))]
    match = _LETTER.fullmatch(cleaned) or _NAMED.fullmatch(cleaned)
    if match:
        return match[1].upper() if match[1].upper() in letters else None
    match = _LABELLED.fullmatch(cleaned)
    if match is None:
        return None
    letter = (match[1] or match[2]).upper()
    if letter not in letters:
        return None
    named = clean_text(match[3])
    if choices and named in texts and texts[letters.index(letter)] != named:
        return None
    return letter


def find_choices(text: str, choices: Sequence[str]) -> list[str]:
    """The choices named within a text, in order: letters that stand alone, and the choices' own texts.

    A bare capital is a candidate except where it is a word of the sentence ("A", "I").
    """
    letters = string.ascii_uppercase[: len(choices)] if choices else string.ascii_uppercase[:10]
    found = [(m.start(), m[1]) for m in re.finditer(rf"[(\[]([{letters}])[)\]]", text)]
    found += [(m.start(), m[1]) for m in re.finditer(rf"(?<![\w'(\[\\])([{letters}])(?![\w'])", text)
              if m[1] not in "AI" or not re.match(r"\s+[a-z]", text[m.end() : m.end() + 9])]  # fmt: skip
    lowered = text.casefold()
    for letter, choice in zip(letters, choices, strict=False):
        words = clean_text(_without_label(choice))
        if len(words) > 1:
            found += [(m.start(), letter) for m in re.finditer(rf"(?<!\w){re.escape(words)}(?!\w)", lowered)]
    return [letter for _, letter in sorted(found)]


def _without_label(choice: str) -> str:
    match = _LABELLED.fullmatch(choice.strip())
    return match[3] if match and match[3] else choice
