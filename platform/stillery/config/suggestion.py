"""The hint at known names in an error about an unknown one."""

import difflib
from collections.abc import Sequence

# Names of an earlier version -> today's.
RENAMED = {"ahead": "lookahead", "doors": "gateway"}


def suggest(word: str, known: Sequence[str]) -> str:
    """`; it is called X now` for a renamed one, `; did you mean X?` if a known word is close, else a list of the known
    ones if it is short."""
    if RENAMED.get(word) in known:
        return f"; it is called {RENAMED[word]} now"
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known: {', '.join(known)}" if len(known) <= 20 else ""
