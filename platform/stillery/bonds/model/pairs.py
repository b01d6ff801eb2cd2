"""Numeric features of pairs of steps: distance, shared mentions, the steps' roles, the steps between."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from stillery.bonds.claims.evidence import Evidence
from stillery.bonds.classifiers import Floats
from stillery.bonds.model.layout import layout_features, paragraphs_of
from stillery.bonds.model.mentions import Ints, Mentions, look_up, overlap
from stillery.bonds.model.roles import HEADS, REFLECTS

_SUMMED = tuple(HEADS.index(h) for h in ("planning", "conclusion", "reflection", "assumption", "leaves", "reasoning"))
_TYPICAL = tuple(HEADS.index(h) for h in ("follows", "reflects", "rests on many", "used far", "reaches far"))
_LAST = tuple(HEADS.index(h) for h in ("planning", "conclusion", "assumption"))


@dataclass(frozen=True, slots=True)
class Context:
    """The features of a trace's steps before their pairs are scored."""

    texts: list[str]
    mentions: Mentions
    heads: Floats
    evidence: Evidence
    layout: Floats
    paragraphs: Floats


def context_of(texts: list[str], mentions: Mentions, heads: Floats, evidence: Evidence) -> Context:
    """The context of a trace's steps."""
    return Context(texts, mentions, heads, evidence, layout_features(texts), paragraphs_of(texts))


def pair_features(context: Context, i: Ints, j: Ints) -> Floats:
    """One row for each pair of an earlier step `i` and a later one `j`."""
    parts = [
        _distances(context, i, j),
        _shared(context.mentions, i, j),
        _claims(context.evidence, len(context.heads), i, j),
        _between(context.heads, i, j),
        context.heads[i],
        context.heads[j],
        context.layout[i],
        context.layout[j],
        np.broadcast_to(_typical(context.heads), (len(i), len(_TYPICAL) + 1)),
    ]
    return np.concatenate(parts, axis=1)


def _typical(heads: Floats) -> Floats:
    """The averages over the steps of this trace."""
    return np.append(heads[:, _TYPICAL].mean(axis=0), np.log1p(len(heads)) / 5).astype(np.float32)


def _distances(context: Context, i: Ints, j: Ints) -> Floats:
    lag = (j - i).astype(np.float32)
    paragraphs = context.paragraphs[j] - context.paragraphs[i]
    indent = context.layout[j, 7] - context.layout[i, 7]
    columns = [
        np.log(lag), 1 / lag, lag == 1, lag == 2, lag == 3, lag <= 6, lag / np.maximum(1, j), np.log1p(i), np.log1p(j),
        paragraphs == 0, paragraphs == 1, np.log1p(paragraphs), indent, indent == 0,
        context.layout[np.minimum(i + 1, len(context.layout) - 1), 0],
    ]  # fmt: skip
    return np.stack(columns, axis=1).astype(np.float32)


def _shared(m: Mentions, i: Ints, j: Ints) -> Floats:
    words, maths = overlap(m.words, m.words, i, j), overlap(m.maths, m.maths, i, j)
    both = words + maths
    last, earlier, first = (look_up(matrix, j, i) for matrix in (m.last, m.earlier, m.first))
    mine, theirs = m.totals[j] + 0.1, m.totals[i] + 0.1
    columns = [
        np.sqrt(words), np.sqrt(maths), both / mine, both / theirs, both / np.sqrt(mine * theirs),
        np.sqrt(last), np.sqrt(earlier), np.sqrt(first), last / mine, first / mine,
        np.sqrt(overlap(m.results, m.maths, i, j)), np.sqrt(overlap(m.results, m.results, i, j)), mine, theirs,
    ]  # fmt: skip
    return np.stack(columns, axis=1).astype(np.float32)


def _claims(evidence: Evidence, size: int, i: Ints, j: Ints) -> Floats:
    """Pairs come ordered by the later step, then by the earlier, so that each finding is looked up once."""
    rows = np.zeros((len(i), 4), np.float32)
    keys = j * size + i
    columns = {True: 1, False: 2, None: 3}
    found = [(f.target * size + f.source, 0) for f in evidence.uses if f.source >= 0]
    found += [(f.target * size + f.source, columns[f.verifies]) for f in evidence.returns if f.source >= 0]
    if found and len(keys):
        wanted, column = np.array(found, np.int64).T
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        is_there = keys[at] == wanted
        rows[at[is_there], column[is_there]] = 1
    return rows


def _between(heads: Floats, i: Ints, j: Ints) -> Floats:
    """The number of plans, conclusions and the like between the two, and whether the earlier one is the last of its
    kind."""
    sums = np.concatenate([np.zeros((1, heads.shape[1]), np.float32), np.cumsum(heads, axis=0)])
    inside = sums[j] - sums[i + 1]
    counted = np.log1p(np.maximum(inside[:, _SUMMED], 0))
    last = heads[i][:, _LAST] * np.exp(-np.maximum(inside[:, _LAST], 0))
    both = heads[i][:, REFLECTS] * heads[j][:, REFLECTS]
    return np.concatenate([counted, last, both[:, None]], axis=1)


def competition_features(i: Ints, j: Ints, probabilities: Floats, size: int) -> Floats:
    """The first network's scores for each pair: its own odds by kind, those of its rivals, which other steps depend on
    the earlier step, and whether the step before depends on the same."""
    p = np.clip(1 - probabilities[:, 0], 1e-4, 1 - 1e-4)
    best = np.zeros(size, np.float32)
    np.maximum.at(best, j, p)
    total = np.bincount(j, weights=p, minlength=size)
    taken = np.bincount(i, weights=p, minlength=size)
    order = np.lexsort((j, i))
    running = np.cumsum(p[order])
    starts = np.flatnonzero(np.diff(i[order], prepend=-1)) if len(i) else np.zeros(0, np.int64)
    base = (running - p[order])[starts]
    until = np.empty(len(p))
    until[order] = running - p[order] - np.repeat(base, np.diff(np.append(starts, len(i))))
    rank = np.empty(len(p))
    by_rank = np.lexsort((-p, j))
    firsts = np.flatnonzero(np.diff(j[by_rank], prepend=-1)) if len(j) else np.zeros(0, np.int64)
    rank[by_rank] = np.arange(len(p)) - np.repeat(firsts, np.diff(np.append(firsts, len(j))))
    matrix = csr_matrix((p, (j, i)), (size, size))
    beside = [look_up(matrix, np.clip(j + d, 0, size - 1), i) for d in (-1, -2, 1)]
    to_before = look_up(matrix, np.maximum(j - 1, 0), i) * look_up(matrix, j, np.maximum(j - 1, 0))
    sibling = look_up(matrix, j, np.minimum(i + 1, size - 1)) * look_up(matrix, np.minimum(i + 1, size - 1), i)
    older = look_up(matrix, j, np.maximum(i - 1, 0))
    newer = look_up(matrix, j, np.minimum(i + 1, size - 1))
    columns = [
        np.log(p / (1 - p)), p / best[j], total[j] - p, np.log1p(taken[i]), np.log1p(until), 1 / (1 + rank), rank == 0,
        *beside, to_before, sibling, older, newer, total[np.maximum(j - 1, 0)],
    ]  # fmt: skip
    return np.concatenate([probabilities, np.stack(columns, axis=1).astype(np.float32)], axis=1)
