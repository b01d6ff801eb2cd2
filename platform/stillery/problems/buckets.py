"""Buckets of generated problems: a function of the problem alone, so no two data sets share one.

The buckets teacher_train and base_train made the embedded models; distill, validation, calibration and test are for
runs; longer holds problems of more steps than any model trains on, held_out the task that none trains on.
"""

import hashlib
import random
from collections.abc import Iterable, Mapping
from enum import StrEnum

from stillery.errors import UserError
from stillery.problems.problems import Problem
from stillery.problems.tasks import HELD_OUT_TASK, LONGER_STEPS, TASKS, TRAINED_STEPS

# This many draws in a row without a new problem mean that a task is exhausted.
_PATIENCE = 5_000


class Bucket(StrEnum):
    TEACHER_TRAIN = "teacher_train"
    BASE_TRAIN = "base_train"
    DISTILL = "distill"
    VALIDATION = "validation"
    CALIBRATION = "calibration"
    TEST = "test"
    LONGER = "longer"
    HELD_OUT = "held_out"


# Percent of the problems of trained lengths.
_SHARES = {
    Bucket.TEACHER_TRAIN: 45,
    Bucket.BASE_TRAIN: 15,
    Bucket.DISTILL: 20,
    Bucket.VALIDATION: 4,
    Bucket.CALIBRATION: 4,
    Bucket.TEST: 12,
}
_BUCKET_OF_PERCENT = tuple(bucket for bucket, share in _SHARES.items() for _ in range(share))


def bucket_of(problem: Problem) -> Bucket:
    """The bucket of a problem: by its task, its number of steps and a hash of its signature."""
    if problem.task == HELD_OUT_TASK:
        return Bucket.HELD_OUT
    if problem.num_steps in LONGER_STEPS[problem.task]:
        return Bucket.LONGER
    hashed = hashlib.blake2b(problem.signature.encode(), digest_size=8).digest()
    return _BUCKET_OF_PERCENT[int.from_bytes(hashed, "big") % len(_BUCKET_OF_PERCENT)]


def steps_of(bucket: Bucket, *, task: str) -> range:
    """The default numbers of steps of a bucket's problems."""
    return LONGER_STEPS[task] if bucket == Bucket.LONGER else TRAINED_STEPS[task]


def draw(bucket: Bucket, *, task: str, count: int, seed: int, steps: Iterable[int] | None = None) -> list[Problem]:
    """`count` distinct problems of one bucket and task, with numbers of steps spread evenly over `steps`.

    Raises UserError if the task has fewer distinct ones than that, or is unknown.
    """
    if task not in TASKS:
        raise UserError(f"there is no task {task!r}; the tasks are {', '.join(TASKS)}")
    rng = random.Random(f"{seed}:{bucket.value}:{task}")
    lengths = list(steps or steps_of(bucket, task=task))
    found: list[Problem] = []
    seen: set[str] = set()
    wasted = 0
    while len(found) < count:
        problem = TASKS[task](rng, lengths[len(found) % len(lengths)])
        if problem.signature in seen or bucket_of(problem) != bucket:
            wasted += 1
            if wasted == _PATIENCE:
                raise UserError(
                    f"task {task} has only about {len(found)} distinct problems of {lengths} steps in bucket "
                    f"{bucket.value}, and {count} are wanted: ask for fewer, or raise `steps`"
                )
            continue
        wasted = 0
        seen.add(problem.signature)
        found.append(problem)
    return found


def check_disjoint(problems_by_bucket: Mapping[Bucket, Iterable[Problem]]) -> None:
    """Raise UserError, naming an example, if a problem (by its signature) is in two buckets."""
    owner: dict[str, Bucket] = {}
    for bucket, problems in problems_by_bucket.items():
        for problem in problems:
            first = owner.setdefault(problem.signature, bucket)
            if first != bucket:
                raise UserError(
                    f"contamination: the problem {problem.question[:60]!r} is in {first.value} and in {bucket.value}; "
                    "draw each split from its own bucket"
                )
