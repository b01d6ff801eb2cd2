"""The share of a text that repeats earlier parts."""

import re

_TOKEN = re.compile(r"\S{1,32}")
_WINDOW = 12
_MAX_CHARS = 1_000_000


def repeated_share(text: str) -> float:
    """The share of a text's 12-token n-grams that occurred in it before, from 0 to 1; 0 for a shorter text."""
    tokens = _TOKEN.findall(text[:_MAX_CHARS])
    windows = list(zip(*(tokens[i:] for i in range(_WINDOW)), strict=False))
    return 1 - len(set(windows)) / len(windows) if windows else 0.0
