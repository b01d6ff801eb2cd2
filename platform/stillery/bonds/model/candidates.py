"""For each step, the earlier ones it may depend on: a window, and beyond it those suggested by mentions, roles and
claims."""

import numpy as np
from numpy.typing import NDArray

from stillery.bonds.claims.evidence import Evidence
from stillery.bonds.classifiers import Floats
from stillery.bonds.model.mentions import Ints, Mentions
from stillery.bonds.model.roles import HEADS

_WINDOW = 20
_MAX_MENTIONED = 10
_MIN_WEIGHT = 0.3
_PLAN, _CONCLUSION = HEADS.index("planning"), HEADS.index("conclusion")
_NUM_PLANS, _NUM_CONCLUSIONS = 3, 8


def find_candidates(mentions: Mentions, heads: Floats, evidence: Evidence) -> tuple[Ints, Ints]:
    """Pairs of an earlier and a later step, ordered by the later one, each once. Linear in the number of steps."""
    size = len(heads)
    lags = np.arange(1, _WINDOW + 1)
    later = np.repeat(np.arange(size), _WINDOW)
    keys = [_keys(later - np.tile(lags, size), later, size)]
    matrix = (mentions.last + mentions.earlier + mentions.first).tocoo()
    keys.append(_heaviest(matrix.row, matrix.col, np.asarray(matrix.data, np.float32), size))
    plans = _latest(heads[:, _PLAN] > 0.4, _NUM_PLANS)
    keys += [_keys(column, np.arange(size), size) for column in plans.T]
    ends = _latest(heads[:, _CONCLUSION] > 0.3, _NUM_CONCLUSIONS)
    ends[heads[:, _CONCLUSION] <= 0.2] = -1
    keys += [_keys(column, np.arange(size), size) for column in ends.T]
    exact = np.array([(f.source, f.target) for f in [*evidence.uses, *evidence.returns]], np.int64).reshape(-1, 2)
    keys.append(_keys(exact[:, 0], exact[:, 1], size))
    found = np.unique(np.concatenate(keys))
    return found % max(1, size), found // max(1, size)


def _keys(i: Ints, j: Ints, size: int) -> Ints:
    valid = (i >= 0) & (i < j)
    return j[valid] * size + i[valid]


def _heaviest(j: Ints, i: Ints, weight: Floats, size: int) -> Ints:
    """The pairs beyond the window with the largest shared weight, a few for each later step."""
    far = (j - i > _WINDOW) & (weight >= _MIN_WEIGHT)
    j, i, weight = j[far].astype(np.int64), i[far].astype(np.int64), weight[far]
    order = np.lexsort((i, -weight, j))
    j, i = j[order], i[order]
    starts = np.flatnonzero(np.diff(j, prepend=-1)) if len(j) else np.zeros(0, np.int64)
    rank = np.arange(len(j)) - np.repeat(starts, np.diff(np.append(starts, len(j)))) if len(j) else j
    return _keys(i[rank < _MAX_MENTIONED], j[rank < _MAX_MENTIONED], size)


def _latest(marked: NDArray[np.bool_], count: int) -> Ints:
    """For each step, the last few marked steps before it, -1 where there are none."""
    at = np.flatnonzero(marked)
    before = np.searchsorted(at, np.arange(len(marked)))[:, None] - np.arange(1, count + 1)
    return np.where(before >= 0, at[np.maximum(before, 0)] if len(at) else -1, -1)
