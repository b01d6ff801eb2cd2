"""The expected number of samples, against every possible outcome of the real stopping rule."""

import itertools
import random

import pytest

from stillery.plan.stopping import Expected, expect
from stillery.sampling.best_of_n import BestOfN


def run_rule(
    outcomes: tuple[bool, ...], *, target_accepted: int | None, lookahead: int, futility: float = 0.0
) -> tuple[int, int, int]:
    """Samples made, needed, and accepted among the needed, where samples finish in order of index."""
    rule = BestOfN(num_samples=len(outcomes), target_accepted=target_accepted, lookahead=lookahead, futility=futility)
    waiting = list(rule.launch())
    made = len(waiting)
    while waiting:
        index = waiting.pop(0)
        rule.finish(index, key=str(index) if outcomes[index] else None)
        started = rule.launch()
        made += len(started)
        waiting += started
    return made, rule.num_needed, sum(outcomes[: rule.num_needed])


def enumerate_rule(
    *,
    num_samples: int,
    target_accepted: int | None,
    lookahead: int,
    rates: list[tuple[float, float]],
    max_kept: int,
    futility: float,
) -> Expected:
    """The expectation over all outcomes, weighted by their probability under a mixture of rates (share, rate)."""
    made = surplus = accepted = kept = 0.0
    for outcomes in itertools.product((False, True), repeat=num_samples):
        right = sum(outcomes)
        weight = sum(share * rate**right * (1 - rate) ** (num_samples - right) for share, rate in rates)
        num_made, num_needed, num_accepted = run_rule(
            outcomes, target_accepted=target_accepted, lookahead=lookahead, futility=futility
        )
        made += weight * num_made
        surplus += weight * (num_made - num_needed)
        accepted += weight * num_accepted
        kept += weight * min(num_accepted, max_kept)
    return Expected(made, surplus, accepted, kept)


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("futility", [0.0, 0.2])
@pytest.mark.parametrize(("target_accepted", "lookahead"), [(None, 0), (1, 0), (3, 0), (8, 0), (1, 1), (2, 3), (3, 20)])
def test_the_formula_is_the_mean_over_all_outcomes_of_the_rule(
    rate: float, target_accepted: int | None, lookahead: int, futility: float
) -> None:
    expected = enumerate_rule(
        num_samples=8, target_accepted=target_accepted, lookahead=lookahead, rates=[(1.0, rate)], max_kept=2,
        futility=futility,
    )  # fmt: skip
    found = expect(
        num_samples=8, target_accepted=target_accepted, lookahead=lookahead, rate=rate, concentration=None, max_kept=2,
        futility=futility if target_accepted else 0.0,
    )  # fmt: skip
    for name in ("made", "surplus", "accepted", "kept"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-9), name


def test_nothing_is_surplus_with_nothing_ahead() -> None:
    found = expect(num_samples=16, target_accepted=4, lookahead=0, rate=0.3, concentration=None, max_kept=4)
    assert found.surplus == pytest.approx(0)
    # Wald: each sample that is made is accepted at the rate.
    assert found.accepted == pytest.approx(0.3 * found.made)


def test_problems_that_differ_cost_more_samples_than_their_mean_says() -> None:
    """Against rates drawn from the same Beta distribution and run through the rule."""
    draw = random.Random(0)
    outcomes: list[tuple[int, int, int]] = []
    for _ in range(20_000):
        rate = draw.betavariate(0.6 * 1.5, 0.4 * 1.5)
        outcomes.append(run_rule(tuple(draw.random() < rate for _ in range(8)), target_accepted=2, lookahead=0))
    found = expect(num_samples=8, target_accepted=2, lookahead=0, rate=0.6, concentration=1.5, max_kept=2)
    assert found.made == pytest.approx(sum(made for made, _, _ in outcomes) / len(outcomes), rel=0.02)
    assert found.accepted == pytest.approx(sum(right for *_, right in outcomes) / len(outcomes), rel=0.02)
    alike = expect(num_samples=8, target_accepted=2, lookahead=0, rate=0.6, concentration=None, max_kept=2)
    assert found.made > alike.made


def test_without_a_rate_everything_is_made_and_kept_up_to_the_limit() -> None:
    found = expect(num_samples=8, target_accepted=4, lookahead=0, rate=None, concentration=None, max_kept=3)
    assert found == Expected(made=8, surplus=0, accepted=8, kept=3)
