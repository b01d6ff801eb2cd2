"""Rewards of reasoning traces, with TRL's signature, so that each can be used alone in `GRPOTrainer(reward_funcs=[…])`:

    reward(prompts, completions, **columns) -> list[float | None]

A completion is a string or a list of messages (their contents are joined); None leaves a row out, as where the verifier
failed. The columns come from the dataset, a list each, one value a completion:

    answer          the gold answer; needed by correctness, reflection_bond and combined. None: the row is left out
    question        the problem's text, without instructions (default: none, so nothing is tested against it)
    answer_kind     one of AnswerKind, or "auto" (the default)
    choices         the texts of the choices (default: none)
    teacher_length  the median length in characters of the teacher's samples on problems of as many steps
                    (`teacher_lengths`); None or absent: length costs nothing
    teacher_steps   the least number of steps that the way to the answer is taken to have (default: 0)
    verify_function a verifier of one's own, as package.module:name (`verify.function`); it receives the column `task`
    finish_reason   "length" for a completion that was cut off, which has no answer then (default: none was)
    prefilled_think whether the prompt had already opened <think>; default: read off the end of a prompt that is text

    correctness      0 or 1     whether the answer is the gold one; None where the verifier failed
    well_formed      0 or 1     one non-empty thinking block, then one answer
    reflection_bond  -1 to 1    B: how much of the way to the answer a check by another route confirms; above 0 only
                                where the answer is right, -1 if a check states something false; None as above
    false_claims     -1 to 0    -F: what is false and stays uncorrected, or contradicts itself
    length           -1 to 0    -L: clip(length / teacher_length - 1.5, 0, 1)
    repetition       -1 to 0    -P: the share of the text that repeats earlier parts
    combined         -0.1 to    R = correct * (1 + 0.15 B - 0.10 F - 0.05 L - 0.05 P); wrong 0, malformed -0.1;
                     1.15       None as above

`combined` takes other weights by `functools.partial(combined, weights=RewardWeights(…))`, which pickles and keeps its
name in TRL. It logs its parts by TRL's `log_metric` and `log_extra` ("reward/reflection", …) and, as
"reward/structure_share", the share of the advantage's variance that structure has (`structure_share`). `score` gives
the parts of one completion. `guarded(reward)` makes an error that names the reward of one that raises, returns NaN or
the wrong number of values. Use `scale_rewards="none"`: scaled by group, a small difference in structure counts as much
as right and wrong.
"""

from stillery.config.rewards import RewardWeights
from stillery.training.rewards.batches import guarded
from stillery.training.rewards.combined import combined, score
from stillery.training.rewards.functions import (
    correctness,
    false_claims,
    length,
    reflection_bond,
    repetition,
    well_formed,
)
from stillery.training.rewards.lengths import teacher_lengths
from stillery.training.rewards.parts import RewardParts
from stillery.training.rewards.variance import structure_share

__all__ = [
    "RewardParts",
    "RewardWeights",
    "combined",
    "correctness",
    "false_claims",
    "guarded",
    "length",
    "reflection_bond",
    "repetition",
    "score",
    "structure_share",
    "teacher_lengths",
    "well_formed",
]
