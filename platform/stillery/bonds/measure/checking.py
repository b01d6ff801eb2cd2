"""Queries on a finished molecule: whether a step agrees with its support, and where its explorations led."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from stillery.bonds.claims.memory import recipe_of
from stillery.bonds.claims.reading import Step, key_of, read_steps
from stillery.bonds.steps.segmentation import Span
from stillery.records import Bond, BondKind, Molecule

_DEPTH = 3
_KEPT_PATHS = 3


@dataclass(frozen=True, slots=True)
class Verification:
    """A step compared with the steps it depends on: which were examined (nearest first), which it contradicts, why, and
    the later step that corrected the contradiction, if any."""

    step: int
    checked: list[int]
    contradicts: list[int]
    reasons: list[str]
    corrected_by: int | None

    @property
    def agrees(self) -> bool:
        return not self.contradicts


@dataclass(frozen=True, slots=True)
class ExplorationPath:
    """A weak association from one step to another, and its value: the share of the answer's support that came to depend
    on it, plus its strength as a tie-break."""

    source: int
    target: int
    strength: float
    led_to: list[int]
    value: float


def backward_verification(molecule: Molecule, step: int, *, depth: int = _DEPTH) -> Verification:
    """Whether a step agrees with the last `depth` steps that it depends on, directly or through others.

    Raises IndexError for a step that the molecule does not have.
    """
    steps = _read_again(molecule)
    checked = _dependencies(molecule, step)[:depth]
    reasons = {i: reason for i in checked if (reason := _contradiction(steps[i], steps[step])) is not None}
    return Verification(
        step, checked, list(reasons), list(reasons.values()), _correction(molecule, step, list(reasons))
    )


def consistency_check(molecule: Molecule, step: int) -> Verification:
    """Whether a step agrees with every earlier one on the same subject, dependent on it or not."""
    steps = _read_again(molecule)
    checked = [i for i in range(step - 1, -1, -1) if _share(steps[i], steps[step])]
    reasons = {i: reason for i in checked if (reason := _contradiction(steps[i], steps[step])) is not None}
    return Verification(
        step, checked, list(reasons), list(reasons.values()), _correction(molecule, step, list(reasons))
    )


def exploration_paths(molecule: Molecule, *, keep: int = _KEPT_PATHS) -> list[ExplorationPath]:
    """The exploratory associations that led furthest, best first.

    A path leads to the steps that depend on its target over strong-logic bonds; its value is the share of the steps
    supporting the last answer, or else the last step, that are among them.
    """
    forward: dict[int, list[int]] = defaultdict(list)
    for bond in molecule.bonds:
        if bond.kind == BondKind.STRONG_LOGIC:
            forward[bond.source].append(bond.target)
    answers = [i for i, atom in enumerate(molecule.atoms) if any(c.kind == "answer" for c in atom.claims)]
    root = answers[-1] if answers else len(molecule.atoms) - 1
    behind = {root, *_dependencies(molecule, root)} if molecule.atoms else set[int]()
    paths = [_path(bond, forward, behind) for bond in molecule.bonds if bond.kind == BondKind.EXPLORATION]
    return sorted(paths, key=lambda p: (-p.value, p.target))[:keep]


def _path(bond: Bond, forward: dict[int, list[int]], behind: set[int]) -> ExplorationPath:
    reached, frontier = {bond.target}, [bond.target]
    while frontier:
        for target in forward[frontier.pop()]:
            if target not in reached:
                reached.add(target)
                frontier.append(target)
    share = len(reached & behind) / len(behind)
    return ExplorationPath(
        bond.source, bond.target, bond.strength, sorted(reached), round(share + bond.strength / 100, 6)
    )


def _read_again(molecule: Molecule) -> list[Step]:
    text = "".join(atom.text for atom in molecule.atoms)
    spans: list[Span] = []
    at = 0
    for atom in molecule.atoms:
        spans.append(Span(at, at + len(atom.text), atom.kind))
        at += len(atom.text)
    return read_steps(text, spans)


def _dependencies(molecule: Molecule, step: int) -> list[int]:
    """The steps that one depends on over strong-logic and reflection bonds, the latest first."""
    if not 0 <= step < len(molecule.atoms):
        raise IndexError(f"the molecule has {len(molecule.atoms)} atoms, none with number {step}")
    sources: dict[int, list[int]] = defaultdict(list)
    for bond in molecule.bonds:
        if bond.kind != BondKind.EXPLORATION:
            sources[bond.target].append(bond.source)
    reached: set[int] = set()
    frontier = [step]
    while frontier:
        for source in sources[frontier.pop()]:
            if source not in reached:
                reached.add(source)
                frontier.append(source)
    return sorted(reached, reverse=True)


def _share(earlier: Step, later: Step) -> bool:
    """Whether two steps compute the same, name the same, or one refutes the other."""
    recipes = [{recipe_of(e) for e in s.equations} - {None} for s in (earlier, later)]
    return bool(recipes[0] & recipes[1] or earlier.assigned.keys() & later.assigned.keys() or _refutes(earlier, later))


def _refutes(earlier: Step, later: Step) -> bool:
    made = {*earlier.results, *earlier.assigned.values()}
    return any(key in made for key in later.refuted)


def _contradiction(earlier: Step, later: Step) -> str | None:
    """The reason why a later step contradicts an earlier one, or None."""
    if _refutes(earlier, later):
        return f"step {later.index} says that what step {earlier.index} found is not so"
    if not earlier.is_conditional and not later.is_conditional:
        for name in sorted(earlier.assigned.keys() & later.assigned.keys()):
            one, two = earlier.assigned[name], later.assigned[name]
            if one != two and isinstance(one, Fraction | str) and isinstance(two, Fraction | str):
                return f"step {later.index} has {name} = {two}, step {earlier.index} had {one}"
    for equation in later.equations:
        recipe = recipe_of(equation)
        for other in earlier.equations:
            if recipe is not None and recipe_of(other) == recipe and key_of(other) != key_of(equation):
                return f"step {later.index} works out {equation.recipe} otherwise than step {earlier.index}"
    return None


def _correction(molecule: Molecule, step: int, against: Sequence[int]) -> int | None:
    """The first step that corrects a false claim of any of these steps."""
    claims = [claim for i in (step, *against) for claim in molecule.atoms[i].claims]
    return min((claim.corrected_by for claim in claims if claim.corrected_by is not None), default=None)
