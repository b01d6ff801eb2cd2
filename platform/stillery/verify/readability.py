"""A completion -> the flags that say why a person would not want to read it. Pure and linear in its length.

The flags are those by which the published recipe for reasoning data filters its samples: code blocks, mixed
languages and long paragraphs (arXiv 2501.12948, section 2.3.3), and repetition.
"""

import re
import unicodedata
from collections import Counter
from functools import lru_cache

MAX_PARAGRAPH_CHARS = 2000
MAX_LINE_REPEATS = 3
FOREIGN_LETTER_SHARE = 0.05
LOOP_TOKENS = 12
LOOP_REPEATS = 8

# What `unicodedata.name` begins with for letters that are notation rather than language.
_NOTATION = {"GREEK", "MATHEMATICAL", "DOUBLE-STRUCK", "SCRIPT", "BLACK-LETTER", "PLANCK", "MICRO", "SUPERSCRIPT",
             "SUBSCRIPT", "MODIFIER", "FULLWIDTH", "ALEF", "OHM", "KELVIN", "ANGSTROM", "FEMININE",
             "MASCULINE"}  # fmt: skip
_TOKEN = re.compile(r"\S{1,32}")


def readability_flags(text: str, *, question: str = "") -> list[str]:
    """The flags of a completion, in a fixed order.

    `code_block`: holds a fenced block. `mixed_scripts`: more than 5 % of its letters are of scripts that the
    question does not use (without a question: other than its own most frequent one); Greek and mathematical
    letters do not count. `long_paragraph`: over 2,000 characters without a newline. `repetition`: the same line
    four times in a row, or the same 12 tokens in sequence eight times.
    """
    found = {
        "code_block": "```" in text,
        "mixed_scripts": _is_mixed(text, question),
        "long_paragraph": any(len(line) > MAX_PARAGRAPH_CHARS for line in text.split("\n")),
        "repetition": _repeats_lines(text) or _loops(text),
    }
    return [flag for flag, holds in found.items() if holds]


@lru_cache(maxsize=4096)
def _script(char: str) -> str | None:
    if not char.isalpha():
        return None
    script = unicodedata.name(char, "UNNAMED").split(" ", 1)[0]
    return None if script in _NOTATION else script


def _scripts(text: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for char, count in Counter(text).items():
        script = _script(char)
        if script is not None:
            counts[script] += count
    return counts


def _is_mixed(text: str, question: str) -> bool:
    if text.isascii() and question.isascii():
        return False
    counts = _scripts(text)
    home = set(_scripts(question)) or {script for script, _ in counts.most_common(1)}
    foreign = sum(count for script, count in counts.items() if script not in home)
    return foreign > FOREIGN_LETTER_SHARE * counts.total()


def _repeats_lines(text: str) -> bool:
    previous, run = "", 0
    for raw in text.split("\n"):
        line = raw.strip()
        run = run + 1 if line and line == previous else 1
        previous = line
        if run > MAX_LINE_REPEATS:
            return True
    return False


def _loops(text: str) -> bool:
    tokens = _TOKEN.findall(text)
    windows = Counter(zip(*(tokens[i:] for i in range(LOOP_TOKENS)), strict=False))
    return bool(windows) and windows.most_common(1)[0][1] >= LOOP_REPEATS
