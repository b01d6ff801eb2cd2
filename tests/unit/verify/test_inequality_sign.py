"""A `>` before an answer is a sign of inequality; before a line of a whole completion it is a quotation mark."""

import pytest

from stillery import grade, same_answer


@pytest.mark.parametrize("completion", [r"\boxed{>5}", r"\boxed{> 5}", "<answer>> 5</answer>", "<answer>>5</answer>"])
def test_the_sign_stays_in_an_answer(completion: str) -> None:
    assert grade(completion, answer="5").verdict.value == "wrong"


@pytest.mark.parametrize("completion", ["> The answer is 5.", "> **Answer:** 5", r"> \boxed{5}"])
def test_a_quoted_line_of_a_completion_is_read(completion: str) -> None:
    assert grade(completion, answer="5").verdict.value == "correct"


def test_an_inequality_is_not_its_bound() -> None:
    assert not same_answer(">5", "5")
