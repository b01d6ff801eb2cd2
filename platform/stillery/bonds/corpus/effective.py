"""Effective bond patterns: the recurring bonds of a corpus that are worth distilling, and the best ones for a problem.

A pattern is a kind of bond under given conditions: how far back it reaches, and what its two steps assert. It counts as
effective above a strength of 0.5. Its triggers are events and opening words of the later step that occur with this
pattern more than with the others.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from stillery.bonds.corpus.terms import similarities, terms_of, words_of
from stillery.records import Atom, Bond, BondKind, Molecule

EFFECTIVE = 0.5
# The article's strength_range: bounds on the strength of a bond.
TOLERANCE = 0.1
NO_CLAIM = "no claim"

_NUM_EXAMPLES = 3
_NUM_TRIGGERS = 8
_OPENING_WORDS = 4
# A trigger's log odds ratio is at least this many standard errors above 0.
_TRIGGER_Z = 2.0
# In a match, the corpus as a whole weighs as much as this many bonds from traces of identical problems.
_PRIOR_BONDS = 10.0


@dataclass(frozen=True, slots=True)
class Trigger:
    """A feature that occurs with a pattern: in `num_bonds` of its bonds, from `num_traces` traces.

    `z` is the log odds ratio against all other bonds over its standard error. Bonds of one trace are not independent,
    so it ranks triggers and is not a test.
    """

    name: str
    num_bonds: int
    num_traces: int
    z: float


@dataclass(frozen=True, slots=True)
class BondExample:
    sample_id: str
    bond: Bond


@dataclass(frozen=True, slots=True)
class Pattern:
    """Bonds of one kind under the same conditions.

    `conditions` are `reach` (next, near: 2 to 5 steps back, far), `source` and `target` (the kind of claim that the
    earlier and the later step make, or "no claim"). `share` is among all effective bonds of the corpus.
    """

    kind: str
    conditions: dict[str, str]
    strength_low: float
    strength_high: float
    num_bonds: int
    num_traces: int
    share: float
    triggers: list[Trigger]
    examples: list[BondExample]


@dataclass(frozen=True, slots=True)
class PatternLibrary:
    """Patterns by falling share, with each trace's counts of them (in the same order) and its question's terms."""

    patterns: list[Pattern]
    counts: list[list[int]]
    questions: list[Counter[str]]


@dataclass(frozen=True, slots=True)
class Match:
    """A pattern for a problem: its expected share of the bonds there, and the ratio to its usual share (lift)."""

    pattern: Pattern
    expected_share: float
    lift: float


# Kind, reach, source claim, target claim; and the index of a trace, a bond of it, and that bond's features.
Key = tuple[str, str, str, str]
Occurrence = tuple[int, Bond, frozenset[str]]


def extract_patterns(
    molecules: Sequence[Molecule],
    *,
    questions: Mapping[str, str] | None = None,
    threshold: float = EFFECTIVE,
    min_traces: int = 2,
) -> PatternLibrary:
    """The effective patterns of a corpus: those of bonds stronger than `threshold` in at least `min_traces` traces.

    `questions` maps sample_id to the problem's text; matching needs it, extraction does not.
    """
    found: dict[Key, list[Occurrence]] = {}
    features: Counter[str] = Counter()
    for index, molecule in enumerate(molecules):
        for bond, seen in _features(molecule):
            if bond.strength > threshold:
                features.update(seen)
                found.setdefault(_key(molecule, bond), []).append((index, bond, seen))
    total = sum(map(len, found.values()))
    kept = {key: bonds for key, bonds in found.items() if len({index for index, _, _ in bonds}) >= min_traces}
    ranked = sorted(kept.items(), key=lambda item: (-len(item[1]), item[0]))
    return PatternLibrary(
        patterns=[_pattern(key, bonds, molecules, features=features, total=total) for key, bonds in ranked],
        counts=_count_by_trace([bonds for _, bonds in ranked], num_traces=len(molecules)),
        questions=[terms_of((questions or {}).get(molecule.sample_id, "")) for molecule in molecules],
    )


def match_patterns(library: PatternLibrary, question: str, *, kind: str | None = None, top: int = 3) -> list[Match]:
    """The patterns that are more frequent in traces of similar problems than in others, best first.

    Each trace votes with the tf-idf cosine of its question to this one; the votes give the expected share of each
    pattern, shrunk towards its share in the corpus. The rank is the pattern's part of the relative entropy between
    the two, share x log(lift); a problem like none in the corpus gets the most common patterns. `kind` asks for one
    kind of bond only. Raises ValueError if the library was extracted without questions or has no pattern.
    """
    if not library.patterns:
        raise ValueError("the library has no pattern: no bond above the threshold recurs in its corpus")
    if not any(library.questions):
        raise ValueError("the library knows no question; give extract_patterns `questions`")
    weights = similarities(terms_of(question), library.questions)
    totals = [sum(column) for column in zip(*library.counts, strict=True)]
    all_bonds, near_bonds = sum(totals), sum(w * sum(row) for w, row in zip(weights, library.counts, strict=True))
    matches: list[Match] = []
    for index, pattern in enumerate(library.patterns):
        usual = totals[index] / all_bonds
        near = sum(w * row[index] for w, row in zip(weights, library.counts, strict=True))
        expected = (near + _PRIOR_BONDS * usual) / (near_bonds + _PRIOR_BONDS)
        if kind is None or pattern.kind == kind:
            matches.append(Match(pattern, expected, expected / usual))
    matches.sort(key=lambda m: (-round(m.expected_share * math.log(m.lift), 9), -m.expected_share))
    return matches[:top]


def _count_by_trace(patterns: Sequence[Sequence[Occurrence]], *, num_traces: int) -> list[list[int]]:
    counted = [Counter(index for index, _, _ in bonds) for bonds in patterns]
    return [[counter[index] for counter in counted] for index in range(num_traces)]


def _key(molecule: Molecule, bond: Bond) -> Key:
    steps = bond.target - bond.source
    reach = "next" if steps == 1 else "near" if steps <= 5 else "far"
    return bond.kind, reach, _claim_kind(molecule.atoms[bond.source]), _claim_kind(molecule.atoms[bond.target])


def _claim_kind(atom: Atom) -> str:
    """The kind of the last claim of a step, which is its result."""
    return atom.claims[-1].kind if atom.claims else NO_CLAIM


def _pattern(
    key: Key,
    bonds: Sequence[Occurrence],
    molecules: Sequence[Molecule],
    *,
    features: Counter[str],
    total: int,
) -> Pattern:
    kind, reach, source, target = key
    mean = sum(bond.strength for _, bond, _ in bonds) / len(bonds)
    strongest = sorted(bonds, key=lambda item: -item[1].strength)[:_NUM_EXAMPLES]
    return Pattern(
        kind=kind,
        conditions={"reach": reach, "source": source, "target": target},
        strength_low=max(mean - TOLERANCE, 0.0),
        strength_high=min(mean + TOLERANCE, 1.0),
        num_bonds=len(bonds),
        num_traces=len({index for index, _, _ in bonds}),
        share=len(bonds) / total,
        triggers=_triggers(bonds, features, total=total),
        examples=[BondExample(molecules[index].sample_id, bond) for index, bond, _ in strongest],
    )


def _triggers(bonds: Sequence[Occurrence], overall: Counter[str], *, total: int) -> list[Trigger]:
    """The features that are more frequent with a pattern than with other bonds, in at least two of its traces and a
    tenth of them: a feature of only a few traces is the topic of their problem. Odds as of Woolf, half a count added to
    each cell."""
    inside = Counter(name for _, _, seen in bonds for name in seen)
    traces = Counter(name for name, _ in {(name, index) for index, _, seen in bonds for name in seen})
    enough = max(2.0, len({index for index, _, _ in bonds}) / 10)
    found: list[Trigger] = []
    for name, count in inside.items():
        others = overall[name] - count
        cells = (count, len(bonds) - count, others, total - len(bonds) - others)
        a, b, c, d = (cell + 0.5 for cell in cells)
        z = math.log(a * d / (b * c)) / math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
        if z >= _TRIGGER_Z and traces[name] >= enough:
            found.append(Trigger(name, count, traces[name], z))
    return sorted(found, key=lambda trigger: (-trigger.z, trigger.name))[:_NUM_TRIGGERS]


def _features(molecule: Molecule) -> Iterator[tuple[Bond, frozenset[str]]]:
    """Each bond with its possible triggers: the state of the trace when its later step begins, and the step's opening
    words."""
    checked: set[int] = set()
    before: list[str] = []
    for target, arriving in groupby(sorted(molecule.bonds, key=lambda b: b.target), key=lambda b: b.target):
        bonds = list(arriving)
        third = ("first", "middle", "last")[min(3 * target // len(molecule.atoms), 2)]
        opening = [f"opens with “{word}”" for word in words_of(molecule.atoms[target].text)[:_OPENING_WORDS]]
        for bond in bonds:
            claims = molecule.atoms[bond.source].claims
            state = ["earlier step already checked" if bond.source in checked else "earlier step unchecked"]
            if any(claim.holds is False for claim in claims):
                state.append("earlier claim is false")
            if any(claim.corrected_by == target for claim in claims):
                state.append("later step corrects the earlier")
            yield bond, frozenset([*before, *state, *opening, f"in the {third} third"])
        before = [f"after {bond.kind}" for bond in bonds]
        checked |= {bond.source for bond in bonds if bond.kind == BondKind.REFLECTION}
