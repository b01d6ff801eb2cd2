import random

import pytest

from stillery.problems.buckets import Bucket
from stillery.problems.tasks import HELD_OUT_TASK, TASKS
from stillery.tiny_models.evaluate import Checks, checks_of, format_table, is_right, problems_for, score


def test_only_the_exact_answer_at_the_end_is_right() -> None:
    problem = TASKS["word_problems"](random.Random(0), 2)
    right = f"<answer>{problem.answer}</answer>"
    assert is_right(f"<think>\n…\n</think>\n{right}", problem)
    assert not is_right(f"<answer>{problem.answer}0</answer>", problem)
    assert not is_right(f"{right} or so", problem)
    assert not is_right(problem.answer, problem)


def test_scores_count_samples_problems_and_corrections() -> None:
    problem = TASKS["coin_flip"](random.Random(0), 2)
    right, wrong = f"<answer>{problem.answer}</answer>", "<answer>maybe</answer>"
    row = score([problem, problem], [[right, f"wait, redo: {right}"], [wrong, f"wait, redo: {wrong}"]])["all"]
    assert (row.num_problems, row.num_samples, row.num_right, row.solved) == (2, 4, 2, 1)
    assert (row.corrections, row.corrected_right) == (2, 1)
    table = format_table(score([problem, problem], [[right, wrong], [wrong, wrong]]))
    assert "| coin_flip | 2 | 0.250 | 0.500 | 0 of 4 | 0 |" in table


@pytest.mark.parametrize("bucket", [Bucket.TEST, Bucket.HELD_OUT])
def test_problems_are_spread_evenly_over_the_tasks_of_a_bucket(bucket: Bucket) -> None:
    tasks = [p.task for p in problems_for(bucket, per_task=3, seed=0)]
    expected = {HELD_OUT_TASK} if bucket == Bucket.HELD_OUT else TASKS.keys() - {HELD_OUT_TASK}
    assert set(tasks) == expected
    assert len(tasks) == 3 * len(expected)


def test_checks_count_what_they_catch_and_what_they_miss() -> None:
    caught = "so red = 18 + 8 = 27\ncheck: 27 - 8 = 19, had 18, no\nwait, redo: so red = 18 + 8 = 26\n"
    missed = "so red = 18 + 8 = 27\ncheck: 27 - 8 = 18, had 18, ok\n"
    needless = "so red = 18 + 8 = 26\ncheck: 26 - 8 = 19, had 18, no\n"
    unchecked = "maybe x = 9: 9 + 1 = 11\nx = 9 / 2 = 4\n</think>"
    assert checks_of(caught) == Checks(2, 1, 1, 1, 0, 0)
    assert checks_of(missed) == Checks(1, 1, 1, 0, 0, 0)
    assert checks_of(needless) == Checks(1, 0, 0, 0, 1, 1)
    assert checks_of(unchecked) == Checks(1, 1, 0, 0, 0, 0)
    assert checks_of(caught + missed) == Checks(3, 2, 2, 1, 0, 0)
