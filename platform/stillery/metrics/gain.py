"""The gain from training: the difference between two models on the same problems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stillery.metrics.accuracy import count_correct, estimate, group_by_problem
from stillery.records import Score, Split, VerdictKind


@dataclass(frozen=True, slots=True)
class Gain:
    """A difference of mean pass@1, as a fraction (0.1 is ten points), with its 95% interval."""

    mean: float
    low: float
    high: float
    num_problems: int


def paired_gain(before: Sequence[Score], after: Sequence[Score], *, split: str = Split.TEST) -> Gain:
    """The increase of pass@1 from `before` to `after` on the problems of one split.

    Pairing by problem removes the spread of difficulty, which both models share (Miller 2024, arXiv 2411.00640,
    section 4). The interval is Student's t over the per-problem differences rather than a bootstrap: it needs no
    seed, and with few problems, where a gate must not be fooled, a percentile bootstrap is too narrow. Where all
    differences are equal its width is zero.

    A problem on which all of one model's samples failed on our side is left out.

    Raises ValueError if the two were not measured on the same problems, or on fewer than two.
    """
    if unpaired := measured_problems(before, split=split) ^ measured_problems(after, split=split):
        raise ValueError(
            f"the two models were measured on different problems of split {split!r}: {len(unpaired)} have only one "
            f"side, such as {min(unpaired)}; evaluate both on the same prompts"
        )
    rates_before, rates_after = _rates(before, split=split), _rates(after, split=split)
    paired = sorted(rates_before.keys() & rates_after.keys())
    if len(paired) < 2:
        raise ValueError(f"split {split!r} has {len(paired)} problems; an interval needs at least 2")
    return gain_of([rates_after[problem] - rates_before[problem] for problem in paired])


def gain_of(differences: Sequence[float]) -> Gain:
    """The mean of per-problem differences of pass@1, with its interval. Raises ValueError for fewer than two."""
    from scipy.special import stdtrit

    if len(differences) < 2:
        raise ValueError(f"there are {len(differences)} problems; an interval needs at least 2")
    difference = estimate(differences)
    assert difference.standard_error is not None
    margin = float(stdtrit(difference.num_problems - 1, 0.975)) * difference.standard_error
    return Gain(difference.mean, difference.mean - margin, difference.mean + margin, difference.num_problems)


def in_points(change: Mapping[str, float]) -> str:
    """A gain as plain data (mean, low, high) in points, with its 95% interval."""
    mean, low, high = (100 * change[name] for name in ("mean", "low", "high"))
    return f"{mean:+.1f} points [{low:+.1f}, {high:+.1f}]"


def measured_problems(scores: Sequence[Score], *, split: str) -> set[str]:
    """The problems of a split that a model was given, including those where every sample failed."""
    return {score.prompt_id for score in scores if score.split == split and score.verdict != VerdictKind.UNCHECKED}


def _rates(scores: Sequence[Score], *, split: str) -> dict[str, float]:
    problems = group_by_problem(score for score in scores if score.split == split)
    return {problem: count_correct(samples) / len(samples) for problem, samples in problems.items()}
