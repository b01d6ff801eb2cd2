"""pass@1 on validation problems, with scripted samplers."""

from collections.abc import Sequence

import pytest

from stillery.sampling.chat.conversation import load_tokenizer
from stillery.training.generation import Completion, until_stop
from stillery.training.problems import StudentProblem
from stillery.training.validation import Validation, summarize


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


def problem(answer: str) -> StudentProblem:
    return StudentProblem(answer, "t", f"What is {answer}?", answer, "number", [], 1, f"What is {answer}?")


def test_accuracy_is_the_mean_over_problems_with_its_error() -> None:
    right, wrong = "<think>\nhm\n</think>\n<answer>4</answer>", "<think>\nhm\n</think>\n<answer>5</answer>"
    sampler = Scripted([right, wrong, right, right])
    problems = [problem("4"), problem("4")]
    validation = Validation(
        problems, num_samples=2, sampler=sampler, tokenizer=sampler.tokenizer, stops=[sampler.tokenizer.eos_token_id]
    )
    row = validation.measure("0", rank=0, world_size=1, gather=list)
    assert row.accuracy == 0.75
    assert row.standard_error == pytest.approx(0.25)
    assert row.mean_length > 5
    assert sampler.synced == 1


def test_a_worker_without_a_problem_answers_none_and_gets_the_same_result() -> None:
    sampler = Scripted([])
    validation = Validation([problem("4")], num_samples=2, sampler=sampler, tokenizer=sampler.tokenizer, stops=[])
    row = validation.measure("0", rank=1, world_size=2, gather=lambda mine: [*mine, 1.0])
    assert row == summarize([1.0], [1])


def test_where_all_must_answer_as_many_what_is_repeated_does_not_count() -> None:
    right, wrong = "<think>\nhm\n</think>\n<answer>4</answer>", "<think>\nhm\n</think>\n<answer>5</answer>"
    sampler = Scripted([wrong, right])
    problems = [problem("4")] * 3
    settings = {"num_samples": 1, "sampler": sampler, "tokenizer": sampler.tokenizer, "stops": []}
    validation = Validation(problems, **settings, is_even=True)
    row = validation.measure("0", rank=1, world_size=2, gather=list)
    assert (row.accuracy, row.standard_error) == (0.0, 0.0)


def test_a_completion_ends_at_its_first_stop() -> None:
    assert until_stop([5, 2, 0, 2], [2, 3]) == [5, 2]
    assert until_stop([5, 6], [2]) == [5, 6]
