"""Expected number of samples under best-of-n's stopping rule (`stillery.sampling.best_of_n`).

A prompt's samples are accepted independently with one rate p. It stops at its k-th acceptance or after n samples, so
the number of samples is min(n, T), with T negative binomial, and its mean is the sum over m < n of P(not stopped after
m samples) = P(Bin(m, p) < k). With `lookahead` a more run than are missing: where samples finish in order,
min(n, T + a) are made; where short ones overtake, more. Where problems differ, p has a Beta distribution and Bin
becomes beta-binomial.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Expected:
    """Per prompt: samples made, of which surplus, accepted among those that count, kept at most `max_kept` of them."""

    made: float
    surplus: float
    accepted: float
    kept: float


def expect(
    *,
    num_samples: int,
    target_accepted: int | None,
    lookahead: int,
    rate: float | None,
    concentration: float | None,
    max_kept: int,
) -> Expected:
    """The expectation for one prompt. Without a `rate` every sample is made, and all are taken for accepted."""
    if rate is None:
        return Expected(made=num_samples, surplus=0.0, accepted=num_samples, kept=min(max_kept, num_samples))
    below = _fewer_than(rate, concentration)
    if target_accepted is None:
        kept = sum(1 - below(num_samples, count) for count in range(1, min(max_kept, num_samples) + 1))
        return Expected(made=num_samples, surplus=0.0, accepted=num_samples * rate, kept=kept)
    needed = sum(below(m, target_accepted) for m in range(num_samples))
    # min(n, T + a) exceeds m in the first a steps for certain, then where T exceeds m - a.
    made = sum(below(m - lookahead, target_accepted) if m >= lookahead else 1.0 for m in range(num_samples))
    accepted = sum(1 - below(num_samples, count) for count in range(1, target_accepted + 1))
    kept = sum(1 - below(num_samples, count) for count in range(1, min(max_kept, target_accepted) + 1))
    return Expected(made=made, surplus=made - needed, accepted=accepted, kept=kept)


def _fewer_than(rate: float, concentration: float | None) -> Callable[[int, int], float]:
    """P(fewer than k of m samples are accepted), as a function of m and k."""
    from scipy import stats

    if concentration is None or rate == 1:
        binomial: Any = stats.binom
        return lambda m, k: float(binomial.cdf(k - 1, m, rate))
    mixed: Any = stats.betabinom
    a, b = rate * concentration, (1 - rate) * concentration
    return lambda m, k: float(mixed.cdf(k - 1, m, a, b))
