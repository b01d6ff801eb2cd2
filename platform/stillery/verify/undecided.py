"""Three-valued comparisons: True, False or, where only computer algebra could decide, None. Pure."""

from collections.abc import Callable, Iterable

Leaf = Callable[[str, str], bool | None]


def undecided(predicted: str, gold: str) -> bool | None:  # noqa: ARG001
    """The leaf of the cheap path: it decides nothing."""
    return None


def all_of(verdicts: Iterable[bool | None]) -> bool | None:
    """Whether all are true; a single False decides it."""
    known = list(verdicts)
    return False if False in known else None if None in known else True


def any_of(verdicts: Iterable[bool | None]) -> bool | None:
    """Whether any is true; a single True decides it."""
    known = list(verdicts)
    return True if True in known else None if None in known else False
