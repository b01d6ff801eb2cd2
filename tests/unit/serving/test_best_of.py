"""The most stable majority answer: majority first, then stability; a failure of ours is no vote either way."""

import pytest

from stillery.errors import UserError
from stillery.serving.best_of import Answered, choose, weigh


def sample(index: int, answer: str | None, stability: float = 0.5, finish_reason: str = "stop") -> Answered:
    return Answered(index, "thinking", answer, finish_reason, stability)


def test_the_majority_wins_over_the_most_stable_sample() -> None:
    choice = choose([sample(0, "7", 0.4), sample(1, "9", 0.99), sample(2, "7.0", 0.6)])
    assert choice.chosen is not None
    assert (choice.chosen.index, choice.agreeing, choice.voting) == (2, 2, 3)


def test_between_groups_of_one_size_stability_decides() -> None:
    choice = choose([sample(0, "7", 0.4), sample(1, "9", 0.8)])
    assert choice.chosen is not None
    assert choice.chosen.index == 1


def test_equal_answers_of_equal_stability_give_the_first() -> None:
    choice = choose([sample(3, "7"), sample(1, "7"), sample(2, "7")])
    assert choice.chosen is not None
    assert choice.chosen.index == 1


@pytest.mark.parametrize("answer", [None, "", "  "])
def test_a_sample_without_an_answer_does_not_vote(answer: str | None) -> None:
    choice = choose([sample(0, answer, 1.0), sample(1, answer, 1.0), sample(2, "7", 0.1)])
    assert choice.chosen is not None
    assert (choice.chosen.index, choice.agreeing, choice.voting) == (2, 1, 1)


def test_a_sample_that_was_cut_off_does_not_vote() -> None:
    choice = choose([sample(0, "9", 1.0, "length"), sample(1, "7", 0.1)])
    assert choice.chosen is not None
    assert choice.chosen.index == 1


def test_no_votes_give_no_answer() -> None:
    assert choose([sample(0, None), sample(1, "7", finish_reason="length")]).chosen is None


def test_a_comparison_that_fails_is_counted_and_says_nothing() -> None:
    def fails(*_: str, answer_kind: str) -> bool:
        raise TimeoutError(answer_kind)

    choice = choose([sample(0, "a"), sample(1, "b"), sample(2, "a")], same=fails)
    assert choice.chosen is not None
    assert (choice.chosen.answer, choice.agreeing, choice.uncompared) == ("a", 2, 1)


def test_an_unknown_kind_of_answer_is_the_callers_mistake() -> None:
    with pytest.raises(UserError, match="answer_kind"):
        choose([sample(0, "7"), sample(1, "8")], answer_kind="numbr")


def test_a_false_step_makes_a_sample_less_stable() -> None:
    question = "A bag holds 7 cards. 9 are added. How many are there?"
    right = weigh(0, question=question, reasoning="7 + 9 = 16", answer="16", finish_reason="stop")
    wrong = weigh(1, question=question, reasoning="7 + 9 = 18", answer="16", finish_reason="stop")
    assert wrong.stability < right.stability
