"""Bond statistics of a corpus: the shares of the kinds, the transitions between them, and the divergence of two
corpora.

`pi(b)` is the share of each kind among all bonds; `P(b'|b)` says which kind comes next along the trace, given one (the
two quantities of arXiv 2601.06002). A molecule's bonds join any two steps and a step may carry several, so "next" is
defined on steps: the bonds that arrive at a step follow those that arrive at the last step before it that any bond
arrives at, each pair of kinds weighing 1 / (number of pairs), so that a step passed counts once however many bonds it
carries.

The trace is the unit of sampling, or the problem where `problems` says which traces share one: bonds of one trace are
no more independent than samples of one problem. So intervals resample traces, and nulls shuffle traces.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from stillery.records import BondKind, Molecule

KINDS = tuple(kind.value for kind in BondKind)
_INDEX = {kind: index for index, kind in enumerate(KINDS)}

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its percentile-bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BondStatistics:
    """`marginal` is pi(b); `transitions[b][b']` is P(b'|b), without the rows of kinds that are never followed by a
    bond."""

    num_traces: int
    num_bonds: int
    num_transitions: int
    marginal: dict[str, Interval]
    transitions: dict[str, dict[str, Interval]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One Jensen-Shannon divergence in bits, from 0 to 1, beside its value by chance alone.

    `null_mean` and `null_high` (95%) are of the same corpora with the traces' labels shuffled, `p_value` the share of
    shuffles at least as far apart. `split_left` and `split_right` are each corpus against itself, the mean over
    random halves, None for a corpus of one trace; halves are smaller samples, so they lie a little high.
    """

    value: float
    null_mean: float
    null_high: float
    p_value: float
    split_left: float | None
    split_right: float | None


@dataclass(frozen=True, slots=True)
class Divergence:
    """Two corpora compared: by the kinds' shares, and by their transitions beyond what the shares explain."""

    num_left: int
    num_right: int
    marginal: Comparison
    transitions: Comparison


def bond_statistics(
    molecules: Sequence[Molecule],
    *,
    problems: Mapping[str, str] | None = None,
    confidence: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> BondStatistics:
    """The marginal and the transition matrix of a corpus, with bootstrap intervals over traces.

    `problems` maps sample_id to prompt_id; with it, whole problems are resampled. Raises ValueError if no molecule has
    a bond.
    """
    bonds, pairs = pattern_counts(molecules)
    if not bonds.sum():
        raise ValueError(f"none of {len(molecules)} molecules has a bond: there are no shares to estimate")
    groups = _groups(molecules, problems)
    num_groups = int(groups.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=num_resamples)[:, groups]
    marginals = _shares(drawn @ bonds)
    rows = _shares((drawn @ pairs.reshape(-1, len(KINDS) ** 2)).reshape(-1, len(KINDS), len(KINDS)))
    pooled = pairs.sum(axis=0)
    return BondStatistics(
        num_traces=len(molecules),
        num_bonds=int(bonds.sum()),
        num_transitions=round(float(pooled.sum())),
        marginal=_intervals(_shares(bonds.sum(axis=0)), marginals, confidence),
        transitions={
            kind: _intervals(_shares(pooled[i]), rows[:, i], confidence)
            for i, kind in enumerate(KINDS)
            if pooled[i].sum() > 0
        },
    )


def bond_divergence(
    left: Sequence[Molecule],
    right: Sequence[Molecule],
    *,
    problems: Mapping[str, str] | None = None,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Divergence:
    """The divergence of two corpora's bond patterns, such as a teacher's and its student's, beside a null.

    With `problems` (sample_id to prompt_id) labels are shuffled within each problem, which takes the problems'
    difficulty out of the comparison. Raises ValueError if a corpus has no bond or no problem is in both.
    """
    molecules = [*left, *right]
    bonds, pairs = pattern_counts(molecules)
    in_left = np.arange(len(molecules)) < len(left)
    for name, mask in (("left", in_left), ("right", ~in_left)):
        if not bonds[mask].sum():
            raise ValueError(f"the {name} corpus of {int(mask.sum())} molecules has no bond: nothing to compare")
    groups = np.zeros(len(molecules), dtype=np.int64) if problems is None else _groups(molecules, problems)
    if problems is not None and not set(groups[in_left]) & set(groups[~in_left]):
        raise ValueError("no problem has traces in both corpora; compare them without `problems`")
    rng = np.random.default_rng(seed)
    features = np.concatenate([bonds, pairs.reshape(len(molecules), -1)], axis=1)
    value = _divergences(features, in_left[None])
    null = _divergences(features, _shuffled(in_left, groups, num=num_resamples, rng=rng))
    splits = [_split_halves(features[mask], num=num_resamples, rng=rng) for mask in (in_left, ~in_left)]
    marginal, transitions = (
        _compare(value[0, i], null[:, i], [s if s is None else s[i] for s in splits]) for i in (0, 1)
    )
    return Divergence(len(left), len(right), marginal, transitions)


def pattern_counts(molecules: Sequence[Molecule]) -> tuple[Array, Array]:
    """For each molecule the number of bonds of each kind, and the weight of each pair of successive kinds."""
    bonds = np.zeros((len(molecules), len(KINDS)))
    pairs = np.zeros((len(molecules), len(KINDS), len(KINDS)))
    for index, molecule in enumerate(molecules):
        arrivals: dict[int, list[int]] = {}
        for bond in molecule.bonds:
            bonds[index, _INDEX[bond.kind]] += 1
            arrivals.setdefault(bond.target, []).append(_INDEX[bond.kind])
        for earlier, later in pairwise(sorted(arrivals)):
            weight = 1 / (len(arrivals[earlier]) * len(arrivals[later]))
            for first, second in product(arrivals[earlier], arrivals[later]):
                pairs[index, first, second] += weight
    return bonds, pairs


def _groups(molecules: Sequence[Molecule], problems: Mapping[str, str] | None) -> NDArray[np.int64]:
    """The index of each molecule's problem, or its own index."""
    if problems is None:
        return np.arange(len(molecules))
    if unknown := [m.sample_id for m in molecules if m.sample_id not in problems]:
        raise ValueError(f"`problems` lacks {len(unknown)} of the samples, such as {unknown[0]!r}")
    names = [problems[m.sample_id] for m in molecules]
    return np.unique(names, return_inverse=True)[1]


def _shares(counts: Array) -> Array:
    """Counts as shares along the last axis; NaN where there are none."""
    totals = counts.sum(axis=-1, keepdims=True)
    return np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)


def _intervals(value: Array, resampled: Array, confidence: float) -> dict[str, Interval]:
    """Percentile intervals; resamples without any count are left out."""
    known = resampled[~np.isnan(resampled).any(axis=1)]
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return {kind: Interval(float(v), float(a), float(b)) for kind, v, a, b in zip(KINDS, value, low, high, strict=True)}


def _divergences(features: Array, masks: NDArray[np.bool_]) -> Array:
    """For each mask (row) the divergences of the marginals and of the transitions between inside and outside.

    The latter is the information that corpus membership gives about b' once b is known: by the chain rule, the
    divergence of the pairs (b, b') minus that of their first members. So it is 0 where only the shares differ.
    """
    inside = masks.astype(np.float64) @ features
    outside = features.sum(axis=0) - inside
    split = len(KINDS)
    marginal = _divergence_of_counts(inside[:, :split], outside[:, :split])
    pairs = (inside[:, split:], outside[:, split:])
    firsts = [part.reshape(-1, split, split).sum(axis=2) for part in pairs]
    following = _divergence_of_counts(*pairs) - _divergence_of_counts(*firsts)
    return np.stack([marginal, np.maximum(following, 0.0)], axis=1)


def _divergence_of_counts(left: Array, right: Array) -> Array:
    """In bits; 0 where one side has no counts: unobserved corpora cannot differ."""
    from scipy.spatial.distance import jensenshannon

    # Equal distributions may come out a rounding error below zero, whose root is not a number.
    with np.errstate(invalid="ignore"):
        distance = jensenshannon(_shares(left), _shares(right), base=2, axis=-1)  # pyright: ignore[reportCallIssue]
    return np.nan_to_num(distance**2)


def _shuffled(
    labels: NDArray[np.bool_], groups: NDArray[np.int64], *, num: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Rows of labels shuffled within each group."""
    rows = np.repeat(labels[None], num, axis=0)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        rows[:, members] = rng.permuted(rows[:, members], axis=1)
    return rows


def _split_halves(features: Array, *, num: int, rng: np.random.Generator) -> Array | None:
    """The mean divergences between random halves of one corpus."""
    if len(features) < 2:
        return None
    labels = np.arange(len(features)) < len(features) // 2
    rows = _shuffled(labels, np.zeros(len(features), dtype=np.int64), num=num, rng=rng)
    return _divergences(features, rows).mean(axis=0)


def _compare(value: float, null: Array, splits: Sequence[float | None]) -> Comparison:
    # The observed labelling is one of the possible ones, so no p-value is below 1 / (shuffles + 1).
    as_far = int((null >= value - 1e-12).sum())
    left, right = (None if split is None else float(split) for split in splits)
    return Comparison(
        value=float(value),
        null_mean=float(null.mean()),
        null_high=float(np.quantile(null, 0.95)),
        p_value=(as_far + 1) / (len(null) + 1),
        split_left=left,
        split_right=right,
    )
