"""Bonds against annotated graphs: the table, the reliability plot and the speed of docs/benchmarks/2026-11-27-bonds.md.

    python -m stillery.bonds.fit TRACES --all --measured WEIGHTS
    PYTHONPATH=platform:tests python tests/benchmarks/conformance/bond_graphs.py --weights WEIGHTS
        [--part test] [--before CHECKOUT] [--plot OUT.svg]

Scores `analyze`, with its own segmentation, on one part of the shared graphs: each of our steps is matched to the
annotated step that it overlaps most, and a step reflects if a bond of reflection ends in it. Weights fitted on that
part are refused (those of `fit --all` were fitted on all). `--before` runs another checkout's `analyze` beside it.
Baselines: nine words, "every step depends on the one before", a linear model on word n-grams.
"""

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).parents[3] / "platform" / "stillery" / "bonds" / "weights"
KEYWORDS = re.compile(r"\b(wait|hmm|hold on|let me (double-)?check|double[- ]check|verify|reconsider|actually)\b", re.I)
KINDS = {"strong_logic": {"infer", "execute", "restate", "elaborate", "proceed", "decompose"},
         "reflection_verification": {"verify", "support", "attack", "positive", "negative", "uncertain"},
         "exploratory_association": {"backtrack", "exemplify"}}  # fmt: skip


def dump(source: Path, out: Path) -> None:
    """Molecules of the texts in a file, as spans and bonds, by whichever `stillery` is on the path."""
    from stillery.bonds import analyze

    found: list[dict[str, Any]] = []
    for row in json.loads(source.read_text()):
        started = time.process_time()
        molecules = {
            markers: analyze(row["text"], question=row["question"], markers=markers) for markers in (True, False)
        }
        found.append({
            "seconds": time.process_time() - started,
            "spans": [(a.start, a.end) for a in molecules[True].atoms],
            **{str(m): [(b.source, b.target, str(b.kind), b.strength) for b in x.bonds] for m, x in molecules.items()},
        })  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    out.write_text(json.dumps({"molecules": found, "peak_mb": peak}))


def _with_weights(weights: Path, folder: Path) -> Path:
    """A copy of this checkout's package with other weights in it."""
    package = folder / "platform" / "stillery"
    shutil.copytree(Path(__file__).parents[3] / "platform" / "stillery", package)
    for path in weights.glob("*.npz"):
        shutil.copy(path, package / "bonds" / "weights" / path.name)
    return folder


def analyzed(graphs: list[Any], checkout: Path) -> dict[str, Any]:
    """`dump` of one checkout, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "texts.json", Path(folder) / "found.json"
        source.write_text(json.dumps([{"text": g.text, "question": g.question} for g in graphs]))
        environment = {**os.environ, "PYTHONPATH": str(checkout / "platform")}
        subprocess.run([sys.executable, __file__, "--dump", source, out], check=True, env=environment)
        return json.loads(out.read_text())


def score(graphs: list[Any], molecules: list[Any], markers: bool) -> dict[str, Any]:
    """Scores over all traces, and counts for each kind of bond."""
    from stillery.bonds.steps.segmentation import Span
    from stillery.bonds.training.graphs import nodes_of
    from stillery.bonds.training.scores import Counts, Scores

    scores, kinds = Scores(), {kind: Counts() for kind in KINDS}
    for graph, molecule in zip(graphs, molecules, strict=True):
        of = nodes_of(graph, [Span(a, b, "") for a, b in molecule["spans"]]).tolist()
        found: dict[tuple[int, int], set[str]] = defaultdict(set)
        for i, j, kind, _ in molecule[str(markers)]:
            a, b = sorted((of[i], of[j]))
            if 0 <= a < b:
                found[a, b].add(kind)
        scores.add(graph, found, {b for (_, b), k in found.items() if "reflection_verification" in k})
        for kind, labels in KINDS.items():
            kinds[kind].add(
                {p for p, k in found.items() if kind in k}, {p for p, k in graph.links.items() if k in labels}
            )
    return {"links": scores.links, "beyond": scores.far, "reflecting": scores.reflecting, **kinds}


def baselines(graphs: list[Any], parts: dict[str, list[Any]]) -> dict[str, dict[str, Any]]:
    """Keywords, the step before, and a linear model on the n-grams of a step and its neighbours."""
    import numpy as np

    from stillery.bonds.model.ngrams import step_features
    from stillery.bonds.training.estimators import fit_linear
    from stillery.bonds.training.graphs import reflecting_nodes
    from stillery.bonds.training.scores import Counts

    def texts(graph: Any) -> list[str]:
        return [graph.text[start:end] for start, end, _ in graph.nodes]

    def reflects(graph: Any) -> list[bool]:
        return [i in reflecting_nodes(graph) for i in range(len(graph.nodes))]

    rows = [row for g in parts["fit"] for row in step_features(texts(g))]
    targets = np.array([r for g in parts["fit"] for r in reflects(g)], np.float32)[:, None]
    model = fit_linear(rows, targets, min_count=8, penalty=0.1, seed=0)
    tuned = [(model.scores(step_features(texts(g)))[:, 0], np.array(reflects(g))) for g in parts["tune"]]
    said, true = (np.concatenate(x) for x in zip(*tuned, strict=True))

    def f1(cut: float) -> float:
        hits = (said > cut) & true
        return 2 * hits.sum() / max(1, (said > cut).sum() + true.sum())

    cut = max(np.linspace(-3, 2, 51), key=f1)
    words, linear = Counts(), Counts()
    for graph in graphs:
        true_steps = reflecting_nodes(graph)
        words.add({i for i, text in enumerate(texts(graph)) if KEYWORDS.search(text)}, {*true_steps})
        linear.add(set(np.flatnonzero(model.scores(step_features(texts(graph)))[:, 0] > cut).tolist()), {*true_steps})
    return {"keywords": {"reflecting": words}, "linear n-grams": {"reflecting": linear},
            "previous step": {"links": step_before(graphs)}}  # fmt: skip


def step_before(graphs: list[Any]) -> Any:
    """Every step joined to the one before it."""
    from stillery.bonds.training.scores import Counts

    counts = Counts()
    for graph in graphs:
        counts.add({(i, i + 1) for i in range(len(graph.nodes) - 1)}, {*graph.links})
    return counts


COLUMNS = ("reflecting", "links", "beyond", *KINDS)


def show(name: str, found: dict[str, Any]) -> None:
    """One row of the table."""
    print(f"| {name} | " + " | ".join(f"{found[c].f1():.3f}" if c in found else "" for c in COLUMNS) + " |", flush=True)


def boundaries(graphs: list[Any], molecules: list[Any]) -> Any:
    """Ends of steps found, too many, and missed."""
    from stillery.bonds.training.scores import Counts

    counts = Counts()
    for graph, molecule in zip(graphs, molecules, strict=True):
        counts.add({b for _, b in molecule["spans"][:-1]}, {b for _, b, _ in graph.nodes[:-1]})
    return counts


def reliability(graphs: list[Any], molecules: list[Any]) -> list[tuple[float, float, int]]:
    """For bonds of strong logic in ten bins of equal size: the mean probability that their strength stands for, how
    many of them join steps that are joined, and how many there are."""
    from stillery.bonds.steps.segmentation import Span
    from stillery.bonds.training.graphs import nodes_of

    bands = {"strong_logic": (0.8, 0.2), "reflection_verification": (0.6, 0.2), "exploratory_association": (0.3, 0.3)}
    pairs: list[tuple[float, bool]] = []
    for graph, molecule in zip(graphs, molecules, strict=True):
        of = nodes_of(graph, [Span(a, b, "") for a, b in molecule["spans"]]).tolist()
        for i, j, kind, strength in molecule["True"]:
            if of[i] != of[j]:
                low, width = bands[kind]
                pairs.append(((strength - low) / width, (of[i], of[j]) in graph.links))
    pairs.sort()
    size = max(1, -(-len(pairs) // 10))
    bins = [pairs[n : n + size] for n in range(0, len(pairs), size)]
    return [(sum(p for p, _ in b) / len(b), sum(t for _, t in b) / len(b), len(b)) for b in bins]


def plot(table: list[tuple[float, float, int]], path: Path) -> None:
    """The reliability table as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    axes.plot([p for p, _, _ in table], [t for _, t, _ in table], "o-", color="#1f5fa8")
    axes.set(xlabel="probability that the strength stands for", ylabel="share of bonds that annotators drew",
             xlim=(0, 1), ylim=(0, 1))  # fmt: skip
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Print everything."""
    from stillery.bonds.training.graphs import read_graphs, split_graphs
    from support.shared_data import shared_data

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("tune", "test"), default="test")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="default: those that ship")
    parser.add_argument("--before", type=Path, help="another checkout, to be scored beside this one")
    parser.add_argument("--plot", type=Path, help="where to draw the reliability table (.svg or .png)")
    options = parser.parse_args()
    if json.loads((options.weights / "card.json").read_text()).get("trained on") != "fit":
        parser.error(f"the weights in {options.weights} saw more than the fit part: give --weights WEIGHTS")
    parts = split_graphs(read_graphs(shared_data("reasoningflow/traces.jsonl.gz")))
    graphs = parts[options.part]
    print(f"{options.part}: {len(graphs)} traces, {len({g.question_id for g in graphs})} questions\n")
    print("| | " + " | ".join(COLUMNS) + " |\n|" + "---|" * (len(COLUMNS) + 1))
    with tempfile.TemporaryDirectory() as folder:
        for name, checkout in (("before", options.before), ("now", _with_weights(options.weights, Path(folder)))):
            if checkout is not None:
                found = analyzed(graphs, checkout)
                for markers in (True, False):
                    show(f"{name}, markers {'on' if markers else 'off'}", score(graphs, found["molecules"], markers))
    for name, counts in baselines(graphs, parts).items():
        show(name, counts)
    for key in ("domain", "generator"):
        for value in sorted({getattr(g, key) for g in graphs}):
            chosen = [n for n, g in enumerate(graphs) if getattr(g, key) == value]
            some = [graphs[n] for n in chosen]
            show(f"{value}: now", score(some, [found["molecules"][n] for n in chosen], True))
            show(f"{value}: previous step", {"links": step_before(some)})
    print(f"\nboundaries F1 {boundaries(graphs, found['molecules']).f1():.3f}")
    table = reliability(graphs, found["molecules"])
    print("\n| probability | drawn | bonds |\n|---|---|---|")
    print("\n".join(f"| {p:.2f} | {t:.2f} | {n} |" for p, t, n in table))
    if options.plot is not None:
        plot(table, options.plot)
    steps, seconds = sum(len(m["spans"]) for m in found["molecules"]), sum(m["seconds"] for m in found["molecules"])
    print(f"\n{steps} steps, {2 * steps / seconds:.0f} a second and core; peak {found['peak_mb']:.0f} MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--dump"]:
        dump(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
