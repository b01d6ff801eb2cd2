"""From the steps of a trace and their claims to the bonds between them: kind, strength, origin, evidence.

docs/concepts/bonds.md defines which links make which bond. Exact evidence from claims overrules the learned
classifiers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stillery.bonds.claims.evidence import Evidence
from stillery.bonds.claims.memory import shorten
from stillery.bonds.claims.reflection import Finding
from stillery.bonds.classifiers import Floats
from stillery.bonds.model.language import is_english
from stillery.bonds.model.links import LINKS, Links, find_links, load_model
from stillery.bonds.model.mentions import Ints
from stillery.bonds.model.roles import HEADS, REFLECTS
from stillery.bonds.steps.markers import is_filler, mask
from stillery.records import Bond, BondKind

BANDS = {
    BondKind.STRONG_LOGIC: (0.8, 1.0),
    BondKind.REFLECTION: (0.6, 0.8),
    BondKind.EXPLORATION: (0.3, 0.6),
}
REFLECTING = [LINKS.index(k) for k in ("verify", "support", "attack", "positive", "negative", "uncertain")]
_EXPLORING = [LINKS.index(k) for k in ("exemplify", "backtrack")]
_DERIVING = [k for k in range(1, len(LINKS)) if k not in (*REFLECTING, *_EXPLORING)]
# The share of its chance to be joined at which a pair is read as an example or as another way.
_MIN_EXPLORING = 0.35
_PLANNING = [LINKS.index(k) for k in ("proceed", "decompose")]
_CASES = [HEADS.index(role) for role in ("assumption", "example")]
_READS_AS = dict(zip(LINKS[1:], (
    "an inference", "the carrying out of a plan", "a restatement", "an elaboration", "an example", "the next plan",
    "part of a plan", "another way", "a check", "support", "a contradiction", "approval", "a rejection", "a doubt",
), strict=True))  # fmt: skip
# Pairs of step texts, the earlier first -> the kind of the bond of each, None for no bond.
Labels = Callable[[Sequence[tuple[str, str]]], Sequence[BondKind | None]]


@dataclass(frozen=True, slots=True)
class Structure:
    """The bonds of a trace; the load-bearing ones, on which stability is measured; and its checks."""

    bonds: list[Bond]
    support: list[Bond]
    checks: list[Finding]


def find_bonds(texts: Sequence[str], evidence: Evidence, *, markers: bool = True) -> Structure:
    """All bonds of a trace. Without markers, words like "wait" are blanked and steps made only of them are skipped.

    The classifiers were trained on English; in other languages only evidence from claims makes a bond, and the bond's
    evidence says so.
    """
    checks = {(f.source, f.target): f for f in evidence.returns if f.is_exact or evidence.is_symbolic}
    bonds = [_exact_bond(f, BondKind.REFLECTION) for f in checks.values()]
    is_read = evidence.is_symbolic or is_english(texts)
    if evidence.is_symbolic or not is_read:
        uses = [f for f in evidence.uses if (f.source, f.target) not in checks]
        bonds += [_exact_bond(f, BondKind.STRONG_LOGIC) for f in uses]
    else:
        learned = _learned_bonds(texts, evidence, markers=markers)
        bonds += [b for b in learned if (b.source, b.target) not in checks]
    if not is_read:
        bonds = [replace(b, evidence=f"{b.evidence} (by its claims alone: the trace is not in English)") for b in bonds]
    bonds.sort(key=lambda b: (b.target, -b.strength, b.source))
    return Structure(bonds, _support(bonds, evidence), evidence.checks())


def _support(bonds: Sequence[Bond], evidence: Evidence) -> list[Bond]:
    """The load-bearing strong bonds. Where claims show which steps a step uses, they decide; a learned bond bears load
    for a step without a computation, unless all its support is an identity."""
    used = {f.target for f in evidence.uses}
    exact = [_exact_bond(f, BondKind.STRONG_LOGIC) for f in evidence.uses]
    decided = used | evidence.working
    learned = [
        b for b in bonds
        if b.kind == BondKind.STRONG_LOGIC and b.target not in decided and b.source not in evidence.idle
    ]  # fmt: skip
    return [*exact, *learned]


def _exact_bond(finding: Finding, kind: BondKind) -> Bond:
    low, high = BANDS[kind]
    strength = round(min(max(finding.strength, low), high), 4)
    return Bond(finding.source, finding.target, kind, strength, "claims", finding.evidence)


@dataclass(frozen=True, slots=True)
class Decision:
    """Which pairs are joined: rows of the links, the kind of each link, and its probability."""

    rows: Ints
    kinds: Ints
    reflects: NDArray[np.bool_]


def decide(links: Links, thresholds: dict[str, float]) -> Decision:
    """The pairs with a probability above a threshold, and for each step that reflects the most likely step that it
    reflects on."""
    p = 1 - links.probabilities[:, 0]
    reflection = links.probabilities[:, REFLECTING].sum(axis=1)
    joined = p >= np.where(links.j - links.i == 1, thresholds["next"], thresholds["far"])
    reflects = reflection_odds(links) >= thresholds["reflects"]
    best = np.zeros(len(p), bool)
    order = np.lexsort((reflection, links.j))
    best[order[np.flatnonzero(np.diff(links.j[order], append=-1))]] = True
    best &= reflects[links.j]
    rows = np.flatnonzero(joined | best)
    shown = links.probabilities[rows].copy()
    shown[:, 0] = 0
    is_return = best[rows] | (reflects[links.j[rows]] & (reflection[rows] >= p[rows] / 2))
    tries = ~is_return & (shown[:, _EXPLORING].sum(axis=1) >= _MIN_EXPLORING * p[rows])
    for chosen, kinds in ((is_return, REFLECTING), (tries, _EXPLORING), (~is_return & ~tries, _DERIVING)):
        shown[np.ix_(chosen, [k for k in range(len(LINKS)) if k not in kinds])] = 0
    return Decision(rows, np.argmax(shown, axis=1), is_return)


def reflection_odds(links: Links) -> Floats:
    """The probability that each step reflects: from its role, and from the chance that at least one of its links
    does."""
    reflection = np.minimum(links.probabilities[:, REFLECTING].sum(axis=1), 1 - 1e-6)
    none = np.bincount(links.j, weights=np.log1p(-reflection), minlength=len(links.heads))
    return ((links.heads[:, REFLECTS] + 1 - np.exp(none)) / 2).astype(np.float32)


def _learned_bonds(texts: Sequence[str], evidence: Evidence, *, markers: bool) -> list[Bond]:
    model = load_model(markers=markers)
    kept = [i for i, text in enumerate(texts) if markers or not is_filler(text)]
    read = [texts[i] if markers else mask(texts[i]) for i in kept]
    links = find_links(read, evidence.renumbered(kept), model)
    found = decide(links, model.thresholds)
    uses = {(f.source, f.target): f.evidence for f in evidence.uses}
    returns = {(f.source, f.target): f.evidence for f in evidence.returns}
    raw = 1 - links.probabilities[found.rows, 0]
    calibrated = np.interp(raw, model.calibration[0], model.calibration[1]).tolist()
    cases = links.heads[:, _CASES].sum(axis=1) > 0.5
    bonds: list[Bond] = []
    for row, kind, p in zip(found.rows.tolist(), found.kinds.tolist(), calibrated, strict=True):
        i, j = int(links.i[row]), int(links.j[row])
        bond_kind = _bond_kind(kind, bool(cases[j]))
        low, high = BANDS[bond_kind]
        pair = (kept[i], kept[j])
        exact = (returns if bond_kind is BondKind.REFLECTION else uses).get(pair)
        because = exact or _because(links, i, j, kept)
        text = f"{because}; reads as {_READS_AS[LINKS[kind]]}, {p:.2f}"
        origin = "claims" if exact else "model"
        bonds.append(Bond(*pair, bond_kind, round(low + (high - low) * p, 4), origin, text))
    return bonds


def _bond_kind(kind: int, is_case: bool) -> BondKind:
    if kind in REFLECTING:
        return BondKind.REFLECTION
    return BondKind.EXPLORATION if kind in _EXPLORING or (is_case and kind in _PLANNING) else BondKind.STRONG_LOGIC


def _because(links: Links, i: int, j: int, kept: Sequence[int]) -> str:
    """The shared content of two steps, or else their positions."""
    weights = links.mentions.weights
    shared = sorted(links.mentions.terms[i] & links.mentions.terms[j], key=lambda t: (-weights[t], -len(t), t))[:3]
    if shared:
        return f"takes up {shorten(', '.join(shared))} of step {kept[i]}"
    return f"follows on step {kept[i]}" if j == i + 1 else f"goes back to step {kept[i]}"


def relabel(bonds: Sequence[Bond], texts: Sequence[str], labels: Labels) -> list[Bond]:
    """The bonds with the kinds given by a labeller; a pair labelled unrelated loses its bond."""
    pairs = list(dict.fromkeys((bond.source, bond.target) for bond in bonds))
    kinds = dict(zip(pairs, labels([(texts[i], texts[j]) for i, j in pairs]), strict=True))
    kept: list[Bond] = []
    done: set[tuple[int, int]] = set()
    for bond in bonds:
        pair = (bond.source, bond.target)
        kind = kinds[pair]
        if kind is None or pair in done:
            continue
        done.add(pair)
        low, high = BANDS[kind]
        strength = bond.strength if kind == bond.kind else round((low + high) / 2, 4)
        kept.append(Bond(*pair, kind, strength, "labels", bond.evidence))
    return kept
