#!/usr/bin/env python3
"""Bond patterns of five models' reasoning, from annotated links and from ours. Do ours rank the models in the same way?

    python tests/benchmarks/conformance/corpus_patterns.py [--plots docs/benchmarks] [--gold-only]

Reads ../shared/data/reasoningflow. Prints tables in Markdown and, with `--plots`, draws them. Annotated links count as
bonds: inferences, executions, restatements and elaborations of facts as strong logic; checks, support, attack and
remarks as reflection; plans given up for another and examples as exploration. Links from plan to plan do not count.

- pi(b) and P(b'|b) are those of `stillery.bonds.corpus.patterns`, with intervals from 1,000 bootstrap samples of the
  questions.
- The distance of two models is the Jensen-Shannon divergence in bits of their shares, or of their transitions, over the
  questions that both answered, beside its mean when the two models' names are shuffled within each question.
- Agreement is Spearman's correlation of the ten distances, gold against ours: its interval from bootstrap samples of
  the questions, and its p-value from all 120 ways to permute the models' names on our side (a Mantel test).
"""

import argparse
import gzip
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import spearmanr

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from stillery.bonds import analyze  # noqa: E402
from stillery.bonds.corpus.patterns import KINDS, pattern_counts  # noqa: E402
from stillery.records import Bond, BondKind, Molecule  # noqa: E402
from support.shared_data import shared_data  # noqa: E402

MODELS = ("DeepSeek-R1", "QwQ-32B", "DeepSeek-V3", "gpt-oss-120b", "Qwen2.5-32B-Instruct")
SHORT = {
    "strong_logic": "strong logic",
    "reflection_verification": "reflection",
    "exploratory_association": "exploration",
}
GOLD = {
    **dict.fromkeys(
        ("reason:infer", "reason:execute", "reason:restate", "reason:elaborate-fact"), BondKind.STRONG_LOGIC
    ),
    **dict.fromkeys(
        (
            "validate:support",
            "validate:attack",
            "reflect:positive",
            "reflect:negative",
            "reflect:uncertain",
            "plan:verify",
        ),
        BondKind.REFLECTION,
    ),
    **dict.fromkeys(("plan:backtrack", "reason:exemplify"), BondKind.EXPLORATION),
}
NUM_RESAMPLES = 1000
NUM_SHUFFLES = 1000
PAIRS = list(combinations(range(len(MODELS)), 2))

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Corpus:
    """Counts of bonds and of what follows what, a row a trace: the first three columns are the kinds', the other nine
    the pairs'. `questions` and `models` are indices."""

    name: str
    features: Array
    questions: NDArray[np.int64]
    models: NDArray[np.int64]
    num_questions: int

    def chosen(self, keep: NDArray[np.bool_]) -> "Corpus":
        return Corpus(self.name, self.features[keep], self.questions[keep], self.models[keep], self.num_questions)


def gold_molecule(row: dict[str, Any]) -> Molecule:
    """The annotated links of a trace as bonds; steps are the annotated ones, in their order."""
    place = {node[0]: index for index, node in enumerate(sorted(row["nodes"], key=lambda node: node[1]))}
    bonds: list[Bond] = []
    for one, two, label in row["edges"]:
        if one in place and two in place and one != two and label in GOLD:
            first, second = sorted((place[one], place[two]))
            bonds.append(Bond(first, second, GOLD[label], 1.0, "annotation", label))
    return Molecule(row["doc_id"], [], bonds, 0.0, 0.0, 0.0, [])


def corpus_of(name: str, molecules: list[Molecule], rows: list[dict[str, Any]]) -> Corpus:
    bonds, pairs = pattern_counts(molecules)
    questions = sorted({row["question_id"] for row in rows})
    return Corpus(
        name,
        np.concatenate([bonds, pairs.reshape(len(rows), -1)], axis=1),
        np.array([questions.index(row["question_id"]) for row in rows]),
        np.array([MODELS.index(row["generator"]) for row in rows]),
        len(questions),
    )


def by_question(corpus: Corpus) -> Array:
    """The counts summed to (model, question, 12)."""
    total = np.zeros((len(MODELS), corpus.num_questions, corpus.features.shape[1]))
    np.add.at(total, (corpus.models, corpus.questions), corpus.features)
    return total


def draws(corpus: Corpus, *, seed: int = 0) -> Array:
    """How often each question is drawn: first the sample itself, then the bootstrap samples."""
    present = np.unique(corpus.questions)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(present), np.full(len(present), 1 / len(present)), size=NUM_RESAMPLES)
    weights = np.zeros((NUM_RESAMPLES + 1, corpus.num_questions))
    weights[0, present] = 1
    weights[1:, present] = counts
    return weights


def shares(counts: Array) -> Array:
    total = counts.sum(axis=-1, keepdims=True)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def divergence(left: Array, right: Array) -> tuple[Array, Array]:
    """Of two arrays of counts (…, 12): the divergence of the shares, and of what follows what once the first kind is
    known (by the chain rule), in bits."""
    marginal = _bits(left[..., :3], right[..., :3])
    pairs = [side[..., 3:] for side in (left, right)]
    firsts = [side.reshape(*side.shape[:-1], 3, 3).sum(axis=-1) for side in pairs]
    return marginal, np.maximum(_bits(*pairs) - _bits(*firsts), 0.0)


def _bits(left: Array, right: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(jensenshannon(shares(left), shares(right), base=2, axis=-1)) ** 2


def distances(corpus: Corpus, weights: Array) -> Array:
    """(2, resample, pair of models): over the questions that both of a pair answered."""
    counts = by_question(corpus)
    answered = np.zeros((len(MODELS), corpus.num_questions), dtype=bool)
    answered[corpus.models, corpus.questions] = True
    found = np.zeros((2, len(weights), len(PAIRS)))
    for column, (one, two) in enumerate(PAIRS):
        both = weights * (answered[one] & answered[two])
        found[:, :, column] = np.stack(divergence(both @ counts[one], both @ counts[two]))
    return found


def chance(corpus: Corpus, *, seed: int = 0) -> tuple[Array, Array]:
    """(2, pair): the mean distance, and the share of shuffles at least as far apart, where the names of the two models
    are exchanged at random within each question."""
    counts = by_question(corpus)
    answered = np.zeros((len(MODELS), corpus.num_questions), dtype=bool)
    answered[corpus.models, corpus.questions] = True
    rng = np.random.default_rng(seed)
    real = distances(corpus, draws(corpus)[:1])[:, 0]
    mean, p_value = np.zeros((2, len(PAIRS))), np.zeros((2, len(PAIRS)))
    for column, (one, two) in enumerate(PAIRS):
        both = answered[one] & answered[two]
        kept = rng.integers(0, 2, (NUM_SHUFFLES, int(both.sum()))).astype(float)
        first = kept @ counts[one][both] + (1 - kept) @ counts[two][both]
        second = kept @ counts[two][both] + (1 - kept) @ counts[one][both]
        null = np.stack(divergence(first, second))
        mean[:, column] = null.mean(axis=1)
        p_value[:, column] = ((null >= real[:, column, None] - 1e-12).sum(axis=1) + 1) / (NUM_SHUFFLES + 1)
    return mean, p_value


def agreement(gold: Array, ours: Array) -> tuple[float, float, float, float]:
    """Spearman's correlation of the distances (resample, pair), its interval, and the Mantel p-value."""
    value = float(spearmanr(gold[0], ours[0]).statistic)
    resampled = [float(spearmanr(a, b).statistic) for a, b in zip(gold[1:], ours[1:], strict=True)]
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    column = {pair: index for index, pair in enumerate(PAIRS)}
    null = [
        float(spearmanr(gold[0], [ours[0][column[min(p[a], p[b]), max(p[a], p[b])]] for a, b in PAIRS]).statistic)
        for p in permutations(range(len(MODELS)))
    ]
    return value, float(low), float(high), float(np.mean([other >= value - 1e-12 for other in null]))


def shown(value: float, low: float, high: float) -> str:
    """A share and its interval in per cent."""
    return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def print_patterns(corpora: list[Corpus]) -> dict[str, tuple[Array, Array]]:
    """Tables of pi(b) and P(b'|b) in per cent. Returns each corpus' shares with all resamples."""
    found: dict[str, tuple[Array, Array]] = {}
    for corpus in corpora:
        pooled = np.einsum("rq,mqf->mrf", draws(corpus), by_question(corpus))
        found[corpus.name] = shares(pooled[..., :3]), shares(pooled[..., 3:].reshape(*pooled.shape[:2], 3, 3))
    print("| model | links | traces | " + " | ".join(SHORT[kind] for kind in KINDS) + " |\n|---|---|---|---|---|---|")
    for index, model in enumerate(MODELS):
        for corpus in corpora:
            marginal = found[corpus.name][0][index]
            cells = [shown(marginal[0, k], *np.nanquantile(marginal[1:, k], [0.025, 0.975])) for k in range(3)]
            print(f"| {model} | {corpus.name} | {int((corpus.models == index).sum())} | " + " | ".join(cells) + " |")
    heads = [f"{SHORT[a]} → {SHORT[b]}" for a in KINDS for b in KINDS]
    print("\n| model | links | " + " | ".join(heads) + " |\n|---|---|" + "---|" * len(heads))
    for index, model in enumerate(MODELS):
        for corpus in corpora:
            rows = found[corpus.name][1][index].reshape(-1, 9)
            cells = [shown(rows[0, k], *np.nanquantile(rows[1:, k], [0.025, 0.975])) for k in range(9)]
            print(f"| {model} | {corpus.name} | " + " | ".join(cells) + " |")
    return found


def print_distances(corpora: list[Corpus]) -> dict[str, Array]:
    """A table of the distances beside chance. Returns them with all resamples."""
    found = {corpus.name: distances(corpus, draws(corpus)) for corpus in corpora}
    nulls = {corpus.name: chance(corpus) for corpus in corpora}
    for part, title in enumerate(("shares", "what follows what")):
        heads = [f"{corpus.name}: distance | by chance | p" for corpus in corpora]
        print(f"\n| {title}: models | " + " | ".join(heads) + " |\n|---|" + "---|---|---|" * len(corpora))
        for column, (one, two) in enumerate(PAIRS):
            cells: list[str] = []
            for corpus in corpora:
                rows = found[corpus.name][part][:, column]
                low, high = np.nanquantile(rows[1:], [0.025, 0.975])
                mean, p_value = (null[part, column] for null in nulls[corpus.name])
                cells.append(f"{rows[0]:.4f} ({low:.4f} to {high:.4f}) | {mean:.4f} | {p_value:.3f}")
            print(f"| {MODELS[one]}, {MODELS[two]} | " + " | ".join(cells) + " |")
    return found


def print_agreement(found: dict[str, Array], names: list[str]) -> None:
    print("\n| distances | Spearman, gold against ours | p |\n|---|---|---|")
    for name in names:
        for part, title in enumerate(("shares", "what follows what")):
            value, low, high, p_value = agreement(found["gold"][part], found[name][part])
            print(f"| {title}, {name} | {value:.2f} ({low:.2f} to {high:.2f}) | {p_value:.3f} |")


def plot(patterns: dict[str, tuple[Array, Array]], found: dict[str, Array], names: list[str], folder: Path) -> None:
    """Two drawings: the shares with their intervals, and the distances against each other."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "isomers", "font.size": 9})
    colours = {"gold": "#767b84", "ours": "#0072b2", "ours, markers": "#b35c00"}
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), sharey=True)
    for kind, axis in enumerate(axes):
        for shift, name in enumerate(["gold", *names]):
            marginal = patterns[name][0][:, :, kind]
            low, high = np.nanquantile(marginal[:, 1:], [0.025, 0.975], axis=1)
            places = np.arange(len(MODELS)) + 0.2 * (shift - len(names) / 2)
            errors = np.maximum(np.stack([marginal[:, 0] - low, high - marginal[:, 0]]), 0)
            axis.errorbar(marginal[:, 0], places, xerr=errors, fmt="o", ms=4, color=colours[name], label=name)
        axis.set_title(SHORT[KINDS[kind]])
        axis.set_yticks(range(len(MODELS)), MODELS)
        axis.set_xlabel("share of all bonds")
    axes[0].invert_yaxis()
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(folder / "2026-11-27-isomers-shares.svg", metadata={"Date": None})
    figure, axes = plt.subplots(1, 2, figsize=(9, 4))
    for part, (axis, title) in enumerate(zip(axes, ("shares", "what follows what"), strict=True)):
        for name in names:
            gold, ours = found["gold"][part][0], found[name][part][0]
            axis.scatter(gold, ours, s=18, color=colours[name], label=name)
            for column, (one, two) in enumerate(PAIRS) if name == names[0] else ():
                axis.annotate(f"{MODELS[one][:6]}–{MODELS[two][:6]}", (gold[column], ours[column]), fontsize=6)
        axis.set_title(title)
        axis.set_xlabel("distance by annotated links, bits")
        axis.set_ylabel("distance by our bonds, bits")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(folder / "2026-11-27-isomers-distances.svg", metadata={"Date": None})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plots", type=Path, help="the folder for the drawings")
    parser.add_argument("--gold-only", action="store_true")
    parser.add_argument("--questions", type=Path, help="a JSON list of question ids: only these")
    parsed = parser.parse_args()
    with gzip.open(shared_data("reasoningflow/traces.jsonl.gz"), "rt") as lines:
        rows = [json.loads(line) for line in lines]
    if parsed.questions:
        wanted = set(json.loads(parsed.questions.read_text()))
        rows = [row for row in rows if row["question_id"] in wanted]
    corpora = [corpus_of("gold", [gold_molecule(row) for row in rows], rows)]
    names: list[str] = []
    for name, markers in () if parsed.gold_only else (("ours", False), ("ours, markers", True)):
        found = [analyze(row["response"], question=row["question"], markers=markers) for row in rows]
        corpora.append(corpus_of(name, found, rows))
        names.append(name)
    answered: dict[int, set[int]] = defaultdict(set)
    for question, model in zip(corpora[0].questions, corpora[0].models, strict=True):
        answered[int(question)].add(int(model))
    common = np.array([len(answered[int(q)]) == len(MODELS) for q in corpora[0].questions])
    print(f"{len(rows)} traces on {corpora[0].num_questions} questions\n")
    patterns = print_patterns(corpora)
    measured = print_distances(corpora)
    if names:
        print_agreement(measured, names)
        print(f"\nThe {int(common.sum())} traces on the questions that all five models answered:")
        same = {corpus.name: distances(corpus.chosen(common), draws(corpus.chosen(common))) for corpus in corpora}
        print_agreement(same, names)
    if parsed.plots:
        plot(patterns, measured, names, parsed.plots)
    return 0


if __name__ == "__main__":
    sys.exit(main())
