"""Agreement of predicted links with annotated ones: counts of hits, false alarms and misses, and their F1.

Each of our steps counts for the annotated step with the largest overlap; a step reflects if a bond of reflection ends
in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from stillery.bonds.model.bonding import Decision
from stillery.bonds.model.links import Links
from stillery.bonds.training.graphs import Graph, reflecting_nodes
from stillery.bonds.training.pipeline import AnnotatedTrace


@dataclass(slots=True)
class Counts:
    """Hits, false alarms and misses."""

    hits: int = 0
    extra: int = 0
    missed: int = 0

    def add(self, predicted: set[object], annotated: set[object]) -> None:
        """Count one trace."""
        self.hits += len(predicted & annotated)
        self.extra += len(predicted - annotated)
        self.missed += len(annotated - predicted)

    def f1(self) -> float:
        """The harmonic mean of precision and recall, 0 where there are no links at all."""
        return 2 * self.hits / max(1, 2 * self.hits + self.extra + self.missed)


@dataclass(slots=True)
class Scores:
    """Links, links beyond the next step, and reflecting steps."""

    links: Counts = field(default_factory=Counts)
    far: Counts = field(default_factory=Counts)
    reflecting: Counts = field(default_factory=Counts)

    def add(self, graph: Graph, pairs: Iterable[tuple[int, int]], reflecting: set[int]) -> None:
        """Count one trace: its predicted pairs of annotated steps and those of them that reflect."""
        predicted = {(min(p), max(p)) for p in pairs if p[0] != p[1]}
        self.links.add({*predicted}, {*graph.links})
        self.far.add({p for p in predicted if p[1] - p[0] > 1}, {p for p in graph.links if p[1] - p[0] > 1})
        self.reflecting.add({*reflecting}, {*reflecting_nodes(graph)})

    def total(self) -> float:
        """The objective of threshold tuning."""
        return self.links.f1() + self.far.f1() / 3 + self.reflecting.f1()


def score_decision(scores: Scores, example: AnnotatedTrace, links: Links, decision: Decision) -> None:
    """Count the decided links of one trace."""
    rows = decision.rows
    a, b = example.nodes[links.i[rows]].tolist(), example.nodes[links.j[rows]].tolist()
    pairs = [(m, n) for m, n in zip(a, b, strict=True) if m >= 0 and n >= 0]
    reflecting = {
        max(m, n) for m, n, r in zip(a, b, decision.reflects.tolist(), strict=True) if r and m != n and min(m, n) >= 0
    }
    scores.add(example.graph, pairs, reflecting)
