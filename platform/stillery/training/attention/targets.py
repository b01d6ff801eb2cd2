"""Turns drafts and shares of attention into a student's attention targets, and checks that a target fits its sample."""

import math
from collections.abc import Iterable

from stillery.errors import UserError
from stillery.records import AttentionRow, AttentionTarget, Sample, digest
from stillery.training.attention.distance import departure, predict
from stillery.training.attention.drafts import Draft, Floats, Operand, texts_of


def make_target(
    sample: Sample, draft: Draft, rows: Iterable[tuple[Operand, Floats]], *, decay: float, max_rows: int
) -> AttentionTarget:
    """The target of a sample: for each operand its shares, times their difference from the prediction by distance
    alone. The `max_rows` rows with the largest difference stay."""
    found: list[AttentionRow] = []
    for operand, shares in rows:
        weight = departure(shares, predict(draft, operand, decay=decay))
        if weight > 0:
            found.append(AttentionRow(operand.start, operand.end, [float(share * weight) for share in shares]))
    kept = sorted(found, key=lambda row: -sum(row.mass))[:max_rows]
    return AttentionTarget(
        sample.sample_id, text_digest(sample), draft.sources, sorted(kept, key=lambda row: row.start)
    )


def no_target(sample: Sample, reason: str) -> AttentionTarget:
    """The target of a sample for which none could be made."""
    return AttentionTarget(sample.sample_id, text_digest(sample), [], [], reason)


def text_digest(sample: Sample) -> str:
    """The digest of the texts that a target's positions refer to."""
    return digest("attention", *texts_of(sample))


def check_target(target: AttentionTarget, sample: Sample) -> None:
    """Raise UserError unless the target belongs to this sample, and its sources and rows lie within its texts."""
    if target.sample_id != sample.sample_id:
        raise _misfit(sample, f"in its place stands the target of sample {target.sample_id}")
    if target.text != text_digest(sample):
        raise _misfit(sample, "it was made for another question or completion")
    question, completion = texts_of(sample)
    last = (False, 0)
    for number, source in enumerate(target.sources):
        length = len(question) if source.of_question else len(completion)
        here = (not source.of_question, source.start)
        if here < last or not source.start < source.end <= length:
            raise _misfit(sample, f"its source {number} ({source.start} to {source.end}) does not fit the text")
        last = (not source.of_question, source.end)
    for number, row in enumerate(target.rows):
        before = target.sources[: len(row.mass)]
        if len(before) < len(row.mass) or not row.start < row.end <= len(completion):
            raise _misfit(sample, f"its row {number} ({row.start} to {row.end}) does not fit the text")
        if any(not s.of_question and s.end > row.start for s in before):
            raise _misfit(sample, f"its row {number} attends to a step that ends behind it")
        if not all(math.isfinite(mass) and mass >= 0 for mass in row.mass) or not 0 < sum(row.mass) <= 1 + 1e-6:
            raise _misfit(sample, f"its row {number} has masses that are no shares of a weight from 0 to 1")


def _misfit(sample: Sample, why: str) -> UserError:
    return UserError(
        f"attention target of sample {sample.sample_id}: {why}; make the targets again from these samples "
        "(`stillery attention`)"
    )
