"""`python -m stillery.bonds.fit DATA [--seed 0] [--out FOLDER]`: annotated graphs in, the shipped weights and card out.

Takes minutes on two cores and needs scikit-learn (`pip install stillery[fit]`). The same data, seed and versions give
the same weights.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillery.bonds import weights
from stillery.bonds.claims.evidence import find_evidence
from stillery.bonds.claims.reading import read_steps
from stillery.bonds.classifiers import Linear, arrays_of
from stillery.bonds.model.links import Links, Model, find_links
from stillery.bonds.steps.clauses import boundary_features
from stillery.bonds.steps.markers import is_filler, mask
from stillery.bonds.steps.segmentation import clauses_of, segment
from stillery.bonds.training.estimators import fit_linear
from stillery.bonds.training.graphs import Graph, nodes_of, read_graphs, split_graphs
from stillery.bonds.training.pipeline import Classifiers, Example, fit_classifiers
from stillery.bonds.training.tuning import calibrate, score_links, tune_thresholds
from stillery.errors import UserError

_BOUNDARY_COUNT = 6
_BOUNDARY_PENALTY = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """Train on the fit part, tune on the tune part, write. The test part is not opened."""
    parser = argparse.ArgumentParser(prog="python -m stillery.bonds.fit", description=__doc__)
    parser.add_argument("data", type=Path, help="annotated graphs, JSON lines, may be gzipped: docs/concepts/bonds.md")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(weights.__file__).parent, help="default: the package's own")
    options = parser.parse_args(arguments)
    try:
        fit(options.data, seed=options.seed, out=options.out)
    except UserError as e:
        print(e, file=sys.stderr)
        return 1
    return 0


def fit(data: Path, *, seed: int, out: Path) -> dict[str, Any]:
    """Train everything and write it to a folder; the card."""
    started = time.monotonic()
    if not data.exists():
        raise UserError(f"{data} does not exist. Give a file of annotated graphs; see docs/concepts/bonds.md.")
    parts = split_graphs(read_graphs(data))
    if not parts["fit"] or not parts["tune"]:
        raise UserError(f"{data} has too few questions: none fell to the fit or the tune part.")
    out.mkdir(parents=True, exist_ok=True)
    boundaries = fit_boundaries(parts["fit"], seed=seed)
    write_arrays(out / "boundaries.npz", arrays_of(boundaries))
    _say("boundaries", started)
    figures: dict[str, Any] = {}
    examples = {part: [read_examples(graph, boundaries) for graph in parts[part]] for part in ("fit", "tune")}
    _say("traces read", started)
    for which, name in enumerate(("marked", "masked")):
        classifiers = fit_classifiers([pair[which] for pair in examples["fit"]], seed=seed)
        arrays, figures[name] = tune(classifiers, [pair[which] for pair in examples["tune"]])
        write_arrays(out / f"{name}.npz", arrays)
        _say(f"{name}: {figures[name]}", started)
    card = _card(data, parts, seed, figures)
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return card


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


def read_examples(graph: Graph, boundaries: Linear) -> tuple[Example, Example]:
    """A trace as `analyze` reads it with markers and without."""
    spans = segment(graph.text, boundaries=boundaries)
    steps = read_steps(graph.text, spans, question=graph.question)
    evidence = find_evidence(steps, graph.text, question=graph.question)
    texts = [graph.text[span.start : span.end] for span in spans]
    nodes = nodes_of(graph, spans)
    kept = [i for i, text in enumerate(texts) if not is_filler(text)]
    masked = Example(graph, [mask(texts[i]) for i in kept], evidence.renumbered(kept), nodes[kept])
    return Example(graph, texts, evidence, nodes), masked


def tune(classifiers: Classifiers, examples: Sequence[Example]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays of one set of classifiers with the thresholds and the calibration that suit them, and the figures."""
    draft = Model(
        classifiers.linear, classifiers.roles, classifiers.first, classifiers.second, {}, np.zeros((2, 2), np.float32)
    )
    links: list[Links] = [find_links(e.texts, e.evidence, draft) for e in examples]
    thresholds = tune_thresholds(examples, links)
    scores = score_links(examples, links, thresholds)
    arrays: dict[str, NDArray[Any]] = {"calibration": calibrate(examples, links)}
    arrays |= {f"threshold.{name}": np.array(value, np.float32) for name, value in thresholds.items()}
    for name in ("linear", "roles", "first", "second"):
        arrays |= {f"{name}.{key}": a for key, a in arrays_of(getattr(classifiers, name)).items()}
    found = {"links": scores.links, "beyond the next step": scores.far, "reflecting steps": scores.reflecting}
    return arrays, {"thresholds": thresholds} | {k: round(counts.f1(), 3) for k, counts in found.items()}


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Written under another name first, so that a reader never sees half a file."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    part.replace(path)


def _card(data: Path, parts: dict[str, list[Graph]], seed: int, figures: dict[str, Any]) -> dict[str, Any]:
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
        "command": f"python -m stillery.bonds.fit {data.name} --seed {seed}",
        "scikit-learn": sklearn.__version__,
        "files": {"boundaries.npz": "ends of steps", "marked.npz": "reads markers", "masked.npz": "never saw one"},
        "F1 on the tune part": figures,
    }


if __name__ == "__main__":
    raise SystemExit(main())
