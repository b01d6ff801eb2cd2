"""The labelled steps, how well the analyzer agrees with them, and the fit of the step roles' weights.

PYTHONPATH=platform:tests python tests/unit/bonds/labelled_steps.py          # the table of docs/bonds.md
PYTHONPATH=platform:tests python tests/unit/bonds/labelled_steps.py --fit    # prints role_weights.py
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from shared_data import shared_data
from stillery.bonds import analyze
from stillery.bonds.atoms import segment
from stillery.bonds.memory import Memory
from stillery.bonds.outcome import find_settled
from stillery.bonds.reading import read_steps
from stillery.bonds.reflection import find_checks
from stillery.bonds.roles import Role, signals
from stillery.bonds.similarity import WordIndex
from stillery.records import Bond, BondKind

DATA = Path(__file__).parents[2] / "data" / "bonds"
ROLES = {"L": Role.DERIVES, "R": Role.RETURNS, "C": Role.RETURNS, "E": Role.EXPLORES, "N": Role.OTHER}
# A step with bonds of several kinds counts as the first of these.
ORDER = ((BondKind.REFLECTION, "R"), (BondKind.EXPLORATION, "E"), (BondKind.STRONG_LOGIC, "L"))
L2_PENALTY = 3.0
AMBIGUOUS_WEIGHT = 0.5


@dataclass(frozen=True)
class Labelled:
    """A trace and the labels of some of its steps: (start, end, letters, starts of the steps it is about)."""

    half: str
    question: str
    text: str
    steps: list[tuple[int, int, str, list[int]]]


def load_excerpts() -> list[Labelled]:
    """The labelled traces that the repository holds."""
    rows = (json.loads(line) for line in (DATA / "excerpts.jsonl").read_text().splitlines())
    return [Labelled(r["half"], r["question"], r["text"], [tuple(s) for s in r["steps"]]) for r in rows]


def load_all(half: str) -> list[Labelled]:
    """The labelled traces of one half, from the shared data; skips the calling test where it is absent."""
    found: list[Labelled] = []
    for line in (DATA / "labels.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["half"] == half:
            traces = shared_data(f"trace_topology/{row['file']}.jsonl").read_text().splitlines()
            trace = json.loads(traces[row["row"]])
            steps = [tuple(s) for s in row["steps"]]
            found.append(Labelled(half, trace["problem"], trace["reasoning_trace"], steps))
    return found


def agreement(traces: Sequence[Labelled], *, markers: bool, only_clear: bool = False) -> Counter[tuple[str, str]]:
    """How often a step with a label was given a kind: counts of (label, kind), kind N for no bond."""
    counts: Counter[tuple[str, str]] = Counter()
    for trace in traces:
        molecule = analyze(trace.text, question=trace.question, markers=markers)
        for start, _, letters, _ in trace.steps:
            if only_clear and (len(letters) > 1 or letters == "C"):
                continue
            number = next(i for i, atom in enumerate(molecule.atoms) if atom.end > start)
            counts[letters[0], kind_of(molecule.bonds, number)] += 1
    return counts


def kind_of(bonds: Sequence[Bond], target: int) -> str:
    """The one kind that a step counts as."""
    kinds = {bond.kind for bond in bonds if bond.target == target}
    return next((letter for kind, letter in ORDER if kind in kinds), "N")


def precision_recall(counts: Counter[tuple[str, str]], letter: str) -> tuple[float, float]:
    """Precision and recall of one kind. Bare confirmations (C) count for neither."""
    hits = counts[letter, letter]
    given = sum(n for (label, kind), n in counts.items() if kind == letter and label != "C")
    labelled = sum(n for (label, _), n in counts.items() if label == letter)
    return hits / max(given, 1), hits / max(labelled, 1)


def training_rows(traces: Sequence[Labelled], *, markers: bool) -> Iterator[tuple[dict[str, float], Role, float]]:
    """The signals of the labelled steps, their roles, and their weights in the fit."""
    for trace in traces:
        spans = segment(trace.text)
        steps = read_steps(trace.text, spans, question=trace.question)
        memory, index = Memory(), WordIndex([step.words for step in steps])
        raw = [trace.text[span.start : span.end] for span in spans] if markers else None
        labels = {
            next(i for i, s in enumerate(spans) if s.end > start): letters for start, _, letters, _ in trace.steps
        }
        settled, checked = find_settled(steps), None
        for step in steps:
            found = signals(step, memory=memory, index=index, settled=settled, checked=checked, raw=raw)
            returns = find_checks(step, steps, memory, trace.text)
            checked = step.index if returns else checked
            if step.index in labels:
                letters = labels[step.index]
                is_clear = len(letters) == 1 and letters != "C"
                yield found, ROLES[letters[0]], 1.0 if is_clear else AMBIGUOUS_WEIGHT
            memory.add(step, is_check=bool(step.refuted) or any(f.verifies is True for f in returns))
            index.add(step.index)


def fit(rows: Sequence[tuple[dict[str, float], Role, float]]) -> dict[Role, dict[str, float]]:
    """Weights of a multinomial logistic model with an L2 penalty on all but the bias."""
    names = list(dict.fromkeys(name for found, _, _ in rows for name in found))
    roles = list(Role)
    x = np.array([[found.get(name, 0.0) for name in names] for found, _, _ in rows])
    y = np.array([roles.index(role) for _, role, _ in rows])
    weight = np.array([w for _, _, w in rows])
    penalized = np.array([[0.0 if name == "bias" else L2_PENALTY] for name in names])

    def loss(flat: Any) -> tuple[float, Any]:
        b = flat.reshape(len(names), len(roles))
        scores = x @ b
        scores -= scores.max(axis=1, keepdims=True)
        p = np.exp(scores)
        p /= p.sum(axis=1, keepdims=True)
        value = -(weight * np.log(p[np.arange(len(y)), y])).sum() + (penalized * b**2).sum() / 2
        slope = x.T @ ((p - np.eye(len(roles))[y]) * weight[:, None]) + penalized * b
        return value, slope.ravel()

    b = minimize(loss, np.zeros(len(names) * len(roles)), jac=True, method="L-BFGS-B").x.reshape(len(names), -1)
    return {role: {name: round(float(b[i, j]), 2) for i, name in enumerate(names)} for j, role in enumerate(roles)}


def print_weights() -> None:
    """role_weights.py, fitted on the tune half."""
    print('"""Weights of the step roles, fitted on the tune half of the labelled steps; see docs/bonds.md."""\n')
    print("from stillery.bonds.roles import Role\n")
    for name, markers in (("WEIGHTS", False), ("MARKED_WEIGHTS", True)):
        print(f"{name}: dict[Role, dict[str, float]] = {{")
        for role, weights in fit(list(training_rows(load_all("tune"), markers=markers))).items():
            entries = "".join(f'        "{signal}": {w:.2f},\n' for signal, w in weights.items())
            print(f"    Role.{role.name}: {{\n{entries}    }},")
        print("}")


def print_table() -> None:
    """Precision and recall by kind, for every half, with and without markers."""
    print("| half | markers | steps | kind | precision | recall | clear steps: precision | recall |")
    print("|---|---|---|---|---|---|---|---|")
    for half in ("tune", "report", "held_out"):
        traces = load_all(half)
        for markers in (True, False):
            every = agreement(traces, markers=markers)
            clear = agreement(traces, markers=markers, only_clear=True)
            for letter, name in (("R", "reflection"), ("L", "strong logic"), ("E", "exploration")):
                figures = [f"{x:.2f}" for x in (*precision_recall(every, letter), *precision_recall(clear, letter))]
                setting = "on" if markers else "off"
                print(f"| {half} | {setting} | {sum(every.values())} | {name} | {' | '.join(figures)} |")


if __name__ == "__main__":
    print_weights() if "--fit" in sys.argv else print_table()
