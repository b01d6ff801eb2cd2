import json

import pytest

from stillery.metrics import summarize
from support.score_rows import make_score, make_scores

SCORES = [
    *make_scores("a", "++++"),
    *make_scores("b", "+---", num_steps=3),
    *make_scores("c", "----", task="coins", num_steps=None),
    *make_scores("d", "++--", split="longer", num_steps=12),
]


def test_every_split_has_its_own_measures_overall_by_task_and_by_steps() -> None:
    splits = summarize(SCORES, ks=[1, 2, 4])["splits"]
    assert list(splits) == ["longer", "test"]
    test = splits["test"]
    assert test["overall"]["num_problems"] == 3
    assert test["overall"]["num_samples"] == 12
    assert test["overall"]["pass@1"]["mean"] == pytest.approx((1 + 1 / 4 + 0) / 3)
    assert test["overall"]["pass@2"]["mean"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert test["overall"]["pass@4"]["mean"] == pytest.approx(2 / 3)
    assert test["overall"]["majority@4"]["mean"] == pytest.approx(1 / 3)
    assert list(test["by_task"]) == ["coins", "equations"]
    assert test["by_task"]["coins"]["pass@1"] == {"mean": 0.0, "standard_error": None}
    assert list(test["by_num_steps"]) == ["2", "3"]
    assert splits["longer"]["by_num_steps"]["12"]["pass@1"]["mean"] == 0.5


def test_it_survives_json_unchanged() -> None:
    summary = summarize(SCORES, ks=[4])
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_pass_at_1_is_always_there() -> None:
    summary = summarize(SCORES, ks=[4, 2])
    assert summary["ks"] == [1, 2, 4]
    assert "pass@1" in summary["splits"]["test"]["overall"]


def test_steps_come_in_numeric_order() -> None:
    scores = [score for n in (10, 9, 2) for score in make_scores(f"p{n}", "+", num_steps=n)]
    assert list(summarize(scores, ks=[1])["splits"]["test"]["by_num_steps"]) == ["2", "9", "10"]


def test_what_is_not_right_is_told_apart_and_failures_of_ours_are_no_answers() -> None:
    verdicts = ["correct", "wrong", "unparsed", "truncated", "timeout", "error"]
    scores = [make_score("p", i, verdict=verdict) for i, verdict in enumerate(verdicts)]
    overall = summarize(scores, ks=[1])["splits"]["test"]["overall"]
    assert overall["pass@1"]["mean"] == pytest.approx(1 / 4)
    assert (overall["num_samples"], overall["failed"]) == (4, pytest.approx(2 / 6))
    assert overall["verdicts"] == dict.fromkeys(sorted(verdicts), 1)


def test_a_problem_that_lost_samples_is_left_out_where_they_are_too_few() -> None:
    lost = [*make_scores("a", "+++"), make_score("a", 3, verdict="error")]
    gone = [make_score("b", i, verdict="timeout") for i in range(4)]
    overall = summarize([*lost, *gone, *make_scores("c", "----")], ks=[2, 4])["splits"]["test"]["overall"]
    assert overall["num_problems"] == 2
    assert overall["pass@2"]["mean"] == 0.5
    assert overall["pass@4"] == overall["majority@4"] == {"mean": 0.0, "standard_error": None}
    alone = summarize(lost, ks=[4])["splits"]["test"]["overall"]
    assert {"pass@4", "majority@4"}.isdisjoint(alone)
    assert alone["pass@1"]["mean"] == 1.0
    assert summarize(gone, ks=[4])["splits"] == {}


def test_unchecked_samples_count_as_verdicts_but_not_as_failures() -> None:
    unchecked = make_scores("general", "++", verdict="unchecked", gold=None)
    overall = summarize([*make_scores("a", "++"), *unchecked], ks=[1])["splits"]["test"]["overall"]
    assert overall["pass@1"]["mean"] == 1.0
    assert overall["num_problems"] == 1
    assert overall["verdicts"] == {"correct": 2, "unchecked": 2}
    assert summarize(unchecked, ks=[1])["splits"] == {}


def test_shares_and_lengths_are_over_samples() -> None:
    scores = [
        make_score("a", 0, num_tokens=10),
        make_score("a", 1, num_tokens=20, template="unclosed", finish_reason="length", verdict="truncated"),
    ]
    overall = summarize(scores, ks=[1])["splits"]["test"]["overall"]
    assert (overall["template_ok"], overall["truncated"], overall["mean_num_tokens"]) == (0.5, 0.5, 15)


def test_too_few_samples_for_k_is_an_error() -> None:
    with pytest.raises(ValueError, match="pass@4 needs at least 4 samples"):
        summarize(make_scores("a", "++"), ks=[4])
