"""The combined reward: R = c · (1 + 0.15·B − 0.10·F − 0.05·L − 0.05·P), wrong 0, malformed −0.1."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from stillery.config.rewards import RewardWeights
from stillery.errors import UserError
from stillery.training.rewards.batches import RewardRow, Rewards, checked, read_rows
from stillery.training.rewards.functions import is_correct, is_well_formed, overlength
from stillery.training.rewards.parts import RewardParts
from stillery.training.rewards.repeats import repeated_share
from stillery.training.rewards.structure import find_structure
from stillery.training.rewards.variance import structure_share

_DEFAULTS = RewardWeights()
_LOGGED = ("reflection", "false_claims", "length", "repetition")


def combined(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    *,
    weights: RewardWeights = _DEFAULTS,
    log_metric: Callable[[str, float], None] | None = None,
    log_extra: Callable[[str, list[Any]], None] | None = None,
    **columns: Any,
) -> Rewards:
    """The combined reward of each completion; None where it is undecided.

    Raises UserError for weights by which structure could outweigh right and wrong, and for arguments that `read_rows`
    refuses.
    """
    check_weights(weights)
    rows = read_rows("combined", prompts, completions, columns, needs="answer")
    parts = [score_row(row) for row in rows]
    totals = [part.total(weights) for part in parts]
    if log_metric is not None:
        _log_means(log_metric, parts)
        groups = [json.dumps(prompt, sort_keys=True, default=str) for prompt in prompts]
        share = structure_share(totals, [part.structure(weights) for part in parts], groups)
        if share is not None:
            log_metric("reward/structure_share", share)
    if log_extra is not None:
        for name in ("correct", "well_formed", "num_steps", *_LOGGED):
            log_extra(f"reward/{name}", [getattr(part, name) for part in parts])
    return checked("combined", totals, len(completions))


def score(completion: str, **columns: Any) -> RewardParts:
    """The parts of one completion's reward; `columns` are single values of the rewards' columns."""
    given = {name: [value] for name, value in columns.items()}
    return score_row(read_rows("score", [""], [completion], given)[0])


def score_row(row: RewardRow) -> RewardParts:
    """The parts of the reward of a row."""
    structure = find_structure(row.completion, row.question)
    return RewardParts(
        correct=is_correct(row),
        well_formed=is_well_formed(row),
        num_steps=structure.num_steps,
        reflection=structure.reflection(least_steps=row.teacher_steps),
        false_claims=structure.false_share,
        length=overlength(row),
        repetition=repeated_share(row.completion),
    )


def check_weights(weights: RewardWeights) -> None:
    """Raises UserError where a wrong answer could score as high as a right one, or a malformed completion as high as a
    wrong one."""
    costs = (weights.reflection, weights.false_claims, weights.length, weights.repetition)
    if min(costs) < 0 or sum(costs) >= 1:
        raise UserError(
            f"rewards: reflection, false_claims, length and repetition are {', '.join(map(str, costs))}; each must be "
            "at least 0 and their sum below 1, or a wrong answer could be worth more than a right one"
        )
    if not weights.malformed < 0:
        raise UserError(f"rewards: malformed is {weights.malformed}; it must be below 0, what a wrong answer is worth")


def _log_means(log_metric: Callable[[str, float], None], parts: Sequence[RewardParts]) -> None:
    decided = [part for part in parts if part.correct is not None]
    right = [part for part in decided if part.correct and part.well_formed]
    if parts:
        log_metric("reward/well_formed", sum(part.well_formed for part in parts) / len(parts))
    if decided:
        log_metric("reward/correct", sum(bool(part.correct) for part in decided) / len(decided))
    for name in _LOGGED if right else ():
        log_metric(f"reward/{name}", sum(getattr(part, name) for part in right) / len(right))
