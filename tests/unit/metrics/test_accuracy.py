import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillery.metrics import estimate, majority_at_k, pass_at_k
from support.score_rows import make_score, make_scores


@pytest.mark.parametrize(("n", "c", "k"), [(1, 0, 1), (1, 1, 1), (5, 2, 1), (5, 2, 3), (6, 1, 6), (7, 6, 2), (8, 0, 4)])
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample(n: int, c: int, k: int) -> None:
    subsets = list(itertools.combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@given(st.integers(1, 2000), st.data())
def test_pass_at_k_is_a_probability_that_grows_with_k_and_with_correct_samples(n: int, data: st.DataObject) -> None:
    c = data.draw(st.integers(0, n - 1))
    k = data.draw(st.integers(1, n))
    value = pass_at_k(n, c, k)
    assert 0.0 <= value <= 1.0
    assert pass_at_k(n, c + 1, k) >= value
    assert pass_at_k(n, c, 1) == pytest.approx(c / n)
    assert k == n or pass_at_k(n, c, k + 1) >= value


def test_pass_at_k_keeps_its_precision_where_a_product_of_floats_would_lose_it() -> None:
    assert pass_at_k(10**6, 1, 1) == 1e-6
    assert pass_at_k(100_000, 3, 50_000) == pytest.approx(0.875, abs=1e-5)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 5), (4, 2, 0), (0, 0, 1)])
def test_pass_at_k_refuses_what_has_no_meaning(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match=r"num_correct|pass@"):
        pass_at_k(n, c, k)


def test_majority_takes_the_most_frequent_answer() -> None:
    assert majority_at_k(make_scores("p", "-++"), 3)
    assert not majority_at_k(make_scores("p", "+--"), 3)


def test_majority_takes_the_first_samples_by_index_whatever_their_order() -> None:
    samples = make_scores("p", "--+++")
    assert majority_at_k(samples[::-1], 5)
    assert not majority_at_k(samples[::-1], 3)


def test_a_tie_goes_to_the_answer_seen_first() -> None:
    assert majority_at_k(make_scores("p", "+-"), 2)
    assert not majority_at_k(make_scores("p", "-+"), 2)


def test_votes_agree_up_to_case_and_spacing() -> None:
    texts = [
        ("Red  Cup", "correct"),
        ("blue", "wrong"),
        ("blue", "wrong"),
        ("red cup", "correct"),
        ("RED CUP ", "correct"),
    ]
    samples = [make_score("p", i, predicted=text, verdict=verdict) for i, (text, verdict) in enumerate(texts)]
    assert majority_at_k(samples, 5)


def test_unparsed_and_truncated_samples_do_not_vote() -> None:
    silent = [make_score("p", i, predicted=None, verdict="unparsed") for i in range(2)]
    cut = [make_score("p", 2 + i, predicted="5", verdict="truncated") for i in range(2)]
    assert majority_at_k([*silent, *cut, make_score("p", 4)], 5)
    assert not majority_at_k(silent, 2)


def test_majority_needs_k_samples() -> None:
    with pytest.raises(ValueError, match="majority@3 needs 3 samples"):
        majority_at_k(make_scores("p", "++"), 3)


def test_standard_error_is_the_spread_over_problems() -> None:
    found = estimate([1.0, 0.5, 0.0, 0.5])
    assert found.mean == 0.5
    assert found.standard_error == pytest.approx(math.sqrt(0.5 / 3) / 2)
    assert found.num_problems == 4


def test_one_problem_has_no_standard_error_and_none_has_no_mean() -> None:
    assert estimate([1.0]).standard_error is None
    with pytest.raises(ValueError, match="no problems"):
        estimate([])
