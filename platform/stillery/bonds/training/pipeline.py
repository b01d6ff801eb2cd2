"""The four classifiers of steps and links, each trained on the previous one's outputs for held-out traces."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillery.bonds.claims.evidence import Evidence
from stillery.bonds.classifiers import Floats, Linear, Network, softmax
from stillery.bonds.model.candidates import find_candidates
from stillery.bonds.model.links import LINKS, RULED_OUT
from stillery.bonds.model.mentions import Ints, find_mentions
from stillery.bonds.model.ngrams import step_features
from stillery.bonds.model.pairs import Context, competition_features, context_of, pair_features
from stillery.bonds.model.roles import combine, stacked_features
from stillery.bonds.training.estimators import fit_linear, fit_network
from stillery.bonds.training.graphs import Graph, batches, head_targets, pair_targets

_MIN_COUNT = 8
_PENALTY = 0.1
_NUM_FOLDS = 4
_KEPT_NEGATIVES = 0.3


@dataclass(frozen=True, slots=True)
class AnnotatedTrace:
    """One annotated trace as classifier input: the texts of our steps, the evidence from claims, the annotated step of
    each."""

    graph: Graph
    texts: list[str]
    evidence: Evidence
    nodes: Ints


@dataclass(frozen=True, slots=True)
class Classifiers:
    """The trained classifiers, in the order of use."""

    linear: Linear
    roles: Network
    first: Network
    second: Network


def fit_classifiers(examples: Sequence[AnnotatedTrace], *, seed: int) -> Classifiers:
    """All four, on the same traces. The linear scores that the others learn from are cross-fitted by question."""
    rows = [step_features(e.texts) for e in examples]
    targets = [head_targets(e.graph, e.nodes) for e in examples]
    scores = _cross_fitted(examples, rows, targets, seed)
    linear = _fit_heads(rows, targets, range(len(examples)), seed)
    stacked = [stacked_features(s, e.texts, e.evidence) for s, e in zip(scores, examples, strict=True)]
    roles = fit_network(np.concatenate(stacked), np.concatenate(targets).astype(np.int64), hidden=(48,), seed=seed)
    heads = [combine(a, roles.scores(b)) for a, b in zip(scores, stacked, strict=True)]
    first, second = _fit_links(examples, heads, seed)
    return Classifiers(linear, roles, first, second)


def _fit_heads(rows: Sequence[list[list[str]]], targets: Sequence[Floats], chosen: Sequence[int], seed: int) -> Linear:
    flat = [row for n in chosen for row in rows[n]]
    known = np.concatenate([targets[n] for n in chosen])
    return fit_linear(flat, known, min_count=_MIN_COUNT, penalty=_PENALTY, seed=seed)


def _cross_fitted(
    examples: Sequence[AnnotatedTrace], rows: Sequence[list[list[str]]], targets: Sequence[Floats], seed: int
) -> list[Floats]:
    """Linear scores of each trace by a classifier that saw no trace of its question."""
    scores: list[Floats] = [np.zeros((0, 0), np.float32)] * len(examples)
    for held in batches([e.graph for e in examples], _NUM_FOLDS):
        questions = {g.question_id for g in held}
        inside = [n for n, e in enumerate(examples) if e.graph.question_id in questions]
        linear = _fit_heads(rows, targets, [n for n in range(len(examples)) if n not in set(inside)], seed)
        for n in inside:
            scores[n] = linear.scores(rows[n])
    return scores


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs of one trace with their context; `kinds` is -1 where a pair is not used."""

    context: Context
    i: Ints
    j: Ints
    kinds: Ints


def pairs_of(example: AnnotatedTrace, heads: Floats) -> Pairs:
    """The candidates of one trace, labelled."""
    mentions = find_mentions(example.texts)
    context = context_of(example.texts, mentions, heads, example.evidence)
    i, j = find_candidates(mentions, heads, example.evidence)
    return Pairs(context, i, j, pair_targets(example.graph, example.nodes, i, j))


def _fit_links(examples: Sequence[AnnotatedTrace], heads: Sequence[Floats], seed: int) -> tuple[Network, Network]:
    """The first network on some of the unjoined pairs, the second on all that the first does not rule out."""
    rng = np.random.default_rng(seed)
    pairs = [pairs_of(e, h) for e, h in zip(examples, heads, strict=True)]
    rows = [pair_features(p.context, p.i, p.j) for p in pairs]
    kinds = np.concatenate([p.kinds for p in pairs])
    every = np.concatenate(rows)
    lags = np.concatenate([p.j - p.i for p in pairs])
    chosen = (kinds >= 0) & ((kinds > 0) | (lags <= 2) | (rng.random(len(kinds)) < _KEPT_NEGATIVES))
    weight = np.where((kinds > 0) | (lags <= 2), 1, 1 / _KEPT_NEGATIVES).astype(np.float32)
    first = fit_network(
        every[chosen], kinds[chosen], hidden=(40,), seed=seed, sample_weight=weight[chosen], num_classes=len(LINKS)
    )
    del every
    left: list[Floats] = []
    labels: list[Ints] = []
    for p, row in zip(pairs, rows, strict=True):
        guesses = softmax(first.scores(row))
        kept = 1 - guesses[:, 0] > RULED_OUT
        rivals = competition_features(p.i[kept], p.j[kept], guesses[kept], len(p.context.texts))
        known = p.kinds[kept] >= 0
        left.append(np.concatenate([row[kept], rivals], axis=1)[known])
        labels.append(p.kinds[kept][known])
    second = fit_network(
        np.concatenate(left), np.concatenate(labels), hidden=(64, 32), seed=seed, num_classes=len(LINKS)
    )
    return first, second
