"""Expected number of samples under best-of-n's stopping rule.

The states of a problem are (m samples, a of them accepted); from each it continues with one more sample, accepted with
probability p, until `StoppingRule` stops it. With `lookahead` more samples run than are missing: if samples finish in
order, min(n, T + lookahead) are made of a problem that stops after T; if short ones overtake, more. If problems differ,
p has a Beta prior, and its posterior mean given (m, a) replaces p.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stillery.metrics import StoppingRule


@dataclass(frozen=True, slots=True)
class Expected:
    """Per prompt: samples made, surplus ones among them, accepted ones among those that count, and those kept, at most
    `max_kept`."""

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
    futility: float = 0.0,
) -> Expected:
    """The expectation for one prompt. Without a `rate` every sample is made, and all are assumed to be accepted."""
    if rate is None:
        return Expected(made=num_samples, surplus=0.0, accepted=num_samples, kept=min(max_kept, num_samples))
    is_fixed = target_accepted is None
    rule = StoppingRule(num_samples, num_samples + 1 if target_accepted is None else target_accepted, futility)
    made = surplus = accepted = kept = 0.0
    for share, stopped, right in _stops(rule, _next_rate(rate, concentration)):
        beyond = 0 if is_fixed else min(num_samples - stopped, lookahead)
        made += share * (stopped + beyond)
        surplus += share * beyond
        accepted += share * right
        kept += share * min(right, max_kept)
    return Expected(made=made, surplus=surplus, accepted=accepted, kept=kept)


def _stops(rule: StoppingRule, next_rate: Callable[[int, int], float]) -> Iterator[tuple[float, int, int]]:
    """The stopping points: the share of problems that stop there, after how many samples, how many of them accepted."""
    reached = {0: 1.0}
    for made in range(1, rule.num_samples + 1):
        after: dict[int, float] = {}
        for accepted, share in reached.items():
            rate = next_rate(made - 1, accepted)
            after[accepted] = after.get(accepted, 0.0) + share * (1 - rate)
            after[accepted + 1] = after.get(accepted + 1, 0.0) + share * rate
        reached = {}
        for accepted, share in after.items():
            if rule.stops(made, accepted):
                yield share, made, accepted
            else:
                reached[accepted] = share


def _next_rate(rate: float, concentration: float | None) -> Callable[[int, int], float]:
    """The probability that the next sample is accepted, for a problem with a of m samples accepted."""

    def next_rate(made: int, accepted: int) -> float:
        return rate if concentration is None else (rate * concentration + accepted) / (concentration + made)

    return next_rate
