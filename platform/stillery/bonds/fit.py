"""`python -m stillery.bonds.fit DATA [--all] [--seed 0] [--out FOLDER]`: annotated graphs in, weights and card out.

Trains on the fit part, tunes on the tune part, and leaves the test part alone: such weights are what figures are
measured with. With `--all` the thresholds and calibration found so are put to classifiers trained on all three parts:
such weights are what ships. Takes minutes on two cores and needs scikit-learn (`pip install stillery[fit]`). The same
data, seed and versions give the same weights.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillery.bonds import weights
from stillery.bonds.claims.evidence import find_evidence
from stillery.bonds.claims.reading import read_steps
from stillery.bonds.classifiers import Linear, arrays_of
from stillery.bonds.model.links import LinkModel, Links, find_links
from stillery.bonds.steps.clauses import boundary_features
from stillery.bonds.steps.markers import is_filler, mask
from stillery.bonds.steps.segmentation import clauses_of, segment
from stillery.bonds.training.estimators import fit_linear
from stillery.bonds.training.graphs import Graph, nodes_of, read_graphs, split_graphs
from stillery.bonds.training.pipeline import AnnotatedTrace, Classifiers, fit_classifiers
from stillery.bonds.training.tuning import calibrate, score_links, tune_thresholds
from stillery.errors import UserError

_SETS = ("marked", "masked")
_BOUNDARY_COUNT = 6
_BOUNDARY_PENALTY = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, tune and write."""
    parser = argparse.ArgumentParser(prog="python -m stillery.bonds.fit", description=__doc__)
    parser.add_argument(
        "data", type=Path, help="annotated graphs: JSON lines, plain or gzipped (docs/concepts/bonds.md)"
    )
    parser.add_argument("--all", action="store_true", help="write weights that were trained on all parts")
    parser.add_argument("--measured", type=Path, help="with --all: where the weights of the fit part alone go")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(weights.__file__).parent, help="default: the package's own")
    options = parser.parse_args(arguments)
    try:
        fit(options.data, seed=options.seed, out=options.out, on_all=options.all, measured=options.measured)
    except UserError as e:
        print(e, file=sys.stderr)
        return 1
    return 0


def fit(data: Path, *, seed: int, out: Path, on_all: bool = False, measured: Path | None = None) -> dict[str, Any]:
    """Train everything and write it to a folder; the card."""
    started = time.monotonic()
    if not data.exists():
        raise UserError(f"{data} does not exist. Give a file of annotated graphs; see docs/concepts/bonds.md.")
    parts = split_graphs(read_graphs(data))
    if not parts["fit"] or not parts["tune"]:
        raise UserError(f"{data} has too few questions: none fell to the fit or the tune part.")
    with ProcessPoolExecutor(2) as pool:
        boundaries, examples = _boundaries_and_examples(parts["fit"], parts["tune"], pool, seed)
        _say("traces read", started)
        tasks = [([x[k] for x in examples[0]], [x[k] for x in examples[1]], seed) for k in range(len(_SETS))]
        fitted = list(pool.map(_fit_and_tune, *zip(*tasks, strict=True)))
        figures = {name: found for name, (_, found) in zip(_SETS, fitted, strict=True)}
        _say(f"fitted and tuned: {figures}", started)
        arrays = [a for a, _ in fitted]
        card = _card(data, parts, seed, figures, on_all=False)
        if not on_all or measured is not None:
            _write(measured or out, boundaries, arrays, card)
        if on_all:
            graphs = [graph for part in parts.values() for graph in part]
            boundaries, examples = _boundaries_and_examples(graphs, [], pool, seed)
            chosen = [[x[k] for x in examples[0]] for k in range(len(_SETS))]
            arrays = [a | b for a, b in zip(arrays, pool.map(partial(_fit_arrays, seed=seed), chosen), strict=True)]
            _say("fitted on all parts", started)
            card = _card(data, parts, seed, figures, on_all=True)
            _write(out, boundaries, arrays, card)
    return card


def _write(out: Path, boundaries: Linear, arrays: Sequence[dict[str, NDArray[Any]]], card: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_arrays(out / "boundaries.npz", arrays_of(boundaries))
    for name, found in zip(_SETS, arrays, strict=True):
        write_arrays(out / f"{name}.npz", found)
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _boundaries_and_examples(
    fitted: Sequence[Graph], others: Sequence[Graph], pool: ProcessPoolExecutor, seed: int
) -> tuple[Linear, list[list[tuple[AnnotatedTrace, AnnotatedTrace]]]]:
    """The classifier of boundaries, fitted to some graphs, and those and other graphs as it segments them."""
    boundaries = fit_boundaries(fitted, seed=seed)
    read = partial(read_examples, boundaries=boundaries)
    return boundaries, [list(pool.map(read, graphs, chunksize=8)) for graphs in (fitted, others)]


def _say(what: str, started: float) -> None:
    print(f"{time.monotonic() - started:6.0f} s  {what}", file=sys.stderr, flush=True)


def fit_boundaries(graphs: Sequence[Graph], *, seed: int) -> Linear:
    """The classifier of where a step ends."""
    rows: list[list[str]] = []
    targets: list[bool] = []
    for graph in graphs:
        ends = {end for _, end, _ in graph.nodes}
        for clauses in clauses_of(graph.text):
            rows += boundary_features(clauses, graph.text)
            targets += [clause.end in ends for clause in clauses[:-1]]
    known = np.array(targets, np.float32)[:, None]
    return fit_linear(rows, known, min_count=_BOUNDARY_COUNT, penalty=_BOUNDARY_PENALTY, seed=seed)


def read_examples(graph: Graph, boundaries: Linear) -> tuple[AnnotatedTrace, AnnotatedTrace]:
    """A trace as `analyze` reads it with and without markers."""
    spans = segment(graph.text, boundaries=boundaries)
    steps = read_steps(graph.text, spans, question=graph.question)
    evidence = find_evidence(steps, graph.text, question=graph.question)
    texts = [graph.text[span.start : span.end] for span in spans]
    nodes = nodes_of(graph, spans)
    kept = [i for i, text in enumerate(texts) if not is_filler(text)]
    masked = AnnotatedTrace(graph, [mask(texts[i]) for i in kept], evidence.renumbered(kept), nodes[kept])
    return AnnotatedTrace(graph, texts, evidence, nodes), masked


def _fit_arrays(examples: Sequence[AnnotatedTrace], *, seed: int) -> dict[str, NDArray[Any]]:
    return _arrays_of_all(fit_classifiers(examples, seed=seed))


def _arrays_of_all(classifiers: Classifiers) -> dict[str, NDArray[Any]]:
    names = ("linear", "roles", "first", "second")
    return {f"{n}.{key}": a for n in names for key, a in arrays_of(getattr(classifiers, n)).items()}


def _fit_and_tune(
    fitted: Sequence[AnnotatedTrace], tuned: Sequence[AnnotatedTrace], seed: int
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays of one set of classifiers with the best thresholds and calibration, and the metrics."""
    found = fit_classifiers(fitted, seed=seed)
    draft = LinkModel(found.linear, found.roles, found.first, found.second, {}, np.zeros((2, 2), np.float32))
    links: list[Links] = [find_links(e.texts, e.evidence, draft) for e in tuned]
    thresholds = tune_thresholds(tuned, links)
    scores = score_links(tuned, links, thresholds)
    arrays = {"calibration": calibrate(tuned, links)} | _arrays_of_all(found)
    arrays |= {f"threshold.{name}": np.array(value, np.float32) for name, value in thresholds.items()}
    counts = {"links": scores.links, "beyond the next step": scores.far, "reflecting steps": scores.reflecting}
    return arrays, {"thresholds": thresholds} | {k: round(c.f1(), 3) for k, c in counts.items()}


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Written under a temporary name first, so that a reader never sees half a file."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    part.replace(path)


def _card(
    data: Path, parts: dict[str, list[Graph]], seed: int, figures: dict[str, Any], *, on_all: bool
) -> dict[str, Any]:
    import sklearn

    return {
        "data": {
            "name": "ReasoningFlow (arXiv 2606.05402), annotated by a language model",
            "licence": "Apache-2.0",
            "source": "jinulee-v/reasoningflow",
            "sha256": hashlib.sha256(data.read_bytes()).hexdigest(),
            "traces": {part: len(graphs) for part, graphs in parts.items()},
            "questions": {part: len({g.question_id for g in graphs}) for part, graphs in parts.items()},
        },
        "command": f"python -m stillery.bonds.fit {data.name}{' --all' if on_all else ''} --seed {seed}",
        "trained on": "fit, tune and test" if on_all else "fit",
        "scikit-learn": sklearn.__version__,
        "files": {"boundaries.npz": "ends of steps", "marked.npz": "reads markers", "masked.npz": "never saw one"},
        "F1 on the tune part of weights trained on the fit part": figures,
    }


if __name__ == "__main__":
    raise SystemExit(main())
