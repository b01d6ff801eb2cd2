"""Annotated graphs of real traces: read, split by question, and their labels mapped to our steps."""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stillery.bonds.classifiers import Floats
from stillery.bonds.model.links import LINKS
from stillery.bonds.model.mentions import Ints
from stillery.bonds.model.roles import HEADS, ROLES
from stillery.bonds.steps.segmentation import Span
from stillery.errors import UserError

PARTS = ("fit", "tune", "test")
# Of 20 shares of the questions by hash: 4 test, 3 tune, 13 fit.
_TEST, _TUNE = 4, 7
_LABELS = {
    "reason:infer": "infer", "reason:execute": "execute", "reason:restate": "restate",
    "reason:elaborate-fact": "elaborate", "reason:exemplify": "exemplify", "plan:proceed": "proceed",
    "plan:decompose": "decompose", "plan:backtrack": "backtrack", "plan:verify": "verify",
    "validate:support": "support", "validate:attack": "attack", "validate:refute": "attack",
    "reflect:positive": "positive", "reflect:negative": "negative", "reflect:uncertain": "uncertain",
    "reasoning:infer": "infer", "reasoning:execute": "execute", "plan:execute": "execute", "reason:justify": "infer",
}  # fmt: skip
_REFLECTION = frozenset(("verify", "support", "attack", "positive", "negative", "uncertain"))
_FAR = 10


@dataclass(frozen=True, slots=True)
class Graph:
    """One annotated trace: `nodes` are (start, end, role), `links` maps pairs of nodes, by index, to their kind."""

    text: str
    question: str
    question_id: str
    domain: str
    generator: str
    nodes: list[tuple[int, int, str | None]]
    links: dict[tuple[int, int], str]


def read_graphs(path: Path) -> list[Graph]:
    """The graphs of a file with one JSON object per line, plain or gzipped; links of a mistyped kind are left out."""
    graphs: list[Graph] = []
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                graphs.append(_read(json.loads(line)))
            except (ValueError, KeyError, TypeError) as e:
                raise UserError(
                    f"{path}, line {number}: expected an annotated trace (response, question, question_id, domain, "
                    f"generator, nodes, edges), got {e!r}. docs/concepts/bonds.md says where to get them."
                ) from e
    if not graphs:
        raise UserError(f"{path} holds no annotated trace.")
    return graphs


def _read(row: dict[str, object]) -> Graph:
    nodes = row["nodes"]
    edges = row["edges"]
    assert isinstance(nodes, list)
    assert isinstance(edges, list)
    at = {node[0]: i for i, node in enumerate(nodes)}
    links = {
        (at[a], at[b]): _LABELS[kind]
        for a, b, kind in edges
        if a in at and b in at and at[a] < at[b] and kind in _LABELS
    }
    return Graph(
        str(row["response"]), str(row["question"]), str(row["question_id"]), str(row["domain"]),
        str(row["generator"]), [(node[1], node[2], node[3]) for node in nodes], links,
    )  # fmt: skip


def part_of(question_id: str) -> str:
    """fit, tune or test, by a hash of the question's id: all traces of a question are in one part."""
    share = int(hashlib.sha256(question_id.encode()).hexdigest(), 16) % 20
    return "test" if share < _TEST else "tune" if share < _TUNE else "fit"


def split_graphs(graphs: Sequence[Graph]) -> dict[str, list[Graph]]:
    """The graphs by part. Questions of fit or tune that nearly repeat one of a later part are left out."""
    parts: dict[str, list[Graph]] = {part: [] for part in PARTS}
    questions = {g.question_id: g.question for g in graphs}
    repeated = _near_duplicates(questions)
    for graph in graphs:
        if graph.question_id not in repeated:
            parts[part_of(graph.question_id)].append(graph)
    return parts


def _near_duplicates(questions: dict[str, str]) -> set[str]:
    """The questions that share half of their 5-grams of words with one of a later part. A 5-gram in three or more
    questions is part of a template and does not count."""
    runs = {name: _runs(text) for name, text in questions.items()}
    counts = Counter(run for found in runs.values() for run in found)
    own = {name: {run for run in found if counts[run] < 3} for name, found in runs.items()}
    order = {part: i for i, part in enumerate(PARTS)}
    return {
        a
        for a in questions
        for b in questions
        if order[part_of(a)] < order[part_of(b)] and own[a] and own[b]
        and len(own[a] & own[b]) >= min(len(own[a]), len(own[b])) / 2
    }  # fmt: skip


def _runs(text: str) -> set[tuple[str, ...]]:
    words = text.casefold().split()
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def nodes_of(graph: Graph, spans: Sequence[Span]) -> Ints:
    """For each of our steps, the annotated one with the largest overlap, -1 if none."""
    found = np.full(len(spans), -1, np.int64)
    at = 0
    for index, span in enumerate(spans):
        while at < len(graph.nodes) and graph.nodes[at][1] <= span.start:
            at += 1
        best, k = 0, at
        while k < len(graph.nodes) and graph.nodes[k][0] < span.end:
            common = min(span.end, graph.nodes[k][1]) - max(span.start, graph.nodes[k][0])
            if common > best:
                best, found[index] = common, k
            k += 1
    return found


def reflecting_nodes(graph: Graph) -> set[int]:
    """The annotated steps that reflect: labelled so, or at the end of a reflection link."""
    labelled = {i for i, (_, _, role) in enumerate(graph.nodes) if role == "reflection"}
    return labelled | {j for (_, j), kind in graph.links.items() if kind in _REFLECTION}


def head_targets(graph: Graph, nodes: Ints) -> Floats:
    """The role of each of our steps, one column for each of HEADS."""
    traits = _trait_sets(graph)
    reflecting = reflecting_nodes(graph)
    targets = np.zeros((len(nodes), len(HEADS)), np.float32)
    for step, node in enumerate(nodes.tolist()):
        if node < 0:
            continue
        role = graph.nodes[node][2]
        names = traits[node] | ({role} if role in ROLES else set()) | ({"reflects"} if node in reflecting else set())
        targets[step, [HEADS.index(name) for name in names if name is not None]] = 1
    return targets


def _trait_sets(graph: Graph) -> list[set[str | None]]:
    """The links of each annotated step to others, by the names of TRAITS."""
    names = {"support": "checks", "attack": "checks", "verify": "checks", "positive": "remarks", "negative": "remarks",
             "uncertain": "remarks", "restate": "restates", "execute": "carries out", "backtrack": "leaves",
             "proceed": "plans on", "decompose": "plans on"}  # fmt: skip
    traits: list[set[str | None]] = [set() for _ in graph.nodes]
    num_in, num_out = Counter(j for _, j in graph.links), Counter(i for i, j in graph.links if j > i + 1)
    for (i, j), kind in graph.links.items():
        if kind in names:
            traits[j].add(names[kind])
        if j - i <= 2:
            traits[j].add("follows" if j == i + 1 else "skips one")
        if j - i > _FAR:
            traits[i].add("used far")
            traits[j].add("reaches far")
    for i, found in enumerate(traits):
        found |= {"rests on none"} if not num_in[i] else {"rests on many"} if num_in[i] > 2 else set()
        found |= {"used again"} if num_out[i] > 1 else set()
    return traits


def pair_targets(graph: Graph, nodes: Ints, i: Ints, j: Ints) -> Ints:
    """For each pair of our steps the index of its kind in LINKS; -1 where both are in one annotated step."""
    kinds = {pair: LINKS.index(kind) for pair, kind in graph.links.items()}
    a, b = nodes[i].tolist(), nodes[j].tolist()
    return np.array(
        [-1 if m == n or m < 0 or n < 0 else kinds.get((m, n), 0) for m, n in zip(a, b, strict=True)], np.int64
    )


def batches(graphs: Sequence[Graph], count: int) -> Iterator[list[Graph]]:
    """The graphs divided into parts by question, for cross-fitting."""
    names = sorted({g.question_id for g in graphs})
    share = {name: n % count for n, name in enumerate(names)}
    for k in range(count):
        yield [g for g in graphs if share[g.question_id] == k]
