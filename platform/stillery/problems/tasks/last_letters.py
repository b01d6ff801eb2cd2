"""Last letter concatenation (Wei et al., arXiv 2201.11903). One step is one word."""

import random

from stillery.problems.problems import Fact, Problem, sign_question
from stillery.problems.tasks.words import WORDS

_FORMS = (
    "Take the last letter of each of these words and join them: {words}.",
    "Join the last letters of the words: {words}.",
    "What do the last letters of these words spell: {words}?",
)


def make_last_letters(rng: random.Random, num_steps: int) -> Problem:
    """The last letters of `num_steps` different words."""
    words = rng.sample(WORDS, num_steps)
    facts = [Fact(word, word[-1], f"last letter of {word}", ()) for word in words]
    answer = "".join(fact.value for fact in facts)
    facts.append(Fact("joined", answer, " ".join(answer), tuple(words)))
    question = rng.choice(_FORMS).format(words=" ".join(words))
    signature = sign_question("last_letters", " ".join(words))
    return Problem("last_letters", question, answer, "string", (), num_steps, tuple(facts), signature)
