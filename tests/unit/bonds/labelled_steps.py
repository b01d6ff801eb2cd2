"""The labelled steps, how well the analyzer agrees with them, and the fit of the step roles' weights.

PYTHONPATH=platform:tests python tests/unit/bonds/labelled_steps.py          # the table of docs/bonds.md
PYTHONPATH=platform:tests python tests/unit/bonds/labelled_steps.py --fit    # prints role_weights.py
PYTHONPATH=platform:tests python tests/unit/bonds/labelled_steps.py --cross-validate    # the tune half, by problem
"""

import json
import re
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
from stillery.bonds.claims.reading import Step, read_steps
from stillery.bonds.model.bonding import find_bonds
from stillery.bonds.model.roles import Role, pick_role, role_odds
from stillery.bonds.model.signals import Signals, add_marker_signals, step_signals
from stillery.bonds.steps.segmentation import segment
from stillery.records import Atom, Bond, BondKind

DATA = Path(__file__).parents[2] / "data" / "bonds"
ROLES = {"L": Role.DERIVES, "R": Role.RETURNS, "C": Role.RETURNS, "E": Role.EXPLORES, "N": Role.OTHER}
# A step with bonds of several kinds counts as the first of these.
ORDER = ((BondKind.REFLECTION, "R"), (BondKind.EXPLORATION, "E"), (BondKind.STRONG_LOGIC, "L"))
# The halves that nothing was fitted to.
UNSEEN = ("report", "held_out", "fresh")
NAMES = {"R": "reflection", "L": "strong logic", "E": "exploration"}
KEYWORDS = re.compile(r"\b(?:wait|hmm+|but|however|actually|let me check|verify)\b", re.IGNORECASE)
L2_PENALTY = 10.0
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
            number = step_at(molecule.atoms, start)
            counts[letters[0], kind_of(molecule.bonds, number)] += 1
    return counts


def step_at(steps: Sequence[Step] | Sequence[Atom], start: int) -> int:
    """The step that a character is in."""
    return next(i for i, step in enumerate(steps) if step.end > start)


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


def signals_of(trace: Labelled, *, markers: bool) -> tuple[list[Step], list[Signals]]:
    """The steps of a trace and the signals of each."""
    spans = segment(trace.text)
    steps = read_steps(trace.text, spans, question=trace.question)
    found = step_signals(steps, text=trace.text, question=trace.question)
    if markers:
        add_marker_signals(found, [trace.text[s.start : s.end] for s in spans])
    return steps, found


def training_rows(traces: Sequence[Labelled], *, markers: bool) -> Iterator[tuple[Signals, Role, float]]:
    """The signals of the labelled steps, their roles, and their weights in the fit."""
    for trace in traces:
        steps, found = signals_of(trace, markers=markers)
        for start, _, letters, _ in trace.steps:
            is_clear = len(letters) == 1 and letters != "C"
            yield found[step_at(steps, start)], ROLES[letters[0]], 1.0 if is_clear else AMBIGUOUS_WEIGHT


def fit(rows: Sequence[tuple[Signals, Role, float]]) -> dict[str, tuple[float, ...]]:
    """Weights of a multinomial logistic model with an L2 penalty on all but the bias."""
    names = list(dict.fromkeys(name for found, _, _ in rows for name in found))
    roles = list(Role)
    x = np.array([[found[name] for name in names] for found, _, _ in rows])
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
    return {name: tuple(round(float(value), 2) for value in row) for name, row in zip(names, b, strict=True)}


def cross_validated(traces: Sequence[Labelled], *, markers: bool) -> Counter[tuple[str, str]]:
    """`agreement`, each trace judged by weights fitted on the traces of all other problems."""
    counts: Counter[tuple[str, str]] = Counter()
    rows = [(trace.question, list(training_rows([trace], markers=markers))) for trace in traces]
    for problem in dict.fromkeys(trace.question for trace in traces):
        weights = fit([row for other, found in rows if other != problem for row in found])
        for trace in traces:
            if trace.question == problem:
                steps, found = signals_of(trace, markers=markers)
                roles = [pick_role(role_odds(signals, weights)) for signals in found]
                bonds = find_bonds(steps, trace.text, roles=roles, question=trace.question).bonds
                counts.update((letters[0], kind_of(bonds, step_at(steps, s))) for s, _, letters, _ in trace.steps)
    return counts


def keyword_counts(traces: Sequence[Labelled]) -> Counter[tuple[str, str]]:
    """`agreement` of the keywords that mark reflection."""
    return Counter(
        (letters[0], "R" if KEYWORDS.search(trace.text[start:end]) else "N")
        for trace in traces
        for start, end, letters, _ in trace.steps
    )


def print_weights() -> None:
    """role_weights.py, fitted on the tune half."""
    print('"""Weights of the step roles, fitted on the tune half of the labelled steps; see docs/bonds.md."""\n')
    print("from stillery.bonds.model.roles import Weights\n")
    traces = load_all("tune")
    for name, markers in (("WEIGHTS", False), ("MARKED_WEIGHTS", True)):
        print(f"{name}: Weights = {{")
        for signal, row in fit(list(training_rows(traces, markers=markers))).items():
            print(f'    "{signal}": ({", ".join(f"{weight:.2f}" for weight in row)}),')
        print("}")


def print_cross_validation() -> None:
    """Precision, recall and F1 by kind, on problems that the weights were not fitted to, within the tune half."""
    traces = load_all("tune")
    print("| markers | kind | precision | recall | F1 |")
    print("|---|---|---|---|---|")
    for markers in (True, False):
        counts = cross_validated(traces, markers=markers)
        for letter, name in NAMES.items():
            print(f"| {'on' if markers else 'off'} | {name} | {_figures(counts, letter)} |")
    print(f"| | reflection, by keywords | {_figures(keyword_counts(traces), 'R')} |")


def _figures(counts: Counter[tuple[str, str]], letter: str) -> str:
    precision, recall = precision_recall(counts, letter)
    return f"{precision:.2f} | {recall:.2f} | {2 * precision * recall / (precision + recall):.2f}"


def print_table() -> None:
    """Precision and recall by kind, for every half, with and without markers."""
    print("| half | markers | steps | kind | precision | recall | clear steps: precision | recall |")
    print("|---|---|---|---|---|---|---|---|")
    for half in ("tune", *UNSEEN):
        traces = load_all(half)
        for markers in (True, False):
            every = agreement(traces, markers=markers)
            clear = agreement(traces, markers=markers, only_clear=True)
            for letter, name in NAMES.items():
                figures = [f"{x:.2f}" for x in (*precision_recall(every, letter), *precision_recall(clear, letter))]
                setting = "on" if markers else "off"
                print(f"| {half} | {setting} | {sum(every.values())} | {name} | {' | '.join(figures)} |")
    print("\n| of steps never fitted to | precision | recall | F1 |\n|---|---|---|---|")
    unseen = [trace for half in UNSEEN for trace in load_all(half)]
    for name, markers in (("with markers", True), ("without", False)):
        print(f"| reflection, {name} | {_figures(agreement(unseen, markers=markers), 'R')} |")
    print(f"| reflection, by keywords | {_figures(keyword_counts(unseen), 'R')} |")


if __name__ == "__main__":
    modes = {"--fit": print_weights, "--cross-validate": print_cross_validation}
    next((run for option, run in modes.items() if option in sys.argv), print_table)()
