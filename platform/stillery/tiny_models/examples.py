"""Training examples: conversations as tokens with a weight each, packed into rows of equal length.

A token's loss weight is 0 where nothing should be learnt (prompts, planted mistakes), 1 for text, and VALUE_WEIGHT for
derived values, which carry the arithmetic.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stillery.problems.buckets import Bucket, bucket_of
from stillery.problems.problems import Problem
from stillery.problems.tasks import TASKS
from stillery.tiny_models.drills import draw_drill
from stillery.tiny_models.lines import draw_line, read_statements, work_alone
from stillery.tiny_models.tokenizer import END, render_prompt
from stillery.tiny_models.traces import PROGRAMS, Trace, write_trace

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VALUE_WEIGHT = 2.0
_SHORT_SHARE = 0.15
_EVEN_SHARES = dict.fromkeys(PROGRAMS, 1.0)
# How often the teacher sees each task: the difficult ones more often.
_TEACHER_SHARES = {
    "equations": 1.0,
    "word_problems": 1.0,
    "last_letters": 1.5,
    "coin_flip": 0.5,
    "shuffled_objects": 2.0,
    "quantities": 3.0,
}
_LIST_LENGTHS = (4, 8, 16, 32)
_PRACTICE_SHARES = {"drill": 0.3, "lines": 0.15, "reading": 0.2, "alone": 0.35}


# The training lengths of the embedded models: harder than those of runs (TRAINED_STEPS), never as long as LONGER_STEPS.
TAUGHT_STEPS: dict[str, range] = {
    "equations": range(2, 6),
    "word_problems": range(3, 6),
    "last_letters": range(3, 6),
    "coin_flip": range(3, 8),
    "shuffled_objects": range(3, 6),
    "quantities": range(2, 5),
}


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of a trace, and the positions of its first-time values: (step, first token, one past the last)."""

    problem: Problem
    seed: int
    values: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """Tokens (n,) and their loss weights (n,); `origin` if its values may be sampled for mistakes."""

    tokens: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of the teacher's examples: drills; among the others those that correct one of its own mistakes; and among
    the remaining ones those that correct a made-up mistake."""

    drills: float
    own_mistakes: float
    made_up_mistakes: float


@dataclass(frozen=True, slots=True)
class OwnMistake:
    """A wrong value that a model sampled itself for a step of a trace."""

    origin: Origin
    step: int
    value: str


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Rows of tokens and weights (rows, row_length), and the start of each example with an origin: (row, column)."""

    tokens: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    origins: tuple[tuple[int, int, Origin], ...]


def draw_problem(
    rng: random.Random,
    bucket: Bucket,
    *,
    short_share: float = _SHORT_SHARE,
    shares: Mapping[str, float] = _EVEN_SHARES,
) -> Problem:
    """A problem of a training bucket: a task by its share, mostly of a training length, else shorter."""
    task = rng.choices(list(shares), list(shares.values()))[0]
    lengths = TAUGHT_STEPS[task]
    while True:
        short = rng.random() < short_share
        problem = TASKS[task](
            rng, rng.randrange(1, lengths.start) if short and lengths.start > 1 else rng.choice(lengths)
        )
        if bucket_of(problem) == bucket:
            return problem


def draw_practice(rng: random.Random, bucket: Bucket, *, list_lengths: Sequence[int]) -> tuple[str, str]:
    """Practice for both models, as a prompt (empty for some) and its continuation: a drill, single lines of traces,
    statements to be read, or steps of a problem taken alone."""
    kind = rng.choices(tuple(_PRACTICE_SHARES), tuple(_PRACTICE_SHARES.values()))[0]
    if kind == "lines":
        problems = (draw_problem(rng, bucket) for _ in range(rng.randint(4, 10)))
        return "", "".join(draw_line(rng, problem) for problem in problems) + END
    while kind in ("reading", "alone"):
        problem = draw_problem(rng, bucket, shares=_TEACHER_SHARES)
        practice = work_alone(rng, problem) if kind == "alone" else read_statements(rng, problem)
        if practice is not None:
            return practice
    return draw_drill(rng, list_lengths=list_lengths)


def encode_trace(tokenizer: "PreTrainedTokenizerFast", problem: Problem, *, seed: int, trace: Trace) -> TrainingExample:
    """A problem and its trace rendered by the chat template.

    A token is masked if any character of it is; so a mistake is masked to the last token.
    """
    prompt = render_prompt(problem.question)
    text = prompt + trace.text + END
    encoded = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    weight_of = np.ones(len(text), dtype=np.float32)
    step_of = np.full(len(text), -1, dtype=np.int64)
    weight_of[: len(prompt)] = 0.0
    position = len(prompt)
    for piece in trace.pieces:
        end = position + len(piece.text)
        if not piece.loss:
            weight_of[position:end] = 0.0
        if piece.step is not None:
            weight_of[position:end] = VALUE_WEIGHT
            step_of[position:end] = piece.step
        position = end
    offsets = np.array(encoded.offsets)
    weights = weight_of[offsets[:, 0]] * (weight_of[offsets[:, 1] - 1] > 0)
    steps = step_of[offsets[:, 1] - 1]
    values = []
    for step in np.unique(steps[steps >= 0]):
        at = np.flatnonzero(steps == step)
        values.append((int(step), int(at[0]), int(at[-1]) + 1))
    origin = None if trace.mistakes else Origin(problem, seed, tuple(values))
    return TrainingExample(np.array(encoded.ids), weights, origin)


def encode_text(
    tokenizer: "PreTrainedTokenizerFast", prompt: str, completion: str, *, prompt_weight: float
) -> TrainingExample:
    """A prompt with this loss weight, and a completion with weight 1."""
    encoded = tokenizer.backend_tokenizer.encode(prompt + completion, add_special_tokens=False)
    starts = np.array([start for start, _ in encoded.offsets])
    weights = np.where(starts < len(prompt), prompt_weight, 1.0).astype(np.float32)
    return TrainingExample(np.array(encoded.ids), weights)


def teacher_examples(
    tokenizer: "PreTrainedTokenizerFast", *, seed: int, own: deque[OwnMistake], shares: Callable[[], Shares]
) -> Iterator[TrainingExample]:
    """An infinite stream of traces, clean except for those that correct a mistake: one from the queue `own`, while it
    has any, or a made-up one. Practice is mixed in. `shares` is called before each example for the current shares."""
    rng = random.Random(seed)
    while True:
        now = shares()
        if rng.random() < now.drills:
            practice = draw_practice(rng, Bucket.TEACHER_TRAIN, list_lengths=_LIST_LENGTHS)
            yield encode_text(tokenizer, *practice, prompt_weight=0.0)
            continue
        if own and rng.random() < now.own_mistakes:
            mistake = own.popleft()
            problem, trace_seed, wrong = mistake.origin.problem, mistake.origin.seed, {mistake.step: mistake.value}
        else:
            problem, trace_seed = draw_problem(rng, Bucket.TEACHER_TRAIN, shares=_TEACHER_SHARES), rng.randrange(2**31)
            wrong = _make_up_mistake(rng, problem) if rng.random() < now.made_up_mistakes else None
        trace = write_trace(problem, seed=trace_seed, mistakes=wrong)
        yield encode_trace(tokenizer, problem, seed=trace_seed, trace=trace)


def _make_up_mistake(rng: random.Random, problem: Problem) -> dict[int, str]:
    steps = PROGRAMS[problem.task](problem).steps
    number = rng.randrange(len(steps))
    env: dict[str, str] = {}
    for step in steps[:number]:
        env[step.name] = step.value(env) or ""
    return {number: steps[number].guess(env, rng)}


def pack(examples: Iterator[TrainingExample], *, rows: int, row_length: int, pad: int) -> Iterator[PackedBatch]:
    """Batches of whole examples: each row takes the longest waiting example that still fits, until none does.

    Examples longer than a row are left out.
    """
    fitting_rows = (example for example in examples if len(example.tokens) <= row_length)
    waiting: list[TrainingExample] = []
    while True:
        tokens = np.full((rows, row_length), pad, dtype=np.int64)
        weights = np.zeros((rows, row_length), dtype=np.float32)
        origins: list[tuple[int, int, Origin]] = []
        for row in range(rows):
            column = 0
            while True:
                while len(waiting) < 48:
                    waiting.append(next(fitting_rows))
                # The oldest goes first into an empty row, so that long ones are not starved.
                fitting = [i for i, e in enumerate(waiting) if len(e.tokens) <= row_length - column]
                if not fitting:
                    break
                chosen = max(fitting, key=lambda i: len(waiting[i].tokens)) if column else fitting[0]
                example = waiting.pop(chosen)
                end = column + len(example.tokens)
                tokens[row, column:end], weights[row, column:end] = example.tokens, example.weights
                if example.origin is not None:
                    origins.append((row, column, example.origin))
                column = end
        yield PackedBatch(tokens, weights, tuple(origins))


def find_mistakes(
    batch: PackedBatch, sampled: npt.NDArray[np.int64], tokenizer: "PreTrainedTokenizerFast"
) -> list[OwnMistake]:
    """The first derived value of each example where the model's own samples (rows, row_length), each drawn after the
    right tokens before it, differ from the batch's."""
    found: list[OwnMistake] = []
    for row, column, origin in batch.origins:
        for step, first, last in origin.values:
            span = slice(column + first, column + last)
            if (sampled[row, span] != batch.tokens[row, span]).any():
                wrong = str(tokenizer.decode(sampled[row, span])).strip()
                if wrong and all(c.isalnum() or c in " ," for c in wrong):
                    found.append(OwnMistake(origin, step, wrong))
                break
    return found
