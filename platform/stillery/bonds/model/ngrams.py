"""The texts of steps in, named features out: the word n-grams of each and of its neighbours, for the linear model."""

import re
from collections.abc import Sequence
from itertools import pairwise

TOKEN = re.compile(r"[^\W\d_]+(?:['’][a-z]+)?|\d+|\\[a-zA-Z]+|[^\w\s]")
_MAX_CHARS = 700
_MAX_TOKENS = 60
_SIZES = (6, 14, 30, 50, 80, 120, 200, 350)


def tokens_of(text: str) -> list[str]:
    """Words, commands and signs, every number the same."""
    found = TOKEN.findall(text[:_MAX_CHARS].casefold())[:_MAX_TOKENS]
    return [t if not t[0].isdigit() else "0" for t in found]


def step_features(texts: Sequence[str]) -> list[list[str]]:
    """For each step, the features of its own text and of the steps before and after it."""
    tokens = [tokens_of(text) for text in texts]
    own = [_own(text, found) for text, found in zip(texts, tokens, strict=True)]
    edges = [([], []), *((_edge("p", t), _edge("n", t)) for t in tokens), ([], [])]
    return [row + edges[i][0] + edges[i + 2][1] for i, row in enumerate(own)]


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
