"""The role of each step of a trace: probabilities of its role and of its links to other steps.

Two classifiers in a row: a linear one on the n-grams of a step and its neighbours, then a small network on the linear
one's scores of five consecutive steps, on their layout, and on the evidence from their claims.
"""

from collections.abc import Sequence

import numpy as np

from stillery.bonds.claims.evidence import Evidence
from stillery.bonds.classifiers import Floats, Linear, Network, sigmoid
from stillery.bonds.model.layout import layout_features
from stillery.bonds.model.ngrams import step_features

ROLES = ("planning", "fact", "reasoning", "restatement", "assumption", "example", "reflection", "conclusion")
# The traits of a step: whether it reflects (by its role or by a link that ends in it), and which links end in it.
TRAITS = ("reflects", "follows", "checks", "remarks", "restates", "carries out", "leaves", "plans on", "used far",
          "rests on none", "rests on many", "reaches far", "skips one", "used again")  # fmt: skip
HEADS = (*ROLES, *TRAITS)
REFLECTS = HEADS.index("reflects")
_REACH = 2


def linear_scores(texts: Sequence[str], linear: Linear) -> Floats:
    """The linear classifier's scores of each step, one column for each head."""
    return linear.scores(step_features(texts))


def stacked_features(scores: Floats, texts: Sequence[str], evidence: Evidence) -> Floats:
    """The network's inputs for each step: the scores of its neighbourhood, its layout, its position, its claims."""
    size = len(scores)
    padded = np.pad(scores, ((_REACH, _REACH), (0, 0)), constant_values=-4)
    window = [padded[k : k + size] for k in range(2 * _REACH + 1)]
    layout = layout_features(texts)
    around = np.pad(layout, ((1, 1), (0, 0)))
    claims = np.zeros((size, 4), np.float32)
    for finding in evidence.returns:
        claims[finding.target, {True: 0, False: 1, None: 2}[finding.verifies]] = 1
    for finding in evidence.uses:
        claims[finding.target, 3] = 1
    place = np.arange(size, dtype=np.float32)
    ends = [np.log1p(place), np.log1p(size - 1 - place), np.full(size, np.log1p(size))]
    places = np.stack([place / max(1, size), *ends], axis=1)
    rows = [*window, layout, around[:-2], around[2:], claims, places]
    return np.concatenate(rows, axis=1).astype(np.float32)


def head_probabilities(texts: Sequence[str], evidence: Evidence, *, linear: Linear, network: Network) -> Floats:
    """One row per step, one column for each of `HEADS`."""
    scores = linear_scores(texts, linear)
    return combine(scores, network.scores(stacked_features(scores, texts, evidence)))


def combine(linear: Floats, network: Floats) -> Floats:
    """The mean of both classifiers: the network is better on common cases, the linear one on rare ones."""
    return np.asarray((sigmoid(linear) + sigmoid(network)) / 2, np.float32)
