"""Failed samples of a stage: the tolerated share, and the error above it."""

from collections import Counter

from stillery.errors import UserError


class TooManyFailuresError(UserError):
    """A larger share of samples failed than a run allows."""


def check_failures(stage: str, reasons: Counter[str], *, num_samples: int, most: float) -> float:
    """The share of a stage's samples that failed; `reasons` counts them by reason.

    Raises TooManyFailuresError if it is above `most`: the rest would no longer be a fair sample of what was requested.
    """
    num_failed = reasons.total()
    share = num_failed / num_samples if num_samples else 0.0
    if share > most:
        common = "; ".join(f"{reason[:200]} ({count:,} times)" for reason, count in reasons.most_common(3))
        raise TooManyFailuresError(
            f"{stage}: {num_failed:,} of {num_samples:,} samples failed ({share:.1%}), more than "
            f"run.max_failure_share={most} allows: {common}. All others are kept: mend the cause and start again, and "
            "only these are made; or raise run.max_failure_share to go on without them"
        )
    return share
