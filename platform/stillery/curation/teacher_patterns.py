"""Whether teachers whose traces are mixed reason in the same pattern of bonds: a comparison of the mean shares of their
traces.

Traces of different patterns teach worse together than apart (the molecular picture of reasoning calls them isomers), so
mixing them gives a warning.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations

from stillery.curation.rules import pattern_of
from stillery.records import BondKind, Molecule

# Below this distance of mean patterns (half the sum of differences of shares) a difference does not matter.
LEAST_DISTANCE = 0.05
# A difference of this many standard errors is significant.
_SIGNIFICANT = 3.0
_SEPARATOR = "\t"


def count_pattern(counts: Counter[str], teacher: str, molecule: Molecule) -> None:
    """Add a trace's pattern to the sums by teacher; a trace without bonds has none."""
    if not (pattern := pattern_of(molecule)):
        return
    counts[_SEPARATOR.join((teacher, "traces"))] += 1
    for kind in BondKind:
        share = pattern.get(kind, 0.0)
        counts[_SEPARATOR.join((teacher, kind, "sum"))] += share  # pyright: ignore[reportArgumentType]
        counts[_SEPARATOR.join((teacher, kind, "squares"))] += share * share  # pyright: ignore[reportArgumentType]


def differing(counts: Mapping[str, float]) -> Iterator[str]:
    """A line for each pair of teachers whose patterns differ by more than chance and `LEAST_DISTANCE`."""
    traces = {key.split(_SEPARATOR)[0]: n for key, n in counts.items() if key.endswith(f"{_SEPARATOR}traces")}
    for left, right in combinations(sorted(t for t, n in traces.items() if n > 1), 2):
        means = [[counts.get(_SEPARATOR.join((t, k, "sum")), 0.0) / traces[t] for k in BondKind] for t in (left, right)]
        errors = [
            [
                max(0.0, counts.get(_SEPARATOR.join((t, k, "squares")), 0.0) / traces[t] - mean * mean) / traces[t]
                for k, mean in zip(BondKind, row, strict=True)
            ]
            for t, row in zip((left, right), means, strict=True)
        ]
        distance = sum(abs(a - b) for a, b in zip(*means, strict=True)) / 2
        chance = _SIGNIFICANT * sum((a + b) ** 0.5 for a, b in zip(*errors, strict=True)) / 2
        if distance > max(LEAST_DISTANCE, chance):
            yield (
                f"the bond patterns of {left} and {right} differ by {distance:.2f} (up to {chance:.2f} by chance): "
                f"{_told(means[0])} against {_told(means[1])}; mixed, they may teach less than "
                "either: compare a run on each alone"
            )


def absent_kinds(counts: Mapping[str, float], target: Mapping[str, float]) -> Iterator[str]:
    """A line for each kind of bond that a target pattern contains and no kept trace has."""
    for kind in (kind for kind, share in target.items() if share > 0 and counts):
        if not any(count for key, count in counts.items() if key.endswith(f"{kind}{_SEPARATOR}sum")):
            yield f"curate.target_pattern asks for {kind}, and no kept trace has such a bond: the other kinds decided"


def _told(shares: list[float]) -> str:
    return ", ".join(f"{kind.partition('_')[0]} {share:.0%}" for kind, share in zip(BondKind, shares, strict=True))
