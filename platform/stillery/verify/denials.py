"""Answers that a text names only to deny them: "It is not C", "A and B are wrong". Pure and linear."""

import re

_BEFORE = re.compile(
    r"(?:\bnot|n't|\bcannot|\bnever|\bneither|\bnor|\brul(?:e|es|ed|ing)\s+out|\beliminat(?:e|es|ed|ing)"
    r"|\bexclud(?:e|es|ed|ing)|\bfar\s+from|\bother\s+than|\brather\s+than|\binstead\s+of|\bexcept)"
    r"(?:\s+(?:be|think|believe|that|it|is|the|an?|option|choice|answer))*\s+[\"'“(*$\\]*\Z",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"[)\]\"'”*$.]*(?:\s*(?:,|and|or|nor)\s*[(\[]?[A-J][)\]]?)*\s+(?:is|are|was|were|can|could|must)(?:n't|\s+not|\s+be"
    r"|\s+(?:all|both|clearly|therefore))*\s+(?:incorrect|wrong|false|ruled|eliminated|excluded|impossible)\b"
    r"|[)\]\"'”*$.]*\s+(?:isn't|aren't|is\s+not|are\s+not|cannot\s+be|can't\s+be)\b",
    re.IGNORECASE,
)
_REACH_CHARS = 60


def is_denied(text: str, start: int, end: int) -> bool:
    """Whether the words around the characters `start` to `end`, an answer, deny it."""
    return _BEFORE.search(text, max(0, start - _REACH_CHARS), start) is not None or _AFTER.match(text, end) is not None
