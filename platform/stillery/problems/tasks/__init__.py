"""Exact problem generators: a seeded random generator and a number of steps in, a Problem out.

Difficulty is the number of steps. Every value is a whole number in 0..99, so that small models can do the arithmetic
and reasoning is what is measured. `dates` is the task that no embedded model trains on.
"""

import random
from collections.abc import Callable

from stillery.problems.problems import Fact, Problem
from stillery.problems.tasks.coin_flip import make_coin_flip
from stillery.problems.tasks.dates import make_date
from stillery.problems.tasks.equations import make_equation
from stillery.problems.tasks.last_letters import make_last_letters
from stillery.problems.tasks.quantities import make_quantities
from stillery.problems.tasks.shuffled_objects import make_shuffled_objects
from stillery.problems.tasks.word_problems import make_story

__all__ = ["HELD_OUT_TASK", "LONGER_STEPS", "TASKS", "TRAINED_STEPS", "Fact", "Problem"]

TASKS: dict[str, Callable[[random.Random, int], Problem]] = {
    "equations": make_equation,
    "word_problems": make_story,
    "last_letters": make_last_letters,
    "coin_flip": make_coin_flip,
    "shuffled_objects": make_shuffled_objects,
    "dates": make_date,
    "quantities": make_quantities,
}

HELD_OUT_TASK = "dates"

# The numbers of steps in training and test of runs, and those of the split `longer`, which no model trains on.
TRAINED_STEPS: dict[str, range] = {
    "equations": range(2, 6),
    "word_problems": range(2, 5),
    "last_letters": range(2, 5),
    "coin_flip": range(2, 7),
    "shuffled_objects": range(2, 5),
    "dates": range(1, 4),
    "quantities": range(1, 4),
}
LONGER_STEPS: dict[str, range] = {
    "equations": range(6, 8),
    "word_problems": range(6, 8),
    "last_letters": range(6, 8),
    "coin_flip": range(8, 11),
    "shuffled_objects": range(6, 8),
    "dates": range(4, 6),
    "quantities": range(5, 7),
}
