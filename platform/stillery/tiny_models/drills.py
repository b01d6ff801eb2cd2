"""Drills of single skills for both models: operations on two numbers, spelling, repeating and looking things up.

Repeating lists teaches attention most quickly to copy what last followed a word.

Each drill is a prompt and a completion; neither holds a problem of any task or a trace.
"""

import random
from collections.abc import Sequence

from stillery.problems.tasks.words import COLOURS, NAMES, OBJECTS, WORDS
from stillery.tiny_models.tokenizer import END, render_prompt

_KINDS, _SHARES = ("operations", "spelling", "repeat", "lookup"), (0.3, 0.1, 0.25, 0.35)


def draw_drill(rng: random.Random, *, list_lengths: Sequence[int]) -> tuple[str, str]:
    """A prompt (empty for some) and what follows it."""
    kind = rng.choices(_KINDS, _SHARES)[0]
    if kind == "operations":
        return "", "".join(f"{_draw_operation(rng)}\n" for _ in range(rng.randint(4, 12))) + END
    if kind == "spelling":
        words = rng.sample(WORDS, rng.randint(2, 8))
        return "", "".join(f"the word {w} is {' '.join(w)}, it ends in {w[-1]}\n" for w in words) + END
    if kind == "repeat":
        words = " ".join(rng.choices(NAMES + OBJECTS + COLOURS + WORDS, k=rng.randint(4, 24)))
        return f"{words}\n", f"{words}\n{words}\n{END}"
    return _draw_lookup(rng, num_keys=rng.choice(list_lengths))


def _draw_operation(rng: random.Random) -> str:
    """A true operation on two numbers whose result, like they, lies in 0..99."""
    kind = rng.choice("++--*/")
    if kind in "*/":
        a, b = rng.randint(2, 9), rng.randint(1, 12)
        a, b = (b, a) if rng.random() < 0.5 else (a, b)
        if a * b > 99:
            return _draw_operation(rng)
        return f"{a} * {b} = {a * b}" if kind == "*" else f"{a * b} / {a} = {b}"
    low = rng.randint(0, 99)
    high = rng.randint(low, min(99, low + 60))
    return f"{low} + {high - low} = {high}" if kind == "+" else f"{high} - {high - low} = {low}"


def _draw_lookup(rng: random.Random, *, num_keys: int) -> tuple[str, str]:
    """A list of keys with values, and a few of the keys in another order, whose values are to be given."""
    pool = rng.choice((NAMES, WORDS, COLOURS, NAMES + COLOURS + WORDS))
    keys = rng.sample(pool, min(num_keys, len(pool)))
    numbers = rng.random() < 0.6
    values = {key: str(rng.randint(0, 99)) if numbers else rng.choice(OBJECTS) for key in keys}
    asked = rng.sample(keys, min(len(keys), 6))
    listing = " ".join(f"{key} has {value}." for key, value in values.items())
    prompt = render_prompt(f"{listing} Which have {', '.join(asked)}?")
    return prompt, "".join(f"so {key} has {values[key]}\n" for key in asked) + END
