"""The stopping rule, sample by sample."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillery.metrics import StoppingRule
from stillery.sampling.best_of_n import BestOfN


def play(rule: BestOfN, keys: Sequence[str | None], rng: random.Random) -> int:
    """Run a prompt whose sample i counts as keys[i], samples finishing in random order. Returns the launched."""
    running = rule.launch()
    launched = len(running)
    while running:
        index = running.pop(rng.randrange(len(running)))
        rule.finish(index, key=keys[index])
        started = rule.launch()
        launched += len(started)
        running += started
    assert rule.is_done
    return launched


def first_enough(keys: Sequence[str | None], rule: StoppingRule) -> int:
    """The number of samples up to where the rule stops in order of index, copies aside."""
    counts = (count for count in range(1, len(keys) + 1) if rule.stops(count, len(set(keys[:count]) - {None})))
    return next(counts)


@given(
    st.lists(st.sampled_from([None, "a", "b", "c", "d", "e"]), min_size=1, max_size=16),
    st.integers(1, 6),
    st.integers(0, 4),
    st.sampled_from([0.0, 0.1, 0.3]),
    st.integers(0, 99),
)
def test_a_prompt_stops_where_the_rule_says_by_index_whatever_finishes_first(
    keys: list[str | None], target_accepted: int, lookahead: int, futility: float, seed: int
) -> None:
    rule = BestOfN(num_samples=len(keys), target_accepted=target_accepted, lookahead=lookahead, futility=futility)
    launched = play(rule, keys, random.Random(seed))
    assert rule.num_needed == first_enough(keys, StoppingRule(len(keys), target_accepted, futility))
    assert rule.num_needed <= launched <= len(keys)
    if lookahead == 0:
        assert launched == rule.num_needed, "samples were made in vain"


def test_without_a_rule_all_samples_start_at_once_and_count() -> None:
    rule = BestOfN(num_samples=3)
    assert rule.launch() == [0, 1, 2]
    for index in (2, 0, 1):
        assert not rule.is_done
        rule.finish(index, key=None)
    assert rule.is_done
    assert rule.num_needed == 3


def test_a_sample_is_finished_once() -> None:
    rule = BestOfN(num_samples=2)
    rule.launch()
    rule.finish(0, key="a")
    with pytest.raises(AssertionError, match="finished already"):
        rule.finish(0, key="a")
