"""Which choice an answer names, by letter or by text. Pure."""

import re
import string
from collections.abc import Sequence

from stillery.maths.values import read
from stillery.verify.cleaning import clean, clean_text
from stillery.verify.denials import is_denied
from stillery.verify.same_maths import same_maths

_LETTER = re.compile(r"[(\[{]?\s*([A-Za-z])\s*[)\]}]?[.:]?")
_LABELLED = re.compile(
    r"(?:the\s+)?(?:correct\s+)?(?:option|choice|answer)?\s*(?:is\s+)?"
    r"(?:[(\[{]\s*([A-Za-z])\s*[)\]}]\s*[.:,-]?|([A-Za-z])\s*(?:[).:,]|\s-+(?=\s)|\u2014|(?=\s*[(\[]))"
    r"|([A-Za-z])(?=\s+(?:because|since|as|which)\s))\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)
_NAMED = re.compile(
    r"(?:the\s+)?(?:correct\s+)?(?:option|choice|answer)\s*:?\s*(?:is\s+)?:?\s*(?:option|choice)?\s*[(\[]?([A-Za-z])[)\]]?",
    re.IGNORECASE,
)
# A gold answer with a letter and its text, distinguished from words that begin with an initial by its punctuation.
_GOLD = re.compile(r"(?:\(\s*([A-J])\s*\)\s*[.:]?|([A-J])\s*[):])\s*(.+)", re.DOTALL)
# A full stop may be an initial's, so the text after it must be mathematics.
_GOLD_STOPPED = re.compile(r"([A-J])\.\s+(.+)", re.DOTALL)
_ANOTHER = re.compile(
    r"[(\[]?[A-J][)\]]?(?:\W|$)|.*\b(?:and|or|also|maybe|either)\s+[(\[]?[B-J][)\]]?(?![\w'])", re.DOTALL
)
# The end of a choice's text; "London is wrong" does not name London.
_TEXT_END = r"\s*(?:$|[.,;:!?()]|because\b|since\b)"
# The words after a capital that is an article or a pronoun: "A dog", but "A or B".
_ARTICLE = re.compile(r"\s+(?!(?:or|and)\b)[a-z]")
_REASON = re.compile(r"(?:because|since|as|which|that)\s", re.IGNORECASE)


def labelled_choice(text: str) -> tuple[str, str] | None:
    """The letter of a cleaned gold answer and the text beside it: ("D", "42") of "(D) 42"; None without both."""
    if (stopped := _GOLD_STOPPED.fullmatch(text)) and read(stopped[2].strip()).meaning is not None:
        return stopped[1], stopped[2].strip()
    match = _GOLD.fullmatch(text)
    return None if match is None or _ANOTHER.match(match[3]) else (match[1] or match[2], match[3].strip())


def text_beside_letter(predicted: str) -> str | None:
    """The text after the letter of a choice in a prediction; None for none."""
    match = _LABELLED.fullmatch(clean(predicted))
    return (match[4].strip() or None) if match else None


def text_of_choice(gold: str) -> str | None:
    """The text beside the letter of a gold answer that gives both."""
    both = labelled_choice(clean(gold))
    return None if both is None else both[1]


def choice_of(text: str, choices: Sequence[str]) -> str | None:
    """The letter (upper case) of the choice that a text names, or None.

    "B", "(b)", "B.", "option B", "B) Paris", "B, since …" and "Paris" all name the second of London and Paris; "B)
    London" and "A, B" name none. A text that equals exactly one of the choices names that one, even if it looks like a
    letter, and so does a number or expression equal to just one.
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
        return _equal_choice(cleaned, choices)
    letter = (match[1] or match[2] or match[3]).upper()
    rest = match[4].strip()
    if letter not in letters or (_ANOTHER.match(rest) and not _REASON.match(rest)):
        return None
    named = _choice_with_text(rest, texts, choices)
    return None if named not in (None, letters.index(letter)) else letter


def _choice_with_text(text: str, texts: Sequence[str], choices: Sequence[str]) -> int | None:
    """The choice that a text equals, or begins with before an explanation; None for none."""
    if not texts or not text:
        return None
    if clean_text(text) in texts:
        return texts.index(clean_text(text))
    letter = _equal_choice(clean(text), choices)
    if letter is not None:
        return string.ascii_uppercase.index(letter)
    folded = clean_text(text)
    begun = [i for i, choice in enumerate(texts) if choice and re.match(re.escape(choice) + _TEXT_END, folded)]
    return begun[0] if len(begun) == 1 else None


def _equal_choice(cleaned: str, choices: Sequence[str]) -> str | None:
    """The one choice that a text equals as mathematics."""
    value = read(cleaned)
    if not choices or value.meaning is None:
        return None
    equal = [i for i, choice in enumerate(choices) if same_maths(value, read(clean(_without_label(choice))))]
    return string.ascii_uppercase[equal[0]] if len(equal) == 1 else None


def find_choices(text: str, choices: Sequence[str]) -> list[str]:
    """The choices named within a text, in order: letters that stand alone, and the choices' own texts.

    A bare capital is a candidate except where it is a word of the sentence ("A", "I").
    """
    letters = string.ascii_uppercase[: len(choices)] if choices else string.ascii_uppercase[:10]
    found = [(m.start(), m[1]) for m in re.finditer(rf"[(\[]([{letters}])[)\]]", text)]
    found += [(m.start(), m[1]) for m in re.finditer(rf"(?<![\w'(\[\\])([{letters}])(?![\w'])", text, re.ASCII)
              if m[1] not in "AI" or not _ARTICLE.match(text, m.end(), m.end() + 9)]  # fmt: skip
    # Denied letters: "A and B are wrong".
    found = [(at, letter) for at, letter in found if not is_denied(text, at, text.index(letter, at) + 1)]
    lowered = text.casefold()
    for letter, choice in zip(letters, choices, strict=False):
        words = clean_text(_without_label(choice))
        if len(words) > 1:
            named = re.finditer(rf"(?<!\w){re.escape(words)}(?!\w)", lowered)
            found += [(m.start(), letter) for m in named if not is_denied(text, *m.span())]
    return [letter for _, letter in sorted(found)]


def _without_label(choice: str) -> str:
    """A choice's text without the letter that some authors put before it."""
    match = re.fullmatch(r"\s*(?:\(\s*[A-Za-z]\s*\)|[A-Za-z]\s*[).:])\s*(.+)", choice, re.DOTALL)
    return match[1] if match else choice
