"""How much of a text says again what it had said."""

import re

_TOKEN = re.compile(r"\S{1,32}")
_WINDOW = 12
_MAX_CHARS = 1_000_000


def repeated_share(text: str) -> float:
    """The share of a text's runs of 12 tokens that had occurred in it before, from 0 to 1; 0 for a shorter text."""
    tokens = _TOKEN.findall(text[:_MAX_CHARS])
    windows = list(zip(*(tokens[i:] for i in range(_WINDOW)), strict=False))
    return 1 - len(set(windows)) / len(windows) if windows else 0.0
