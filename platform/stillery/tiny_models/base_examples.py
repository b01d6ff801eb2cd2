"""The training examples of the student's base: the language of the problems and of single steps, drills, long-range
look-ups, and short answers. No traces and no <think>: reasoning is what distillation adds."""

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

from stillery.problems.buckets import Bucket
from stillery.tiny_models.examples import TrainingExample, draw_practice, draw_problem, encode_text
from stillery.tiny_models.tokenizer import END, render_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Questions have a small loss weight, as language: their content is random.
_QUESTION_WEIGHT = 0.15
_PRACTICE_SHARE = 0.7
# Half of the problems are shorter than those of any split, down to a single step, which can be answered at once.
_SHORT_SHARE = 0.5
# Up to the length of a full row of 512 tokens, so that the student has seen distant positions.
_LIST_LENGTHS = (4, 8, 16, 16, 32, 64)


def student_examples(tokenizer: "PreTrainedTokenizerFast", *, seed: int) -> Iterator[TrainingExample]:
    """The base's training examples, an infinite stream."""
    rng = random.Random(f"student {seed}")
    while True:
        if rng.random() < _PRACTICE_SHARE:
            prompt, completion = draw_practice(rng, Bucket.BASE_TRAIN, list_lengths=_LIST_LENGTHS)
        else:
            problem = draw_problem(rng, Bucket.BASE_TRAIN, short_share=_SHORT_SHARE)
            prompt, completion = render_prompt(problem.question), f"<answer>{problem.answer}</answer>{END}"
        yield encode_text(tokenizer, prompt, completion, prompt_weight=_QUESTION_WEIGHT)
