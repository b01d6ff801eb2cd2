"""Traces that nearly repeat one of another problem: MinHash signatures a file at a time, then pairs across all files.

Signatures are stored beside the output while they are needed; memory holds 4 bytes per band of each sample, and the
candidate pairs. Similarity is estimated from the signatures, whose texts may be in any file.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stillery.curation.near_duplicates import NUM_PERMUTATIONS, digests_of, num_bands
from stillery.io.storage import Folder
from stillery.records import Sample, digest

# Within the output, until it is done.
SIGNATURES = "signatures"
_TEXTS_AT_ONCE = 2000
# The first members of a bucket of boilerplate represent it, or the work would be quadratic.
_BUCKET = 4

Signatures = "np.ndarray[tuple[int, int], np.dtype[np.uint32]]"


def sign_file(place: tuple[str, int], *, out: Folder) -> dict[str, Any]:
    """Write the signatures of a file of samples: one row per sample, of 128 hashes and a hash of its problem's id."""
    name = place[0].replace("generations-", "samples-")
    if not out.exists(name):
        return {}
    samples = out.read_rows(name, Sample)
    parts = [
        digests_of([sample.completion[0].content for sample in samples[start : start + _TEXTS_AT_ONCE]])
        for start in range(0, len(samples), _TEXTS_AT_ONCE)
    ]
    problems = np.array([[int(digest(sample.prompt_id)[:8], 16)] for sample in samples], dtype=np.uint32)
    file = io.BytesIO()
    np.save(file, np.concatenate([np.concatenate(parts), problems], axis=1))
    (out / SIGNATURES).write_bytes(f"{name}.npy", file.getvalue())
    return {}


def find_repeated(out: Folder, names: Sequence[str], *, threshold: float) -> dict[str, str]:
    """The samples that nearly repeat an earlier, kept one of another problem, by sample_id, with the evidence (JSON);
    `names` are the files of samples in order."""
    if not names:
        return {}
    bands = num_bands(threshold)
    keys, problems, starts = _read_keys(out, names, bands)
    pairs = sorted(
        {pair for band in range(bands) for pair in _propose(keys[:, band]) if problems[pair[0]] != problems[pair[1]]}
    )
    rows = _Rows(out, names, starts)
    dropped: dict[int, tuple[int, float]] = {}
    for later, earlier in pairs:
        if later in dropped or earlier in dropped:
            continue
        similarity = float(np.mean(rows.signature(later) == rows.signature(earlier)))
        if similarity >= threshold:
            dropped[later] = earlier, similarity
    ids = rows.ids({place for later, (earlier, _) in dropped.items() for place in (later, earlier)})
    return {
        ids[later]: json.dumps({"of": ids[earlier], "similarity": round(similarity, 2)})
        for later, (earlier, similarity) in dropped.items()
    }


def _read_keys(out: Folder, names: Sequence[str], bands: int) -> tuple[Any, Any, list[int]]:
    """A key for each band of each sample, its problem, and the start of each file."""
    keys: list[Any] = []
    problems: list[Any] = []
    starts: list[int] = []
    total = 0
    for name in names:
        signatures = _load(out, name)
        bands_of = signatures[:, :NUM_PERMUTATIONS].reshape(len(signatures), bands, NUM_PERMUTATIONS // bands)
        # A polynomial in an odd number combines the hashes of a band; pairs are checked afterwards.
        mixed = np.zeros(bands_of.shape[:2], dtype=np.uint32)
        for row in range(bands_of.shape[2]):
            mixed = mixed * np.uint32(2654435761) + bands_of[:, :, row]
        keys.append(mixed)
        problems.append(signatures[:, NUM_PERMUTATIONS])
        starts.append(total)
        total += len(signatures)
    return np.concatenate(keys), np.concatenate(problems), starts


def _propose(keys: Any) -> Iterator[tuple[int, int]]:
    """Pairs (later, earlier) of samples with the same key."""
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    bucket: list[int] = []
    previous = -2
    for place in same.tolist():
        if place != previous + 1:
            bucket = [int(order[place])]
        later = int(order[place + 1])
        yield from ((later, earlier) for earlier in bucket)
        if len(bucket) < _BUCKET:
            bucket.append(later)
        previous = place


class _Rows:
    """Signatures and ids by index, a file at a time."""

    def __init__(self, out: Folder, names: Sequence[str], starts: Sequence[int]) -> None:
        self._out, self._names, self._starts = out, names, starts
        self._loaded: dict[int, Any] = {}

    def signature(self, place: int) -> Any:
        file = int(np.searchsorted(self._starts, place, side="right")) - 1
        if file not in self._loaded:
            if len(self._loaded) >= 8:
                self._loaded.pop(next(iter(self._loaded)))
            self._loaded[file] = _load(self._out, self._names[file])
        return self._loaded[file][place - self._starts[file], :NUM_PERMUTATIONS]

    def ids(self, places: set[int]) -> Mapping[int, str]:
        found: dict[int, str] = {}
        for file, start in enumerate(self._starts):
            end = self._starts[file + 1] if file + 1 < len(self._starts) else None
            inside = [place for place in places if place >= start and (end is None or place < end)]
            if inside:
                column = self._out.read_table(self._names[file], Sample)["sample_id"]
                found |= {place: column[place - start].as_py() for place in inside}
        return found


def _load(out: Folder, name: str) -> Any:
    with (out / SIGNATURES).open_file(f"{name}.npy") as file:
        return np.load(io.BytesIO(file.read()))
