"""Named features of step texts for the linear model: the word n-grams of each step and of its neighbours."""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

TOKEN = re.compile(r"[^\W\d_]+(?:['’][a-z]+)?|\d+|\\[a-zA-Z]+|[^\w\s]")
_MAX_CHARS = 700
_MAX_TOKENS = 60
_SIZES = (6, 14, 30, 50, 80, 120, 200, 350)


def tokens_of(text: str) -> list[str]:
    """Words, commands and signs, with all numbers mapped to one token."""
    found = TOKEN.findall(text[:_MAX_CHARS].casefold())[:_MAX_TOKENS]
    return [t if not t[0].isdigit() else "0" for t in found]


def step_features(texts: Sequence[str]) -> list[list[str]]:
    """For each step, the features of its own text and of the steps before and after it."""
    nothing: list[str] = []
    read = [(nothing, nothing, nothing), *map(_read, texts), (nothing, nothing, nothing)]
    return [own + read[i][1] + read[i + 2][2] for i, (own, _, _) in enumerate(read[1:-1])]


@lru_cache(maxsize=2048)
def _read(text: str) -> tuple[list[str], list[str], list[str]]:
    """The features of a step for itself, for the step after it and for the step before it. Cached: a trace is read
    twice, with its markers and without, and most of its steps have none."""
    tokens = tokens_of(text)
    return _own(text, tokens), _edge("p", tokens), _edge("n", tokens)


def _own(text: str, tokens: Sequence[str]) -> list[str]:
    pairs = [f"{a} {b}" for a, b in pairwise(tokens)]
    head = ["^" + " ".join(tokens[:n]) for n in (1, 2, 3)]
    size = sum(len(text) > limit for limit in _SIZES)
    ending = text[len(text.rstrip()) :].count("\n")
    return [*set(tokens), *set(pairs), *head, "$" + " ".join(tokens[-1:]), "$" + " ".join(tokens[-2:]),
            f"#{size}", f"#n{min(ending, 2)}"]  # fmt: skip


def _edge(side: str, tokens: Sequence[str]) -> list[str]:
    words = {t for t in tokens if t[0].isalpha()}
    return [*(side + w for w in words), side + "^" + " ".join(tokens[:2]), side + "$" + " ".join(tokens[-1:])]
