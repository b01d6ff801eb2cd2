"""The single rewards, described in the package's docstring; all have TRL's signature."""

import re
from collections.abc import Sequence
from typing import Any

from stillery.bonds.steps.markers import is_filler
from stillery.records import FAILURES, VerdictKind
from stillery.training.rewards.batches import RewardRow, Rewards, read_rows
from stillery.training.rewards.repeats import repeated_share
from stillery.training.rewards.structure import find_structure
from stillery.verify import grade
from stillery.verify.template import parse_template

_SLACK = 1.5
_ANSWER_TAG = re.compile(r"</?answer\s*>", re.IGNORECASE)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")


def correctness(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> Rewards:
    """1 where the answer is the gold one, else 0; None where the verifier failed and where there is no gold answer."""
    rows = read_rows("correctness", prompts, completions, columns, needs="answer")
    return [None if (right := is_correct(row)) is None else float(right) for row in rows]


def well_formed(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> Rewards:
    """1 for one non-empty thinking block and then one answer, else 0."""
    rows = read_rows("well_formed", prompts, completions, columns)
    return [float(is_well_formed(row)) for row in rows]


def reflection_bond(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> Rewards:
    """B: the checks by another route on the way to the answer. Never above 0 where the answer is wrong or the
    completion malformed; None where it is undecided."""
    rows = read_rows("reflection_bond", prompts, completions, columns, needs="answer")
    return [_gated_reflection(row) for row in rows]


def false_claims(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> Rewards:
    """−F: false statements that stay uncorrected, whether or not the answer is right."""
    rows = read_rows("false_claims", prompts, completions, columns)
    return [-find_structure(row.completion, row.question).false_share for row in rows]


def length(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> Rewards:
    """−L: a completion's excess over 1.5 times the teacher's median length, as a fraction of that median, at most 1."""
    rows = read_rows("length", prompts, completions, columns)
    return [-overlength(row) for row in rows]


def repetition(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> Rewards:
    """−P: the share of a completion's runs of 12 tokens that had occurred in it before."""
    rows = read_rows("repetition", prompts, completions, columns)
    return [-repeated_share(row.completion) for row in rows]


def is_correct(row: RewardRow) -> bool | None:
    """Whether the answer is the gold one; None where the verifier failed or there is none."""
    verdict = grade(
        row.completion,
        answer=row.answer,
        answer_kind=row.answer_kind,
        choices=row.choices,
        finish_reason=row.finish_reason,
        prefilled_think=row.prefilled_think,
        question=row.question,
        task=row.task,
        function=row.verify_function,
    ).verdict
    if verdict in FAILURES or verdict == VerdictKind.UNCHECKED:
        return None
    return verdict == VerdictKind.CORRECT


def is_well_formed(row: RewardRow) -> bool:
    """Whether there is one non-empty thinking block, then one answer, and no other answer anywhere."""
    parts = parse_template(row.completion, prefilled_think=row.prefilled_think)
    is_plain = len(_ANSWER_TAG.findall(row.completion)) == 2 and len(_BOX.findall(parts.answer or "")) <= 1
    return parts.state == "ok" and is_plain and not _says_nothing(parts.thinking or "")


def _says_nothing(thinking: str) -> bool:
    return is_filler(thinking) or not any(c.isalnum() for c in thinking)


def overlength(row: RewardRow) -> float:
    """L = clip(length / the teacher's − 1.5, 0, 1); 0 where the teacher's length is unknown."""
    if not row.teacher_length:
        return 0.0
    return min(1.0, max(0.0, len(row.completion) / row.teacher_length - _SLACK))


def _gated_reflection(row: RewardRow) -> float | None:
    right = is_correct(row)
    if right is None:
        return None
    value = find_structure(row.completion, row.question).reflection(least_steps=row.teacher_steps)
    return value if right and is_well_formed(row) else min(0.0, value)
