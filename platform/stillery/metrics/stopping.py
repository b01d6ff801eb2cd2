"""Stopping rules of best-of-n: where one problem's samples end, and its estimated pass rate then. Pure."""

import functools
import math
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """A problem is sampled until `target` samples are accepted, `num_samples` are made, or continuing is futile.

    It is futile after m samples, a of them accepted, if the predictive probability that the remaining `num_samples` - m
    bring it to `target` is below `futility`. That probability is beta-binomial: with a uniform prior on the pass rate,
    its posterior after m samples is Beta(1 + a, 1 + m - a). 0 never gives a problem up. A rule uses one problem's
    samples in order of index: neither other problems nor the order of completion play a part.
    """

    num_samples: int
    target: int
    futility: float = 0.0

    def stops(self, num_made: int, num_accepted: int) -> bool:
        """Whether a problem ends after this many samples, this many of them accepted."""
        is_enough = num_accepted >= self.target or num_made >= self.num_samples
        return is_enough or num_accepted <= futile_up_to(self)[num_made]


@functools.cache
def futile_up_to(rule: StoppingRule) -> tuple[int, ...]:
    """For each number of samples from 0 to n: the largest number of accepted ones at which continuing is futile, -1 for
    none."""
    most, found = -1, [-1]
    for made in range(1, rule.num_samples + 1):
        # A further failure makes no problem more promising, so the bound never falls.
        while most + 1 < min(rule.target, made + 1) and _promise(rule, made, most + 1) < rule.futility:
            most += 1
        found.append(most)
    return tuple(found)


def _promise(rule: StoppingRule, made: int, accepted: int) -> float:
    """The predictive probability that the problem still reaches its target."""
    left, a, b = rule.num_samples - made, 1 + accepted, 1 + made - accepted
    return sum(
        math.comb(left, more) * math.exp(_log_beta(a + more, b + left - more) - _log_beta(a, b))
        for more in range(rule.target - accepted, left + 1)
    )


def _log_beta(a: int, b: int) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def pass_rate(num_samples: int, num_accepted: int, *, rule: StoppingRule | None = None) -> float:
    """The estimated probability that a sample of a problem is accepted, from the `num_samples` that count.

    Where a rule stopped a problem, the plain share is biased: one that stops at an acceptance ends on a success. The
    unbiased estimate is the share, among all sequences that reach the same counts without being stopped before, of
    those that begin with an acceptance (Girshick, Mosteller and Savage 1946); without futility that is (k - 1) / (m -
    1) at the k-th. For a target of 1 that would be 0 or 1, and the plain share is used. The plain share is also used
    where failures on our side lead to counts at which the rule does not stop.

    Raises ValueError unless 0 <= num_accepted <= num_samples and num_samples >= 1.
    """
    if not 0 <= num_accepted <= num_samples or num_samples < 1:
        raise ValueError(f"num_accepted is {num_accepted}, but there are {num_samples} samples")
    share = num_accepted / num_samples
    return share if rule is None else stopped_rates(rule).get((num_samples, num_accepted), share)


@functools.cache
def stopped_rates(rule: StoppingRule) -> dict[tuple[int, int], float]:
    """The unbiased pass rate for each pair of sample and acceptance counts at which the rule stops a problem."""
    if rule.target < 2:
        return {}
    found: dict[tuple[int, int], float] = {}
    # The number of sequences that lead to each number of accepted samples, and how many of them begin with an
    # acceptance.
    ways, begun = Counter({0: 1, 1: 1}), Counter({1: 1})
    for made in range(1, rule.num_samples + 1):
        for accepted in sorted(ways):
            if rule.stops(made, accepted):
                found[made, accepted] = begun.pop(accepted, 0) / ways.pop(accepted)
        ways, begun = _step(ways), _step(begun)
    return found


def _step(ways: Counter[int]) -> Counter[int]:
    after: Counter[int] = Counter()
    for accepted, number in ways.items():
        after[accepted] += number
        after[accepted + 1] += number
    return after
