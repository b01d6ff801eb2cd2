"""Where steps stand on the page: paragraph, place in it, indentation, lists and headings. Arrays, one entry a step."""

import re
from collections.abc import Sequence

import numpy as np

from stillery.bonds.classifiers import Floats

_HEADING = re.compile(r"\s*(?:#{1,6}\s|\*\*[^*\n]{1,80}\*\*:?\s*$)")
_BULLET = re.compile(r"\s*(?:[-*•+]\s|\(?\d{1,3}[.)]\s|\(?[a-zA-Z][.)]\s)")
_DISPLAY = re.compile(r"\s*(?:\\\[|\$\$)")
NUM_FEATURES = 9


def paragraphs_of(texts: Sequence[str]) -> Floats:
    """For each step, how many blank lines come before it."""
    gaps = [text[len(text.rstrip()) :].count("\n") > 1 for text in texts]
    return np.cumsum([0, *gaps[:-1]], dtype=np.float32)[: len(texts)]


def layout_features(texts: Sequence[str]) -> Floats:
    """One row a step: first of its paragraph, last, item, heading, display, ends in a colon, ends in a question mark,
    depth of indentation, log length."""
    gaps = [text[len(text.rstrip()) :] for text in texts]
    rows = np.zeros((len(texts), NUM_FEATURES), np.float32)
    for i, text in enumerate(texts):
        before = gaps[i - 1] if i else "\n\n"
        body = text.rstrip().rstrip("*_ ")
        rows[i] = (
            before.count("\n") > 1,
            gaps[i].count("\n") > 1,
            _BULLET.match(text) is not None,
            _HEADING.match(text) is not None,
            _DISPLAY.match(text) is not None,
            body.endswith((":", "：")),
            body.endswith(("?", "？")),
            min(8, len(before) - before.rfind("\n") - 1) / 4 if "\n" in before else 0,
            np.log1p(len(text)) / 5,
        )
    return rows
