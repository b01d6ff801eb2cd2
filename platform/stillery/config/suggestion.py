"""What an error about an unknown name says of the known ones."""

import difflib
from collections.abc import Sequence


def suggest(word: str, known: Sequence[str]) -> str:
    """`; did you mean X?` where a known word is near, else a list of the known ones if it is short."""
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known: {', '.join(known)}" if len(known) <= 20 else ""
