"""Attention to earlier steps as predicted by distance alone: the baseline for a head, and for a target's row."""

from collections.abc import Iterable

import numpy as np

from stillery.training.attention.drafts import Draft, Floats, Operand

# Negative where attention grows with distance.
_EXPONENTS = np.arange(-2.0, 4.01, 0.05)


def predict(draft: Draft, operand: Operand, *, decay: float) -> Floats:
    """The shares of an operand's sources if each attracted attention by its length and its distance^-decay alone."""
    distance, length = draft.distance(operand)
    mass = length * distance**-decay
    return mass / mass.sum()


def fit_decay(rows: Iterable[tuple[Draft, Operand, Floats]]) -> float:
    """The decay with the least cross-entropy from the shares of all rows (any value, without rows)."""
    losses = np.zeros(len(_EXPONENTS))
    for draft, operand, shares in rows:
        distance, length = draft.distance(operand)
        logits = np.log(length) - _EXPONENTS[:, None] * np.log(distance)
        logits -= logits.max(axis=1, keepdims=True)
        losses -= (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))) @ shares
    return float(_EXPONENTS[losses.argmin()])


def departure(shares: Floats, predicted: Floats) -> float:
    """The difference between shares and the prediction by distance: total variation, 0 to 1."""
    return float(np.abs(shares - predicted).sum() / 2)


def concordance(scores: Floats, shares: Floats) -> Floats:
    """How well scores of shape (..., S) separate the sources that an operand rests on from the others (AUC): the share
    of pairs of one and another in which it has the higher score, a tie counting half. NaN without such a pair."""
    true, other = scores[..., shares > 0], scores[..., shares == 0]
    if not true.size or not other.size:
        return np.full(scores.shape[:-1], np.nan)
    above = true[..., :, None] > other[..., None, :]
    equal = true[..., :, None] == other[..., None, :]
    return (above + 0.5 * equal).mean(axis=(-2, -1))
