"""People swap what they hold (BIG-bench's tracking_shuffled_objects): who has what? One step is one swap."""

import random
from collections.abc import Mapping

from stillery.problems.problems import Fact, Problem, sign_question
from stillery.problems.tasks.words import NAMES, OBJECTS


def make_shuffled_objects(rng: random.Random, num_steps: int) -> Problem:
    """Three or four people, each with an object, and `num_steps` swaps between two of them."""
    people = rng.sample(NAMES, rng.choice((3, 3, 4)))
    objects = rng.sample(OBJECTS, len(people))
    held: dict[str, str] = dict(zip(people, objects, strict=True))
    sentences = [", ".join(f"{person} has the {thing}" for person, thing in held.items()) + "."]
    facts = [Fact("start", describe(held), describe(held), ())]
    for number in range(1, num_steps + 1):
        one, two = rng.sample(people, 2)
        held[one], held[two] = held[two], held[one]
        sentences.append(f"{one} and {two} swap.")
        facts.append(Fact(f"swap {number}", describe(held), f"{one}, {two}", (facts[-1].name,)))
    asked, choices = rng.choice(people), tuple(sorted(objects))
    sentences.append(f"What does {asked} have now? Choices: {', '.join(choices)}.")
    question = " ".join(sentences)
    signature = sign_question("shuffled_objects", question)
    return Problem("shuffled_objects", question, held[asked], "choice", choices, num_steps, tuple(facts), signature)


def describe(held: Mapping[str, str]) -> str:
    """Who has what, in words: `Ann cup, Bob ball`."""
    return ", ".join(f"{person} {thing}" for person, thing in held.items())
