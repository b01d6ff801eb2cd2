"""Comparisons that may not be decided: True, False or, where only computer algebra could tell, None. Pure."""

from collections.abc import Callable, Iterable

Leaf = Callable[[str, str], bool | None]


def undecided(predicted: str, gold: str) -> bool | None:  # noqa: ARG001
    """The leaf of the cheap way: it decides nothing."""
    return None


def all_of(verdicts: Iterable[bool | None]) -> bool | None:
    """Whether all are true; one that is false decides it."""
    known = list(verdicts)
    return False if False in known else None if None in known else True


def any_of(verdicts: Iterable[bool | None]) -> bool | None:
    """Whether any is true; one that is decides it."""
    known = list(verdicts)
    return True if True in known else None if None in known else False
