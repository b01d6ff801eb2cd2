"""Stopping rules: what they stop, and pass rates that stay unbiased."""

import itertools
import math

import pytest

from stillery.metrics import StoppingRule, pass_rate
from stillery.metrics.stopping import futile_up_to

RULES = [
    StoppingRule(12, 3),
    StoppingRule(12, 3, futility=0.2),
    StoppingRule(16, 4, futility=0.1),
    StoppingRule(10, 2, futility=0.5),
    StoppingRule(5, 5),
]


def stopped_at(rule: StoppingRule, outcomes: tuple[bool, ...]) -> tuple[int, int]:
    """Samples and accepted ones of a problem whose samples come to `outcomes`, where the rule stops it."""
    right = 0
    for made, is_right in enumerate(outcomes, start=1):
        right += is_right
        if rule.stops(made, right):
            return made, right
    raise AssertionError("the rule does not end")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("rate", [0.05, 0.4, 0.9])
def test_the_pass_rate_under_a_rule_is_unbiased(rule: StoppingRule, rate: float) -> None:
    """The mean over all outcomes, exactly."""
    mean = shares = 0.0
    for outcomes in itertools.product((False, True), repeat=rule.num_samples):
        made, right = stopped_at(rule, outcomes)
        weight = rate ** sum(outcomes) * (1 - rate) ** (rule.num_samples - sum(outcomes))
        mean += weight * pass_rate(made, right, rule=rule)
        shares += weight * right / made
    assert mean == pytest.approx(rate, abs=1e-9)
    assert rule.target == rule.num_samples or shares > rate + 1e-4 or rule.futility, "the plain share is biased"


def test_the_predictive_probability_is_the_beta_binomial_one() -> None:
    """Against the integral over the pass rate: Beta(1, 5) after four failures, 4 of 12 needed."""
    steps = 20_000
    rates = [(number + 0.5) / steps for number in range(steps)]
    reached = [sum(math.comb(12, x) * p**x * (1 - p) ** (12 - x) for x in range(4, 13)) for p in rates]
    expected = sum(5 * (1 - p) ** 4 * share for p, share in zip(rates, reached, strict=True)) / steps
    just_below, just_above = (StoppingRule(16, 4, futility=expected * factor) for factor in (0.9999, 1.0001))
    assert futile_up_to(just_below)[4] == -1
    assert futile_up_to(just_above)[4] == 0


def test_a_problem_without_promise_is_given_up_and_no_other() -> None:
    rule = StoppingRule(16, 4, futility=0.1)
    bounds = futile_up_to(rule)
    assert bounds[0] == -1, "nothing is known before the first sample"
    assert list(bounds) == sorted(bounds)
    assert bounds[16] == 3
    assert rule.stops(12, 1)
    assert not rule.stops(12, 3)
    assert set(futile_up_to(StoppingRule(16, 4))[:13]) == {-1}, "without futility none is given up"


def test_without_futility_what_cannot_be_reached_ends_when_the_samples_do() -> None:
    rule = StoppingRule(4, 4)
    assert not rule.stops(3, 0)
    assert rule.stops(4, 0)


def test_counts_at_which_no_rule_stops_and_a_target_of_one_have_the_share() -> None:
    assert pass_rate(4, 1) == 0.25
    assert pass_rate(5, 1, rule=StoppingRule(8, 1)) == 0.2
    # A ninth sample failed for a reason of ours and does not count.
    assert pass_rate(11, 1, rule=StoppingRule(12, 3)) == 1 / 11


def test_the_pass_rate_of_impossible_counts_is_an_error() -> None:
    with pytest.raises(ValueError, match="num_accepted is 3"):
        pass_rate(2, 3)
    with pytest.raises(ValueError, match="there are 0 samples"):
        pass_rate(0, 0)
