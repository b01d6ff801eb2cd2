"""Rules on one prompt's accepted samples, each a named function; a config lists them in order of application.

A rule is written NAME or NAME:ARGUMENT. Some leave samples out, others rank them; at the end the first
`curate.max_per_prompt` stay. Without any rule, samples are in order of sample index: in order of completion, short ones
would be favoured.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from stillery.config.suggestion import suggest
from stillery.curation.words import jaccard, shingles
from stillery.errors import UserError
from stillery.records import BondKind, Generation, Molecule, digest


@dataclass(frozen=True, slots=True)
class Candidate:
    """An accepted sample, with its molecule where the rules need one."""

    generation: Generation
    molecule: Molecule | None = None


@dataclass(frozen=True, slots=True)
class RuleContext:
    """A rule's inputs besides the samples: the run's seed, the target pattern."""

    seed: int = 0
    target_pattern: Mapping[str, float] = field(default_factory=dict[str, float])


Rule = Callable[[Sequence[Candidate], str, RuleContext], list[Candidate]]


def shortest(candidates: Sequence[Candidate], _: str, __: RuleContext) -> list[Candidate]:
    """Fewest tokens first."""
    return sorted(candidates, key=lambda c: c.generation.num_tokens)


def at_random(candidates: Sequence[Candidate], _: str, context: RuleContext) -> list[Candidate]:
    """In an order drawn from the run's seed and the prompt."""
    if not candidates:
        return []
    draw = random.Random(digest("curate", context.seed, candidates[0].generation.prompt_id))
    return draw.sample(list(candidates), len(candidates))


def diverse(candidates: Sequence[Candidate], _: str, __: RuleContext) -> list[Candidate]:
    """The first sample, then always the one least similar to all before it, by its words and, if known, by its
    bonds."""
    rest, ordered = list(candidates), list[Candidate]()
    texts = {c.generation.sample_id: shingles(c.generation.completion, 3) for c in candidates}

    def likeness(one: Candidate, other: Candidate) -> float:
        words = jaccard(texts[one.generation.sample_id], texts[other.generation.sample_id])
        if one.molecule is None or other.molecule is None:
            return words
        return (words + 1 - pattern_distance(pattern_of(one.molecule), pattern_of(other.molecule))) / 2

    while rest:
        chosen = min(rest, key=lambda c: max((likeness(c, o) for o in ordered), default=0.0))
        rest.remove(chosen)
        ordered.append(chosen)
    return ordered


def most_stable(candidates: Sequence[Candidate], _: str, __: RuleContext) -> list[Candidate]:
    """Highest stability first."""
    return sorted(candidates, key=lambda c: -_molecule(c).stability)


def stability_from(candidates: Sequence[Candidate], least: str, _: RuleContext) -> list[Candidate]:
    """Leave out samples less stable than the argument."""
    return [c for c in candidates if _molecule(c).stability >= _number("stability", least)]


def tokens_between(candidates: Sequence[Candidate], bounds: str, _: RuleContext) -> list[Candidate]:
    """Leave out samples shorter or longer than LEAST-MOST tokens: a student's capacity bounds what it can learn
    from."""
    least, dash, most = bounds.partition("-")
    if not dash:
        raise UserError(f"curate.rules: tokens:{bounds} is no band; write tokens:LEAST-MOST, such as tokens:0-2000")
    low, high = _number("tokens", least or "0"), _number("tokens", most or "inf")
    return [c for c in candidates if low <= c.generation.num_tokens <= high]


def unlike(candidates: Sequence[Candidate], threshold: str, _: RuleContext) -> list[Candidate]:
    """Leave out samples at least as similar to an earlier one as the argument (Jaccard, 3-grams of words)."""
    kept: list[Candidate] = []
    sets: list[set[str]] = []
    for candidate in candidates:
        mine = shingles(candidate.generation.completion, 3)
        if all(jaccard(mine, other) < _number("unlike", threshold) for other in sets):
            kept.append(candidate)
            sets.append(mine)
    return kept


def nearest_pattern(candidates: Sequence[Candidate], _: str, context: RuleContext) -> list[Candidate]:
    """Nearest to `curate.target_pattern`, the shares of the kinds of bonds, first."""
    return sorted(candidates, key=lambda c: pattern_distance(pattern_of(_molecule(c)), context.target_pattern))


RULES: dict[str, Rule] = {
    "shortest": shortest,
    "random": at_random,
    "diverse": diverse,
    "stable": most_stable,
    "stability": stability_from,
    "tokens": tokens_between,
    "unlike": unlike,
    "pattern": nearest_pattern,
}
# Rules that leave samples out are reported by name; for the others the reason is max_per_prompt.
NEED_BONDS = ("stable", "stability", "pattern")


def apply_rules(
    rules: Sequence[str], candidates: Sequence[Candidate], context: RuleContext
) -> tuple[list[Candidate], dict[str, str]]:
    """The samples that the rules keep, in order, and for each of the others, by sample_id, the rule."""
    left, dropped = list(candidates), dict[str, str]()
    for rule in rules:
        name, _, argument = rule.partition(":")
        kept = RULES[name](left, argument, context)
        remaining = {c.generation.sample_id for c in kept}
        dropped |= {c.generation.sample_id: rule for c in left if c.generation.sample_id not in remaining}
        left = kept
    return left, dropped


def check_rules(rules: Sequence[str], *, target_pattern: Mapping[str, float], bonds: bool) -> None:
    """Raise UserError for an unknown rule, a non-numeric argument, or a missing requirement of a rule."""
    for rule in rules:
        name, _, argument = rule.partition(":")
        if name not in RULES:
            raise UserError(f"curate.rules: no rule {name!r}{suggest(name, list(RULES))}")
        if name in NEED_BONDS and not bonds:
            raise UserError(f"curate.rules: {name} needs molecules; set bonds.enabled=true or leave it out")
        RULES[name]([], argument, RuleContext())
        if name in ("stability", "unlike"):
            _number(name, argument)
    kinds = [kind.value for kind in BondKind]
    unknown = [kind for kind in target_pattern if kind not in kinds]
    if unknown:
        raise UserError(f"curate.target_pattern: no kind of bond {unknown[0]!r}{suggest(unknown[0], kinds)}")
    if any(share < 0 for share in target_pattern.values()):
        raise UserError("curate.target_pattern: a share is negative; give the share of each kind of bond")
    if any(rule.partition(":")[0] == "pattern" for rule in rules) and not sum(target_pattern.values()) > 0:
        raise UserError("curate.rules: pattern needs curate.target_pattern, the share of each kind of bond")


def pattern_of(molecule: Molecule) -> dict[str, float]:
    """The share of each kind among a molecule's bonds; empty without bonds."""
    kinds = [bond.kind for bond in molecule.bonds]
    return {kind: kinds.count(kind) / len(kinds) for kind in set(kinds)}


def pattern_distance(left: Mapping[str, float], right: Mapping[str, float]) -> float:
    """Half the sum of the differences of shares, 0 (alike) to 1; 1 where only one has bonds."""
    if not left or not right:
        return float(bool(left) != bool(right))
    scale = {"left": sum(left.values()), "right": sum(right.values())}
    kinds = {*left, *right}
    return sum(abs(left.get(k, 0) / scale["left"] - right.get(k, 0) / scale["right"]) for k in kinds) / 2


def _molecule(candidate: Candidate) -> Molecule:
    assert candidate.molecule is not None, f"no molecule of {candidate.generation.sample_id}"
    return candidate.molecule


def _number(rule: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"curate.rules: {rule}:{text} needs a number, such as {rule}:0.5") from None
