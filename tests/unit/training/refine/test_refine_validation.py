"""pass@1 on validation problems, by samplers that are told what to say."""

from collections.abc import Sequence

import pytest

from stillery.sampling.chat.conversation import load_tokenizer
from stillery.training.refine.data import RefineProblem
from stillery.training.refine.rollouts import Completion, until_stop
from stillery.training.refine.stopping import ACCURACY
from stillery.training.refine.validation import STANDARD_ERROR, VALIDATED_LENGTH, Validation, summarize


class Scripted:
    """Gives each prompt the next of its texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.tokenizer = load_tokenizer("embedded:student", key="model")
        self.texts = texts
        self.synced = 0

    def sync_weights(self) -> None:
        self.synced += 1

    def generate(self, prompts: Sequence[Sequence[int]], *, draw: str) -> list[Completion]:
        assert draw.startswith("validation")
        end = self.tokenizer.eos_token_id
        assert len(prompts) == len(self.texts)
        tokens = self.tokenizer(list(self.texts), add_special_tokens=False)["input_ids"]
        return [Completion([*ids, end], None) for ids in tokens]


def problem(answer: str) -> RefineProblem:
    return RefineProblem(answer, "t", f"What is {answer}?", answer, "number", [], 1, f"What is {answer}?")


def test_accuracy_is_the_mean_over_problems_with_its_error() -> None:
    right, wrong = "<think>\nhm\n</think>\n<answer>4</answer>", "<think>\nhm\n</think>\n<answer>5</answer>"
    sampler = Scripted([right, wrong, right, right])
    problems = [problem("4"), problem("4")]
    validation = Validation(
        problems, num_samples=2, sampler=sampler, tokenizer=sampler.tokenizer, stops=[sampler.tokenizer.eos_token_id]
    )
    row = validation.measure(step=0, rank=0, world_size=1, gather=list)
    assert row[ACCURACY] == 0.75
    assert row[STANDARD_ERROR] == pytest.approx(0.25)
    assert row[VALIDATED_LENGTH] > 5
    assert sampler.synced == 1


def test_a_worker_without_a_problem_answers_none_and_gets_the_same_result() -> None:
    sampler = Scripted([])
    validation = Validation([problem("4")], num_samples=2, sampler=sampler, tokenizer=sampler.tokenizer, stops=[])
    row = validation.measure(step=0, rank=1, world_size=2, gather=lambda mine: [*mine, 1.0])
    assert row == summarize([1.0], [1])


def test_a_completion_ends_at_its_first_stop() -> None:
    assert until_stop([5, 2, 0, 2], [2, 3]) == [5, 2]
    assert until_stop([5, 6], [2]) == [5, 6]
