"""The format of a multiple-choice question: the one place that letters its options, for sampling and training alike.

The prompts stage writes the question in this format, and later stages use it unchanged.
"""

import re
import string
from collections.abc import Sequence

MAX_OPTIONS = len(string.ascii_uppercase)

_LABEL = re.compile(
    r"(?<![\w\\])[(\[]?([A-Z])\s*[)\]}.:](?!\w)|(?<![\w\\])\{?\(([A-Z])\)\}?|^\s*([A-Z])\s+(?=\S)", re.MULTILINE
)
_COMMAND = re.compile(r"\\(?:[a-zA-Z]+|.)")


def show_options(question: str, choices: Sequence[str]) -> str:
    """The question, followed by its choices as lettered options unless it contains them already."""
    if not choices or has_options(question, choices):
        return question
    return question.rstrip() + _options(choices)


def hide_options(question: str, choices: Sequence[str]) -> str:
    """The question without what `show_options` added."""
    return question.removesuffix(_options(choices)) if choices else question


def has_options(question: str, choices: Sequence[str]) -> bool:
    """Whether a question contains its choices in order, each after its letter; choices that are only their letters need
    no options."""
    letters = string.ascii_uppercase[: len(choices)]
    texts = [_squeeze(_without_label(choice, letter)) for choice, letter in zip(choices, letters, strict=True)]
    if all(text in ("", letter.lower()) for text, letter in zip(texts, letters, strict=True)):
        return True
    labels = [(match.start(), match.end(), match[1] or match[2] or match[3]) for match in _LABEL.finditer(question)]
    # The options are the last part of a question that contains them.
    starts = [i for i, (_, _, letter) in enumerate(labels) if letter == "A"]
    return any(_are_named(question, labels[start:], letters, texts) for start in reversed(starts))


def _are_named(question: str, labels: Sequence[tuple[int, int, str]], letters: str, texts: Sequence[str]) -> bool:
    position = 0
    for letter, text in zip(letters, texts, strict=True):
        while position < len(labels) and labels[position][2] != letter:
            position += 1
        if position == len(labels):
            return False
        end = labels[position][1]
        if not _squeeze(question[end : end + 4 * len(text) + 200]).startswith(text):
            return False
        position += 1
    return True


def _options(choices: Sequence[str]) -> str:
    letters = string.ascii_uppercase[: len(choices)]
    lines = [f"{letter}) {_without_label(choice, letter)}" for letter, choice in zip(letters, choices, strict=True)]
    return "\n\n" + "\n".join(lines)


def _without_label(choice: str, letter: str) -> str:
    """The choice without a letter of its own."""
    match = re.match(rf"\s*(?:[(\[]{letter}[)\]]|{letter}[).:])\s*(?=\S)", choice, re.IGNORECASE)
    return choice[match.end() :].strip() if match else choice.strip()


def _squeeze(text: str) -> str:
    """The part of a text that typesetting does not change: letters, digits and the signs of numbers."""
    return re.sub(r"[^\w+\-./]|_", "", _COMMAND.sub("", text)).casefold()
