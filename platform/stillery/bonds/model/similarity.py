"""Which earlier step's words a step takes up: the share of words that two have in common, over recent uses.

A caller may put a sentence-embedding model in its place: any `Similarity`.
"""

import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence

# The texts of two steps -> how alike they are, 0 to 1.
Similarity = Callable[[str, str], float]

_RECENT_USES = 8
_MAX_NEAREST = 3


class WordIndex:
    """The steps so far by the words they use. `nearest` looks at no more than the latest uses of each word, so a
    trace is gone through in linear time; words are not weighted, so what two steps share is theirs alone."""

    def __init__(self, words: Sequence[frozenset[str]]) -> None:
        self._words = words
        self._uses: dict[str, deque[int]] = defaultdict(lambda: deque(maxlen=_RECENT_USES))

    def add(self, index: int) -> None:
        """Make a step one of those that later steps are compared with."""
        for word in self._words[index]:
            self._uses[word].append(index)

    def nearest(self, index: int) -> list[tuple[float, int]]:
        """The earlier steps most like this one: (cosine, step), best first, the latest of equals, three at most."""
        shared = Counter(use for word in self._words[index] for use in self._uses[word])
        own = len(self._words[index])
        scored = [(round(n / math.sqrt(own * len(self._words[i])), 6), i) for i, n in shared.items()]
        return sorted(scored, reverse=True)[:_MAX_NEAREST]

    def coverage(self, index: int, earlier: int) -> float:
        """The share of a step's words that an earlier one has too."""
        own = self._words[index]
        return len(own & self._words[earlier]) / len(own) if own else 0.0

    def shared(self, one: int, two: int) -> list[str]:
        """The words that two steps share, longest first."""
        return sorted(self._words[one] & self._words[two], key=lambda w: (-len(w), w))
