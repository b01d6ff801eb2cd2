"""The teacher's length for a problem of a given number of steps: right samples in, a median length for each prompt
out."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

from stillery.training.rewards.structure import find_structure


def teacher_lengths(samples: Mapping[str, Sequence[str]], questions: Mapping[str, str]) -> dict[str, tuple[float, int]]:
    """For each prompt, the columns `teacher_length` and `teacher_steps`.

    `samples` are the teacher's right completions by prompt id, `questions` the problems' texts. A prompt's number of
    steps is the (lower) median over its samples; its length is the median, in characters, over all samples of prompts
    with that number.
    """
    steps: dict[str, int] = {}
    by_steps: dict[int, list[int]] = defaultdict(list)
    for prompt, texts in samples.items():
        if texts:
            counted = sorted(find_structure(text, questions.get(prompt, "")).num_steps for text in texts)
            steps[prompt] = counted[(len(counted) - 1) // 2]
            by_steps[steps[prompt]] += map(len, texts)
    medians = {number: float(median(lengths)) for number, lengths in by_steps.items()}
    return {prompt: (medians[number], number) for prompt, number in steps.items()}
