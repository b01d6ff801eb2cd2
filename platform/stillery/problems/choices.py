"""The choices of a row, and the one that its gold answer names.

A gold answer names its choice by letter, by text or by number, as set in `prompts.choice_answers`. `auto` accepts a
letter or a text, and a whole number as an index from 0 if no choice is that number itself: if both readings name a
choice and not the same one, the row is refused. Where choices have labels, in a column or before their texts, the
answer is a label or a text, and never a position.
"""

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any, cast

from stillery.io.readers.cells import checked, read_text, shown
from stillery.io.readers.json_rows import decode
from stillery.io.readers.normalization import normalize
from stillery.io.readers.options import MAX_OPTIONS
from stillery.io.readers.rows import Row, RowError, kind_of
from stillery.verify.choices import choice_of

CHOICE_ANSWERS = ("auto", "letter", "text", "index", "number")
BAD_CHOICES = "bad choices"
AMBIGUOUS = "ambiguous answer"
NO_CHOICE = "answer of no choice"

_LABELS = ("label", "labels")
_TEXTS = ("text", "texts")
# A label before a choice's text: "1. seven", "(B) seven".
_WRITTEN = re.compile(r"\s*\(?\s*([A-Za-z]|\d{1,2})\s*[).:]\s+(?=\S)", re.ASCII)


def read_choices(row: Row, cell: Any) -> tuple[list[str], list[str]]:
    """The choices and, if they have labels of their own (`{text: […], label: […]}`, or before every text), those; else
    none.

    Raises RowError for anything but a list of texts, or one longer than the alphabet.
    """
    checked(row, "choices", cell)
    if isinstance(cell, str):
        if not cell.lstrip().startswith("["):
            raise RowError(row.where, BAD_CHOICES, f"choices is {shown(cell)}; expected a list of texts")
        cell = _listed(row, cell)
    labels: list[str] = []
    if isinstance(cell, Mapping):
        columns = cast(Mapping[str, Any], cell)
        labels = _texts(row, next((columns[name] for name in _LABELS if columns.get(name)), []))
        cell = next((columns[name] for name in _TEXTS if name in columns), cell)
        if not isinstance(cell, list) and all(len(name) == 1 for name in columns):
            labels, cell = list(columns), list(columns.values())
    choices = _texts(row, [] if cell is None else cell)
    if labels and len(labels) != len(choices):
        raise RowError(row.where, BAD_CHOICES, f"{len(choices)} choices, but {len(labels)} labels of them")
    if len(choices) > MAX_OPTIONS:
        raise RowError(row.where, BAD_CHOICES, f"{len(choices)} choices; at most {MAX_OPTIONS} have letters")
    _check_letters(row, choices)
    labels = labels or _written_labels(row, choices)
    if len(set(map(_label, labels))) < len(labels):
        raise RowError(row.where, BAD_CHOICES, f"two choices have the label {shown(labels[0])}; make labels differ")
    return choices, labels


def resolve_choice(
    row: Row, answer: str, *, choices: Sequence[str], labels: Sequence[str], named_by: str, is_number: bool
) -> str:
    """The gold answer as a letter if it names its choice by number or by a label of its own; else unchanged.

    `is_number`: the cell held a number, not text. Raises RowError for an answer that names no choice, or could name
    two.
    """
    if labels and named_by not in ("index", "number"):
        return _told_apart(row, _by_label(row, answer, choices=choices, labels=labels), choices)
    by_text = choice_of(answer, choices)
    position = _position(answer, first=1 if named_by == "number" else 0)
    by_number = string.ascii_uppercase[position] if position is not None and 0 <= position < len(choices) else None
    if named_by in ("index", "number"):
        named = by_number
    elif named_by == "letter":
        bare = answer.strip().strip("().:").upper()
        named = bare if len(bare) == 1 and bare in string.ascii_uppercase[: len(choices)] else None
    elif named_by == "text" or by_number is None or (row.is_typed and not is_number and by_text is not None):
        named = by_text
    elif by_text not in (None, by_number):
        raise RowError(
            row.where,
            AMBIGUOUS,
            f"the answer {answer} is the text of choice {by_text} and, counted from 0, the index of choice "
            f"{by_number}; set prompts.choice_answers to text, index (from 0) or number (from 1)",
        )
    else:
        named = by_number
    if named is None:
        raise RowError(
            row.where,
            NO_CHOICE,
            f"the answer {shown(answer)} names none of the {len(choices)} choices"
            + ("" if position is None else "; set prompts.choice_answers to number where they are counted from 1"),
        )
    _told_apart(row, named, choices)
    return named if position is not None else answer


def _by_label(row: Row, answer: str, *, choices: Sequence[str], labels: Sequence[str]) -> str:
    keys = [_label(label) for label in labels]
    if (key := _label(answer)) in keys:
        return string.ascii_uppercase[keys.index(key)]
    for texts in (choices, [_WRITTEN.sub("", choice) for choice in choices]):
        equal = [at for at, text in enumerate(texts) if normalize(text) == normalize(answer)]
        if equal:
            return string.ascii_uppercase[equal[0]]
    raise RowError(
        row.where,
        NO_CHOICE,
        f"the answer {shown(answer)} is neither a label ({', '.join(labels)}) nor a text of a choice",
    )


def _label(text: str) -> str:
    """A label as it is compared: (B), b and B. are one, and so are 2 and 2.0."""
    return text.strip().strip("().: ").removesuffix(".0").casefold()


def _written_labels(row: Row, choices: Sequence[str]) -> list[str]:
    """The numbers before the texts, if every text has one. Letters in their order are those that choices are shown by;
    out of order they would name two choices each."""
    found = [_WRITTEN.match(choice) for choice in choices]
    labels = [match[1] for match in found if match]
    if not labels or len(labels) < len(choices):
        return []
    if all(map(str.isdigit, labels)):
        return labels
    if [label.upper() for label in labels] != list(string.ascii_uppercase[: len(labels)]):
        told = f"the texts are labelled {', '.join(labels)}, which is not their order; remove the labels"
        raise RowError(row.where, BAD_CHOICES, told)
    return []


def _position(answer: str, *, first: int) -> int | None:
    text = answer.strip().removesuffix(".0")
    return int(text) - first if text.isascii() and text.isdigit() and len(text) < 4 else None


def _listed(row: Row, cell: str) -> Any:
    try:
        return decode(cell)
    except ValueError:
        raise RowError(row.where, BAD_CHOICES, f"choices {shown(cell)} is not a JSON list of texts") from None


def _texts(row: Row, cell: Any) -> list[str]:
    if not isinstance(cell, list):
        raise RowError(row.where, BAD_CHOICES, f"choices is {kind_of(cell)}; expected a list of texts")
    found: list[str] = []
    for number, choice in enumerate(cast(list[Any], cell), start=1):
        if isinstance(choice, (int, float)) and not isinstance(choice, bool):
            choice = str(choice)
        found.append(read_text(row, f"choice {number} of {len(cell)}", choice, expected="a text"))
    if not all(choice.strip() for choice in found):
        raise RowError(row.where, BAD_CHOICES, "choices holds an empty text; expected a list of texts")
    return found


def _check_letters(row: Row, choices: Sequence[str]) -> None:
    """Choices that are bare letters out of order would make a letter name two of them."""
    for letter, choice in zip(string.ascii_uppercase, choices, strict=False):
        bare = choice.strip().upper()
        if len(bare) == 1 and bare in string.ascii_uppercase[: len(choices)] and bare != letter:
            raise RowError(
                row.where,
                BAD_CHOICES,
                f"choice {letter} is the letter {bare}, so a letter names two; write it out",
            )


def _told_apart(row: Row, letter: str, choices: Sequence[str]) -> str:
    """The letter, unless another choice has the same text."""
    texts = [normalize(choice) for choice in choices]
    if texts.count(texts[string.ascii_uppercase.index(letter)]) > 1:
        raise RowError(row.where, BAD_CHOICES, f"choice {letter}, the answer, is there twice; remove one of them")
    return letter
