"""The rewards of a refinement: functions with TRL's signature in, one weighted sum out, with every part kept.

In a sum over several functions TRL treats None as 0, and a row that one function leaves out counts again as soon as
another, even one of weight 0, returns a number. So TRL is given one function: a row where a weighted part is None,
because a grader failed, is left out of the update.
"""

import functools
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from stillery.config import RewardWeights, suggest
from stillery.errors import UserError
from stillery.records import Prompt
from stillery.training import rewards as library
from stillery.training.rewards.batches import Reward

NAMES = ("combined", "correctness", "false_claims", "length", "reflection_bond", "repetition", "well_formed")
# These use the length of the teacher's samples.
NEED_TEACHER = ("combined", "length")


@dataclass(frozen=True, slots=True)
class Part:
    """A reward function by its name in the config, and its weight in the sum."""

    name: str
    function: Reward
    weight: float


def load_parts(rewards: Mapping[str, float], weights: RewardWeights) -> list[Part]:
    """The functions that `refine.rewards` names; `weights` are those within `combined`.

    Raises UserError for an unknown name, and where no part has a weight.
    """
    if not any(rewards.values()):
        raise UserError("refine.rewards: no reward has a weight; give at least one")
    return [Part(name, library.guarded(_find(name, weights)), float(weight)) for name, weight in rewards.items()]


def _find(name: str, weights: RewardWeights) -> Reward:
    if ":" not in name:
        if name not in NAMES:
            raise UserError(
                f"refine.rewards: no reward {name!r}{suggest(name, NAMES)}; one's own is package.module:name"
            )
        found = getattr(library, name)
        return functools.partial(found, weights=weights) if name == "combined" else found
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError as error:
        raise UserError(f"refine.rewards.{name}: {module} cannot be imported ({error})") from None
    if not callable(found):
        raise UserError(f"refine.rewards.{name}: {module} has no function {attribute}")
    return cast(Reward, found)


def total(parts: Sequence[Part], scores: Mapping[str, Sequence[float | None]]) -> list[float | None]:
    """The weighted sum for each completion; None where a weighted part is None."""
    weighted = [(part.weight, scores[part.name]) for part in parts if part.weight]
    return [_sum([(w, rewards[row]) for w, rewards in weighted]) for row in range(len(weighted[0][1]))]


def _sum(rewards: Sequence[tuple[float, float | None]]) -> float | None:
    known = [weight * reward for weight, reward in rewards if reward is not None]
    return sum(known) if len(known) == len(rewards) else None


def check_parts(parts: Sequence[Part], prompts: Sequence[Prompt]) -> None:
    """Try the rewards on made-up completions of a few problems, right, wrong and malformed. Raises UserError with the
    name of a reward that raises or returns no number: in a second, where training would find it after minutes."""
    asked: list[Prompt] = []
    completions: list[str] = []
    for prompt in prompts:
        answers = [f"<think>\nIt is {a}.\n</think>\n<answer>{a}</answer>" for a in (prompt.answer, "0", "nothing")]
        made = [*answers, "", "<think>", "<answer></answer>"]
        asked += [prompt] * len(made)
        completions += made
    columns: dict[str, list[Any]] = {name: [getattr(p, name) for p in asked] for name in Prompt.__slots__}
    columns |= {
        "completion_ids": [[0] for _ in asked],
        "teacher_length": [None] * len(asked),
        "teacher_steps": [0] * len(asked),
    }
    for part in parts:
        part.function([prompt.question for prompt in asked], completions, **columns)
