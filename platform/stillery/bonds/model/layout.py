"""The layout of steps: paragraph, position in it, indentation, lists and headings. Arrays, one entry per step."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from stillery.bonds.classifiers import Floats

_HEADING = re.compile(r"\s*(?:#{1,6}\s|\*\*[^*\n]{1,80}\*\*:?\s*$)")
_BULLET = re.compile(r"\s*(?:[-*•+]\s|\(?\d{1,3}[.)]\s|\(?[a-zA-Z][.)]\s)")
_DISPLAY = re.compile(r"\s*(?:\\\[|\$\$)")
NUM_FEATURES = 9


def paragraphs_of(texts: Sequence[str]) -> Floats:
    """For each step, the number of blank lines before it."""
    gaps = [text[len(text.rstrip()) :].count("\n") > 1 for text in texts]
    return np.cumsum([0, *gaps[:-1]], dtype=np.float32)[: len(texts)]


def layout_features(texts: Sequence[str]) -> Floats:
    """One row per step: first of its paragraph, last, item, heading, display, ends in a colon, ends in a question mark,
    depth of indentation, log length."""
    rows = np.zeros((len(texts), NUM_FEATURES), np.float32)
    gap = _FIRST
    for i, text in enumerate(texts):
        own, after = _read(text)
        rows[i] = (gap.num_breaks > 1, after.num_breaks > 1, *own, gap.indentation, np.log1p(len(text)) / 5)
        gap = after
    return rows


class _Gap(NamedTuple):
    """The white space after a step."""

    num_breaks: int
    indentation: float


_FIRST = _Gap(2, 0.0)


@lru_cache(maxsize=4096)
def _read(text: str) -> tuple[tuple[bool, ...], _Gap]:
    """The layout features of a single step, and the gap after it. Cached, since a trace is analysed several times."""
    bare = text.rstrip()
    body = bare.rstrip("*_ ")
    own = (
        _BULLET.match(text) is not None,
        _HEADING.match(text) is not None,
        _DISPLAY.match(text) is not None,
        body.endswith((":", "：")),
        body.endswith(("?", "？")),
    )
    gap = text[len(bare) :]
    return own, _Gap(gap.count("\n"), min(8, len(gap) - gap.rfind("\n") - 1) / 4 if "\n" in gap else 0)
