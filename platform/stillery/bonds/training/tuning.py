"""Thresholds and calibration, on held-out traces."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from stillery.bonds.classifiers import Floats
from stillery.bonds.model.bonding import decide
from stillery.bonds.model.links import Links
from stillery.bonds.training.graphs import pair_targets
from stillery.bonds.training.pipeline import AnnotatedTrace
from stillery.bonds.training.scores import Scores, score_decision

_NEXT = (0.2, 0.25, 0.3, 0.35, 0.4)
_FAR = (0.18, 0.21, 0.24, 0.27, 0.3, 0.33)
_REFLECTS = (0.25, 0.3, 0.35, 0.4)
_NUM_KNOTS = 21


def tune_thresholds(examples: Sequence[AnnotatedTrace], links: Sequence[Links]) -> dict[str, float]:
    """The thresholds with the best F1 of links, of links beyond the next step (by a third) and of reflecting steps."""
    best, chosen = -1.0, {"next": 0.4, "far": 0.3, "reflects": 0.3}
    for near, far, reflects in product(_NEXT, _FAR, _REFLECTS):
        thresholds = {"next": near, "far": far, "reflects": reflects}
        total = score_links(examples, links, thresholds).total()
        if total > best:
            best, chosen = total, thresholds
    return chosen


def score_links(examples: Sequence[AnnotatedTrace], links: Sequence[Links], thresholds: dict[str, float]) -> Scores:
    """The scores of all traces under given thresholds."""
    scores = Scores()
    for example, found in zip(examples, links, strict=True):
        score_decision(scores, example, found, decide(found, thresholds))
    return scores


def calibrate(examples: Sequence[AnnotatedTrace], links: Sequence[Links]) -> Floats:
    """An isotonic map from the classifier's probability to the observed frequency of a link: two rows, its knots and
    values."""
    from sklearn.isotonic import IsotonicRegression

    said, true = said_and_true(examples, links)
    fitted = IsotonicRegression(out_of_bounds="clip").fit(said, true)
    knots = np.quantile(said, np.linspace(0, 1, _NUM_KNOTS))
    knots = np.unique(np.concatenate([knots, np.linspace(said.min(), said.max(), _NUM_KNOTS)]))
    return np.stack([knots, fitted.predict(knots)]).astype(np.float32)


def said_and_true(examples: Sequence[AnnotatedTrace], links: Sequence[Links]) -> tuple[Floats, Floats]:
    """For every pair that was not ruled out, the predicted probability of a link and whether there is one."""
    said = [1 - found.probabilities[:, 0] for found in links]
    kinds = [pair_targets(e.graph, e.nodes, found.i, found.j) for e, found in zip(examples, links, strict=True)]
    known = np.concatenate(kinds) >= 0
    return np.concatenate(said)[known], (np.concatenate(kinds)[known] > 0).astype(np.float32)
