"""Contamination: training problems that occur in an evaluation set, found by shared n-grams of words and by similarity.

A problem is contaminated where it shares an n-gram of `ngram` words with a problem of an evaluation set or, where that
one is shorter, contains all of it. N-grams that many problems of the set share ("what is the value of the following
expression") are not evidence and are ignored. Each hit can be inspected: both texts and the shared n-gram.
"""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stillery.curation.words import jaccard, ngrams, shingles, words_of

# An n-gram in more of a set's problems than this is boilerplate of the set, not specific to a problem.
COMMON_RUN = 3
# Problems of fewer words are too short to identify: "1 + 1 = ?" occurs everywhere.
FEWEST_WORDS = 5
# The share of an evaluation problem's n-grams that must be in a text: a closing formula such as "where m and n are
# relatively prime positive integers, find m + n" is less, and does not make two problems the same.
LEAST_SHARED = 0.25
# The shingle length in words: short, since rephrased problems share no longer n-grams.
_SHINGLE_WORDS = 2


@dataclass(frozen=True, slots=True)
class Hit:
    """A training text that an evaluation set contains. `match` is the shared n-gram, or the similarity."""

    evaluation_set: str
    row: int
    match: str
    shared: float
    text: str
    evaluation_text: str

    def as_evidence(self) -> dict[str, object]:
        return dataclasses.asdict(self)


class EvaluationIndex:
    """Evaluation sets, indexed by the n-grams of their problems.

    `sets` are texts by the set's name. `ngram` is the n-gram length in words, `fuzzy` a similarity (Jaccard, of pairs
    of words) from which problems without a shared n-gram count, too; None for n-grams alone.
    """

    def __init__(self, sets: Mapping[str, Sequence[str]], *, ngram: int = 13, fuzzy: float | None = None) -> None:
        self._texts = [(name, row, text) for name, texts in sets.items() for row, text in enumerate(texts)]
        self._ngram, self._fuzzy = ngram, fuzzy
        self._runs: dict[bytes, int] = {}
        self._short: dict[int, dict[bytes, int]] = {}
        self._by_pair: dict[str, list[int]] = {}
        owners = Counter[bytes]()
        for number, (_, _, text) in enumerate(self._texts):
            words = words_of(text)
            if len(words) < FEWEST_WORDS:
                continue
            size = min(ngram, len(words))
            table = self._runs if size == ngram else self._short.setdefault(size, {})
            for key in {_key(run) for _, run in ngrams(words, size)}:
                owners[key] += 1
                table.setdefault(key, number)
            if fuzzy is not None:
                for pair in shingles(text, _SHINGLE_WORDS):
                    self._by_pair.setdefault(pair, []).append(number)
        for table in (self._runs, *self._short.values()):
            for key in [key for key in table if owners[key] > COMMON_RUN]:
                del table[key]

    def __len__(self) -> int:
        return len(self._texts)

    def find(self, text: str) -> Hit | None:
        """The first evaluation problem that a text contains, or equals, or None."""
        words = words_of(text)
        for size, table in ((self._ngram, self._runs), *sorted(self._short.items(), reverse=True)):
            if len(words) < size or not table:
                continue
            seen: set[int] = set()
            for _, run in ngrams(words, size):
                number = table.get(_key(run))
                if number is None or number in seen:
                    continue
                seen.add(number)
                held = {gram for _, gram in ngrams(words_of(self._texts[number][2]), size)}
                shared = len(held & {gram for _, gram in ngrams(words, size)}) / len(held)
                if shared >= LEAST_SHARED:
                    return self._hit(number, run, shared, text)
        return None if self._fuzzy is None else self._find_similar(text, self._fuzzy)

    def _find_similar(self, text: str, threshold: float) -> Hit | None:
        mine = shingles(text, _SHINGLE_WORDS)
        # Pairs of words in many problems cannot tell them apart, and a similar problem shares rarer ones as well.
        shared = Counter[int]()
        for pair in mine:
            owners = self._by_pair.get(pair, [])
            if len(owners) <= 50:
                shared.update(owners)
        for number, _ in shared.most_common(5):
            similarity = jaccard(mine, shingles(self._texts[number][2], _SHINGLE_WORDS))
            if similarity >= threshold:
                return self._hit(number, "similarity", similarity, text)
        return None

    def _hit(self, number: int, match: str, shared: float, text: str) -> Hit:
        name, row, evaluation_text = self._texts[number]
        return Hit(name, row, match, round(shared, 2), text, evaluation_text)


def _key(run: str) -> bytes:
    return hashlib.blake2b(run.encode(), digest_size=8).digest()


def contaminated(texts: Iterable[tuple[str, str]], index: EvaluationIndex, *, allowed: set[str]) -> dict[str, Hit]:
    """The hits among (id, text) pairs, by id. `allowed` are ids and texts that have been reviewed and accepted."""
    found: dict[str, Hit] = {}
    for name, text in texts:
        if name not in allowed and text not in allowed and (hit := index.find(text)) is not None:
            found[name] = hit
    return found
