"""Near-duplicates among many texts: MinHash and locality-sensitive hashing by `rensa`, each hit checked exactly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stillery.curation.words import jaccard, shingles

NUM_PERMUTATIONS = 128
SHINGLE_WORDS = 3
_SEED = 1
_TEXTS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """A text, by its index, that is similar to an earlier one; `similarity` is Jaccard's, of 3-grams of words."""

    place: int
    of: int
    similarity: float


def find_near_duplicates(texts: Sequence[str], *, threshold: float) -> Iterator[NearDuplicate]:
    """Each text that is at least as similar as `threshold` to an earlier one that is kept, with the first such one.

    Signatures take 512 bytes per text, so that a million texts take 0.5 GiB; shingles are recomputed for the candidate
    pairs that the hashes propose. The candidates are probabilistic: at the threshold some 90 in 100 pairs or more are
    found.
    """
    bands = num_bands(threshold)
    dropped: set[int] = set()
    for place, candidates in enumerate(_candidates(texts, bands)):
        if not candidates:
            continue
        mine = shingles(texts[place], SHINGLE_WORDS)
        for other in candidates:
            if other in dropped:
                continue
            similarity = jaccard(mine, shingles(texts[other], SHINGLE_WORDS))
            if similarity >= threshold:
                dropped.add(place)
                yield NearDuplicate(place, other, similarity)
                break


def digests_of(texts: Sequence[str]) -> "np.ndarray[tuple[int, int], np.dtype[np.uint32]]":
    """The MinHash signatures of texts, [texts, 128]: the share of equal entries of two signatures estimates their
    similarity."""
    from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue]

    sets = [list(shingles(text, SHINGLE_WORDS)) for text in texts]
    found = RMinHash.digests_from_token_sets(sets, NUM_PERMUTATIONS, _SEED) if sets else []
    return np.array(found, dtype=np.uint32).reshape(len(sets), NUM_PERMUTATIONS)


def num_bands(threshold: float) -> int:
    """The minimum number of bands of 128 hashes whose curve, steepest at (1/b)^(b/128), rises 0.1 below the
    threshold."""
    options = [bands for bands in (4, 8, 16, 32, 64) if (1 / bands) ** (bands / NUM_PERMUTATIONS) <= threshold - 0.1]
    return min(options, default=64)


def _candidates(texts: Sequence[str], bands: int) -> Iterator[list[int]]:
    """For each text the earlier ones that share a band with it, in order."""
    rows = NUM_PERMUTATIONS // bands
    seen: list[dict[int, list[int]]] = [{} for _ in range(bands)]
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        digests = digests_of(texts[start : start + _TEXTS_AT_ONCE])
        for offset, digest in enumerate(digests):
            found: set[int] = set()
            for band, table in enumerate(seen):
                key = hash(digest[band * rows : (band + 1) * rows].tobytes())
                bucket = table.setdefault(key, [])
                found.update(bucket)
                # A bucket of boilerplate must not make the work quadratic: its first members represent it.
                if len(bucket) < 8:
                    bucket.append(start + offset)
            yield sorted(found)
