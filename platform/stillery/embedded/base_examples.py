"""What the student's base learns from: the language of the problems, single operations, spelling, looking things up far
back in a context, and short answers. No traces and no <think>: reasoning is what distillation adds.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from stillery.embedded.examples import Example, draw_problem
from stillery.embedded.tokenizer import END, render_prompt
from stillery.prompts.buckets import Bucket
from stillery.prompts.tasks.words import COLOURS, NAMES, OBJECTS, WORDS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Questions are learnt as language, lightly: their content is random.
_QUESTION_WEIGHT = 0.15
_SHORT_SHARE = 0.5


def student_examples(tokenizer: "PreTrainedTokenizerFast", *, seed: int) -> Iterator[Example]:
    """The base's training examples without end."""
    rng = random.Random(f"student {seed}")
    makers = list(_SHARES)
    while True:
        maker = rng.choices(makers, [_SHARES[m] for m in makers])[0]
        yield _encode(tokenizer, *maker(rng))


def _short_answer(rng: random.Random) -> tuple[str, str]:
    problem = draw_problem(rng, Bucket.BASE_TRAIN, short_share=_SHORT_SHARE)
    return render_prompt(problem.question), f"<answer>{problem.answer}</answer>{END}"


def _operations(rng: random.Random) -> tuple[str, str]:
    return "", "".join(f"{_operation(rng)}\n" for _ in range(rng.randint(4, 12))) + END


def _operation(rng: random.Random) -> str:
    """A true operation on two numbers whose result, like they, lies in 0..99."""
    kind = rng.choice("++--*/")
    if kind in "*/":
        a, b = rng.randint(2, 9), rng.randint(0, 12)
        a, b = (b, a) if rng.random() < 0.5 and b else (a, b)
        if a * b > 99:
            return _operation(rng)
        return f"{a} * {b} = {a * b}" if kind == "*" else f"{a * b} / {a} = {b}"
    low = rng.randint(0, 99)
    high = rng.randint(low, min(99, low + 60))
    return f"{low} + {high - low} = {high}" if kind == "+" else f"{high} - {high - low} = {low}"


def _spelling(rng: random.Random) -> tuple[str, str]:
    words = rng.sample(WORDS, rng.randint(2, 8))
    return "", "".join(f"the word {w} is {' '.join(w)}, it ends in {w[-1]}\n" for w in words) + END


def _lookup(rng: random.Random) -> tuple[str, str]:
    """A list of keys with values, short or up to the length of a row, and a question about some of them."""
    keys = rng.sample(WORDS + NAMES + COLOURS, rng.choice((4, 8, 16, 32, 64, 128)))
    number = rng.random() < 0.7
    values = {key: str(rng.randint(0, 99)) if number else rng.choice(OBJECTS) for key in keys}
    listing = " ".join(f"{key} has {value}." for key, value in values.items())
    asked = rng.sample(keys, min(len(keys), 4))
    return render_prompt(listing), "".join(f"so {key} has {values[key]}\n" for key in asked) + END


_SHARES: Mapping[Callable[[random.Random], tuple[str, str]], float] = {
    _short_answer: 0.62,
    _operations: 0.2,
    _spelling: 0.06,
    _lookup: 0.12,
}


def _encode(tokenizer: "PreTrainedTokenizerFast", prompt: str, completion: str) -> Example:
    encoded = tokenizer.backend_tokenizer.encode(prompt + completion, add_special_tokens=False)
    starts = np.array([start for start, _ in encoded.offsets])
    weights = np.where(starts < len(prompt), _QUESTION_WEIGHT, 1.0).astype(np.float32)
    return Example(np.array(encoded.ids), weights)
