"""Isomers: traces of one problem that assert the same things and bond them differently.

In chemistry isomers share a formula and differ in their bonds. The article maps atoms to steps and bonds to the
relations between them, and arXiv 2601.06002 calls semantic isomers those traces that solve the same task over the
same ground with other bonds. Here, exactly:

- A trace's *formula* is the set of claims that its atoms make, normalised in spelling. Two traces of one problem have
  the same formula if the Jaccard overlap of the sets is at least `min_overlap` and they share two claims or more.
- Their *structures* are compared on the shared claims alone: the set of (claim, claim, kind) such that a bond of that
  kind joins an atom making the first to an atom making the second (an equal pair is a claim that was taken up again).
- They are isomers if the structures differ: `constitutional` if other claims are joined, `by_kind` if the same claims
  are joined by bonds of another kind. Traces with one structure are `identical`, and a pair without any bond between
  shared claims shows no structure to compare and is left out.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from stillery.records import Molecule

Edge = tuple[str, str, str]

_SIGNS = {"×": "*", "⋅": "*", "·": "*", "\\times": "*", "\\cdot": "*", "÷": "/", "\\div": "/", "−": "-", "–": "-"}


@dataclass(frozen=True, slots=True)
class IsomerPair:
    """Two traces with the same formula. `bond_distance` is 1 minus the Jaccard overlap of their structures, 0 to 1."""

    prompt_id: str
    left: str
    right: str
    num_shared: int
    overlap: float
    relation: str
    bond_distance: float


@dataclass(frozen=True, slots=True)
class IsomerReport:
    """Of `num_pairs` pairs of traces of one problem, `num_same_formula` have the same formula and can be compared:
    those in `pairs`."""

    num_problems: int
    num_pairs: int
    num_same_formula: int
    num_isomers: int
    pairs: list[IsomerPair]


def find_isomers(
    molecules: Sequence[Molecule], *, problems: Mapping[str, str], min_overlap: float = 0.5
) -> IsomerReport:
    """The traces of the same problem that are isomers of each other; `problems` maps sample_id to prompt_id.

    `min_overlap` 1 requires exactly the same claims. Raises ValueError if a molecule's problem is unknown.
    """
    by_problem: dict[str, list[Molecule]] = {}
    for molecule in molecules:
        if molecule.sample_id not in problems:
            raise ValueError(f"`problems` lacks sample {molecule.sample_id!r}")
        by_problem.setdefault(problems[molecule.sample_id], []).append(molecule)
    candidates = [(p, *pair) for p, group in by_problem.items() for pair in combinations(group, 2)]
    compared = [_compare(p, left, right, min_overlap=min_overlap) for p, left, right in candidates]
    pairs = [pair for pair in compared if pair is not None]
    return IsomerReport(
        num_problems=len(by_problem),
        num_pairs=len(candidates),
        num_same_formula=len(pairs),
        num_isomers=sum(pair.relation != "identical" for pair in pairs),
        pairs=sorted(pairs, key=lambda pair: (pair.prompt_id, -pair.bond_distance, pair.left, pair.right)),
    )


def formula(molecule: Molecule) -> frozenset[str]:
    """The claims of a trace, normalised."""
    return frozenset(_normalize(claim.text) for atom in molecule.atoms for claim in atom.claims)


def structure(molecule: Molecule, claims: frozenset[str]) -> frozenset[Edge]:
    """The bonds between atoms that make some of these claims, as edges between the claims."""
    made = [frozenset(_normalize(claim.text) for claim in atom.claims) & claims for atom in molecule.atoms]
    return frozenset((a, b, bond.kind) for bond in molecule.bonds for a in made[bond.source] for b in made[bond.target])


def _compare(prompt_id: str, left: Molecule, right: Molecule, *, min_overlap: float) -> IsomerPair | None:
    ours, theirs = formula(left), formula(right)
    shared = ours & theirs
    if len(shared) < 2 or len(shared) / len(ours | theirs) < min_overlap:
        return None
    edges = structure(left, shared), structure(right, shared)
    if not edges[0] and not edges[1]:
        return None
    joined = [{(a, b) for a, b, _ in side} for side in edges]
    relation = "identical" if edges[0] == edges[1] else "by_kind" if joined[0] == joined[1] else "constitutional"
    return IsomerPair(
        prompt_id=prompt_id,
        left=left.sample_id,
        right=right.sample_id,
        num_shared=len(shared),
        overlap=len(shared) / len(ours | theirs),
        relation=relation,
        bond_distance=1 - len(edges[0] & edges[1]) / len(edges[0] | edges[1]),
    )


def _normalize(claim: str) -> str:
    """One spelling of a claim: no spaces, dollar signs or thousands commas, one sign for each operation."""
    text = unicodedata.normalize("NFKC", claim).casefold()
    for sign, plain in _SIGNS.items():
        text = text.replace(sign, plain)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    return re.sub(r"[\s$]|[.,;:!?。，；]+$", "", text.strip())
