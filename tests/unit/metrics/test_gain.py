import pytest

from stillery.metrics import paired_gain
from stillery.records import Score
from support.score_rows import make_score, make_scores


def _model(*outcomes: str) -> list[Score]:
    return [score for i, signs in enumerate(outcomes) for score in make_scores(f"p{i}", signs)]


def test_gain_and_its_interval_agree_with_the_paired_t_formula() -> None:
    before, after = _model("----", "+---", "++--", "----"), _model("++++", "+++-", "++++", "----")
    found = paired_gain(before, after)
    # Differences 1, 1/2, 1/2, 0: mean 1/2, sd sqrt(1/6), and t(0.975, 3) = 3.18245 from any table.
    assert found.mean == pytest.approx(0.5)
    assert found.high - found.mean == pytest.approx(3.18245 * (1 / 6) ** 0.5 / 2, rel=1e-5)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)
    assert found.num_problems == 4


def test_pairing_removes_the_spread_of_difficulty() -> None:
    before = _model("++++----", "--------", "++++++--")
    after = _model("+++++---", "+-------", "+++++++-")
    found = paired_gain(before, after)
    assert found.low == pytest.approx(found.high) == pytest.approx(1 / 8)


def test_the_order_of_rows_does_not_matter_and_swapping_models_turns_the_sign() -> None:
    before, after = _model("+-", "--", "++"), _model("++", "+-", "++")
    assert paired_gain(before, after) == paired_gain(before[::-1], after[::-1])
    assert paired_gain(after, before).mean == -paired_gain(before, after).mean


def test_only_the_split_that_is_asked_for_counts() -> None:
    before, after = _model("--", "--"), _model("++", "++")
    longer = make_scores("q", "--", split="longer")
    assert paired_gain(before, after + longer).num_problems == 2


def test_a_problem_without_an_answer_is_left_out_of_the_gain() -> None:
    failed = [make_score("p2", i, verdict="error") for i in range(2)]
    found = paired_gain(_model("--", "--", "++"), [*_model("++", "++"), *failed])
    assert (found.mean, found.num_problems) == (1.0, 2)


def test_different_problems_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="1 have only one side, such as p2"):
        paired_gain(_model("+", "+"), _model("+", "+", "+"))


def test_one_problem_gives_no_interval() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        paired_gain(_model("+"), _model("+"))
