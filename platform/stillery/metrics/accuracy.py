"""Accuracy of one problem's samples, and of many problems with a standard error.

The problem is the unit of sampling: samples of one problem resemble each other, so every standard error is taken
over problems, after the samples of each have been reduced to one number.
"""

import math
import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stillery.records import FAILURES, Score, VerdictKind


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over problems. `standard_error` is None for one problem, which has no spread."""

    mean: float
    standard_error: float | None
    num_problems: int


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """The probability that at least one of k samples, drawn without replacement, is correct.

    This is the unbiased estimator 1 - C(n - c, k) / C(n, k) of Chen et al. 2021 (arXiv 2107.03374), in exact
    integers up to the one division, so neither overflow nor cancellation touches it.

    Raises ValueError unless 0 <= num_correct <= num_samples and 1 <= k <= num_samples.
    """
    if not 0 <= num_correct <= num_samples:
        raise ValueError(f"num_correct is {num_correct}, but there are {num_samples} samples")
    if not 1 <= k <= num_samples:
        raise ValueError(f"pass@{k} needs at least {max(k, 1)} samples of each problem and k >= 1, got {num_samples}")
    ways = math.comb(num_samples, k)
    return (ways - math.comb(num_samples - num_correct, k)) / ways


def majority_at_k(samples: Sequence[Score], k: int) -> bool:
    """Whether the most frequent answer among the first k samples (by sample_index) of one problem is correct.

    Answers count as the same vote if their texts agree up to case, spacing and Unicode form. Unparsed and truncated
    samples do not vote; the answer seen first wins a tie; without any vote the problem is not solved. It is one draw of
    the vote over k samples, not its expectation.

    Raises ValueError if there are fewer than k samples.
    """
    if len(samples) < k:
        raise ValueError(f"majority@{k} needs {k} samples of each problem, got {len(samples)}")
    voters = [s for s in sorted(samples, key=lambda s: s.sample_index)[:k] if _votes(s)]
    if not voters:
        return False
    votes = Counter(_normalize(s.predicted or "") for s in voters)
    # Counter keeps the order of insertion and most_common sorts stably, so a tie goes to the first seen.
    ((winner, _),) = votes.most_common(1)
    return any(s.verdict == VerdictKind.CORRECT for s in voters if _normalize(s.predicted or "") == winner)


def estimate(values: Iterable[float]) -> Estimate:
    """The mean of one value per problem, and its standard error sd / sqrt(problems).

    With each problem's samples averaged beforehand this is the standard error clustered by problem of Miller 2024,
    "Adding error bars to evals" (arXiv 2411.00640). Raises ValueError for no values.
    """
    per_problem = [float(value) for value in values]
    if not per_problem:
        raise ValueError("cannot estimate a mean over no problems")
    num_problems = len(per_problem)
    spread = statistics.stdev(per_problem) / math.sqrt(num_problems) if num_problems > 1 else None
    return Estimate(statistics.fmean(per_problem), spread, num_problems)


def group_by_problem(scores: Iterable[Score]) -> dict[str, list[Score]]:
    """The checked samples of each problem. Unchecked ones have no gold answer, and failures on our side have no answer,
    so neither counts towards accuracy."""
    problems: dict[str, list[Score]] = {}
    for score in scores:
        if score.verdict != VerdictKind.UNCHECKED and score.verdict not in FAILURES:
            problems.setdefault(score.prompt_id, []).append(score)
    return problems


def count_correct(samples: Iterable[Score]) -> int:
    return sum(sample.verdict == VerdictKind.CORRECT for sample in samples)


def _votes(score: Score) -> bool:
    return score.predicted is not None and score.verdict not in (VerdictKind.UNPARSED, VerdictKind.TRUNCATED)


def _normalize(answer: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", answer).casefold().split())
