"""What each step mentions (words, quantities, symbols) and where it was mentioned before: first, last, second to last.

All of it as sparse matrices over the steps, so that a step's support is found however far back it is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from stillery.bonds.claims.reading import STOP_WORDS, stem
from stillery.bonds.classifiers import Floats

Ints = NDArray[np.int64]

_TERM = re.compile(r"(?P<maths>[^\s,;:$\"“”*]*[\d=^+/\\_<>≈][^\s,;:$\"“”*]*)|(?P<word>[^\W\d_]+)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?|\\?[a-zA-Z]+(?:_\{?\w\}?)?")
_SAYS = re.compile(r"[^\W_]")
_MAX_CHARS = 1500
_MAX_TERMS = 60
_REACH = 3
_CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class Mentions:
    """Weighted terms of the steps (one row per step), and where each was mentioned before."""

    terms: Sequence[frozenset[str]]
    weights: dict[str, float]
    words: csr_matrix
    maths: csr_matrix
    results: csr_matrix
    last: csr_matrix
    earlier: csr_matrix
    first: csr_matrix
    totals: Floats


def find_mentions(texts: Sequence[str]) -> Mentions:
    """The mentions of a trace. Terms that most of its steps share weigh next to nothing."""
    found = [_terms(text) for text in texts]
    ids: dict[str, int] = {}
    rows: list[int] = []
    columns: list[int] = []
    for i, (terms, _) in enumerate(found):
        rows += [i] * len(terms)
        columns += [ids.setdefault(term, len(ids)) for term in terms]
    row, column = np.array(rows, np.int64), np.array(columns, np.int64)
    shape = (len(texts), max(1, len(ids)))
    counts = np.bincount(column, minlength=shape[1])
    idf = (np.log((len(texts) + 1) / (counts + 0.5)) / np.log(len(texts) + 2)).clip(0.02).astype(np.float32)
    is_maths = np.array([not term.isalpha() or len(term) == 1 for term in ids] or [False])[column]
    root = np.sqrt(idf)[column]
    order = np.lexsort((row, column))
    back = [_back(row[order], column[order], idf, k, len(texts)) for k in range(1, _REACH + 1)]
    tails = [(i, ids[t]) for i, (_, tail) in enumerate(found) for t in tail if t in ids]
    tail_row = np.array([i for i, _ in tails], np.int64)
    tail_column = np.array([t for _, t in tails], np.int64)
    return Mentions(
        [frozenset(terms) for terms, _ in found],
        {term: float(idf[at]) for term, at in ids.items()},
        csr_matrix((root[~is_maths], (row[~is_maths], column[~is_maths])), shape),
        csr_matrix((root[is_maths], (row[is_maths], column[is_maths])), shape),
        csr_matrix((np.sqrt(idf)[tail_column], (tail_row, tail_column)), shape),
        back[0],
        back[1] + back[2],
        _first(row[order], column[order], idf, len(texts)),
        np.bincount(row, weights=idf[column], minlength=len(texts)).astype(np.float32),
    )


@lru_cache(maxsize=4096)
def _terms(text: str) -> tuple[list[str], list[str]]:
    """The terms of a step, each once, and those of its result (after its last equals sign)."""
    terms: dict[str, None] = {}
    for found in _TERM.finditer(text[:_MAX_CHARS]):
        word = found["word"]
        if word is not None:
            lower = word.casefold()
            if len(word) == 1 and word not in "aI":
                terms[word] = None
            elif lower not in STOP_WORDS:
                terms[stem(lower)] = None
        else:
            chunk = found["maths"].strip(".?!()[]'’")
            if _SAYS.search(chunk) is not None:
                terms[chunk] = None
            for part in _NUMBER.findall(chunk):
                terms[part] = None
        if len(terms) > _MAX_TERMS:
            break
    _, equals, tail = text[:_MAX_CHARS].rpartition("=")
    return list(terms), _NUMBER.findall(tail[:60])[:4] if equals else []


def _back(row: Ints, column: Ints, idf: Floats, k: int, size: int) -> csr_matrix:
    """At [j, i] the weight of the terms of step j whose k-th mention back is in step i."""
    same = column[k:] == column[:-k] if len(column) > k else np.zeros(0, bool)
    later, before, term = row[k:][same], row[: len(row) - k][same], column[k:][same]
    return csr_matrix((idf[term], (later, before)), (size, size))


def _first(row: Ints, column: Ints, idf: Floats, size: int) -> csr_matrix:
    """At [j, i] the weight of the terms of step j that step i was the first to mention."""
    starts = np.flatnonzero(np.diff(column, prepend=-1)) if len(column) else np.zeros(0, np.int64)
    first = np.repeat(row[starts], np.diff(np.append(starts, len(row)))) if len(column) else row
    later = first < row
    return csr_matrix((idf[column[later]], (row[later], first[later])), (size, size))


def look_up(matrix: csr_matrix, rows: Ints, columns: Ints) -> Floats:
    """The entries at given places, zero where there is none."""
    return np.asarray(matrix[rows, columns]).ravel().astype(np.float32) if len(rows) else np.zeros(0, np.float32)


def overlap(left: csr_matrix, right: csr_matrix, i: Ints, j: Ints) -> Floats:
    """For each pair, the shared weight of row i of one matrix and row j of another."""
    found = np.zeros(len(i), np.float32)
    for start in range(0, len(i), _CHUNK):
        part = slice(start, start + _CHUNK)
        found[part] = np.asarray(left[i[part]].multiply(right[j[part]]).sum(axis=1)).ravel()
    return found
