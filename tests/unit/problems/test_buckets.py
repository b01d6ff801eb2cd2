import random

import pytest

from stillery.errors import UserError
from stillery.problems.buckets import Bucket, bucket_of, check_disjoint, draw
from stillery.problems.tasks import HELD_OUT_TASK, LONGER_STEPS, TASKS, TRAINED_STEPS

TRAINED = [b for b in Bucket if b not in (Bucket.LONGER, Bucket.HELD_OUT)]


def test_draw_gives_distinct_problems_of_the_bucket_in_even_lengths() -> None:
    problems = draw(Bucket.TEST, task="word_problems", count=60, seed=0)
    assert len({p.signature for p in problems}) == 60
    assert {bucket_of(p) for p in problems} == {Bucket.TEST}
    lengths = [p.num_steps for p in problems]
    assert {lengths.count(n) for n in TRAINED_STEPS["word_problems"]} == {60 // len(TRAINED_STEPS["word_problems"])}


def test_draw_repeats_with_the_seed_and_differs_between_seeds() -> None:
    first = draw(Bucket.DISTILL, task="quantities", count=10, seed=1)
    assert first == draw(Bucket.DISTILL, task="quantities", count=10, seed=1)
    assert first != draw(Bucket.DISTILL, task="quantities", count=10, seed=2)


@pytest.mark.parametrize("task", [t for t in TASKS if t != HELD_OUT_TASK])
def test_every_bucket_has_problems_enough_for_a_run(task: str) -> None:
    drawn = {b: draw(b, task=task, count=60, seed=0) for b in (*TRAINED, Bucket.LONGER)}
    check_disjoint(drawn)
    assert all(p.num_steps in LONGER_STEPS[task] for p in drawn[Bucket.LONGER])
    assert len(draw(Bucket.DISTILL, task=task, count=400, seed=0)) == 400


def test_held_out_task_is_in_no_other_bucket() -> None:
    rng = random.Random(0)
    assert {bucket_of(TASKS[HELD_OUT_TASK](rng, 1 + i % 5)) for i in range(200)} == {Bucket.HELD_OUT}


def test_renamed_problem_stays_in_its_bucket() -> None:
    rng = random.Random(0)
    seen: dict[str, Bucket] = {}
    for _ in range(5000):
        problem = TASKS["equations"](rng, 2)
        assert seen.setdefault(problem.signature, bucket_of(problem)) == bucket_of(problem)
    assert len(seen) < 5000


def test_check_disjoint_names_the_shared_problem() -> None:
    problems = draw(Bucket.TEST, task="coin_flip", count=2, seed=0)
    with pytest.raises(UserError, match=r"contamination.*A coin is"):
        check_disjoint({Bucket.TEST: problems, Bucket.DISTILL: problems[:1]})


def test_exhausted_task_says_which_knob_to_turn() -> None:
    with pytest.raises(UserError, match=r"equations has only about \d+ distinct.*steps"):
        draw(Bucket.CALIBRATION, task="equations", count=5000, seed=0, steps=[1])


def test_unknown_task_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'chess'.*equations"):
        draw(Bucket.TEST, task="chess", count=1, seed=0)
