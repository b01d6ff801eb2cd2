"""A coin that people flip or leave (Wei et al., arXiv 2201.11903): does it end as it began? One step is one person."""

import random

from stillery.problems.problems import Fact, Problem, sign_question
from stillery.problems.tasks.words import NAMES

OTHER_SIDE = {"heads": "tails", "tails": "heads"}
_FLIPS = ("flips the coin", "turns the coin over")
_LEAVES = ("does not flip the coin", "leaves the coin alone")


def make_coin_flip(rng: random.Random, num_steps: int) -> Problem:
    """A coin that `num_steps` people flip or do not flip."""
    start = state = rng.choice(("heads", "tails"))
    facts = [Fact("start", start, start, ())]
    sentences = [f"A coin is {start} up."]
    for name in rng.sample(NAMES, num_steps):
        flips = rng.random() < 0.5
        sentences.append(f"{name} {rng.choice(_FLIPS if flips else _LEAVES)}.")
        state = OTHER_SIDE[state] if flips else state
        before = facts[-1].name
        facts.append(Fact(name, state, f"{'flip' if flips else 'keep'} {before}", (before,)))
    question = " ".join([*sentences, f"Is the coin still {start} up?"])
    answer = "yes" if state == start else "no"
    signature = sign_question("coin_flip", question)
    return Problem("coin_flip", question, answer, "yes_no", ("yes", "no"), num_steps, tuple(facts), signature)
