"""Failed samples of a stage: how many are tolerated, and the error above that."""

from collections import Counter

from stillery.errors import UserError


class TooManyFailuresError(UserError):
    """A larger share of samples failed than a run allows."""


def check_failures(stage: str, reasons: Counter[str], *, num_samples: int, most: float) -> float:
    """The share of a stage's samples that failed, `reasons` counting each by why.

    Raises TooManyFailuresError if it is above `most`: what is made of the rest would not be what was asked for.
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
