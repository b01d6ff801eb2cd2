"""The mixture: how many samples of each group stay, so that the groups have given shares.

A group is a part (reasoning, general), a teacher, a task, a band of lengths or of difficulties. Nothing is repeated:
the group that is scarcest for its share sets the size, and the others are thinned. A hash of each id and the seed
decides which samples stay, so that the result depends on neither files nor machines.
"""

from collections import Counter
from collections.abc import Mapping

from stillery.config import CurateConfig
from stillery.errors import UserError
from stillery.records import Sample, digest

AXES = ("part", "teacher", "task", "length", "difficulty")
# One group of each axis, in order.
Cell = tuple[str, ...]
Shares = dict[str, dict[str, float]]

_SCALE = 1 << 32
_ROUNDS = 50
# The tolerance for a named share: a larger deviation means that the shares exclude each other.
_TOLERANCE = 0.01


def cell_of(sample: Sample, *, num_tokens: int, difficulty: str) -> Cell:
    """The cell of a sample; length bands run from one power of two to the next."""
    low = 1 << max(0, num_tokens.bit_length() - 1)
    return (sample.part, sample.teacher, sample.task, f"{low}-{2 * low - 1}", difficulty)


def difficulty_of(num_correct: int, num_decided: int) -> str:
    """The band of a problem by the share of its graded samples that are correct."""
    if not num_decided:
        return "unknown"
    rate = num_correct / num_decided
    return "always" if rate == 1 else "mostly" if rate >= 0.5 else "seldom"


def shares_of(config: CurateConfig, counts: Mapping[Cell, float]) -> Shares:
    """The shares of each group by axis that a config sets; axes with named shares come last, so that those hold.

    Raises UserError where a group with a share has no samples.
    """
    shares: Shares = {}
    for axis, exponent in config.balance.items():
        groups = _groups(counts, axis)
        shares[axis] = {group: count**exponent for group, count in groups.items() if count > 0}
    for key, axis, named in (("mixture", "part", config.mixture), ("sources", "teacher", config.sources)):
        if named:
            _check_there(f"curate.{key}", named, _groups(counts, axis))
            shares[axis] = {group: float(share) for group, share in named.items() if share > 0}
    return shares


def fit_rates(counts: Mapping[Cell, float], shares: Shares) -> dict[Cell, float]:
    """The share of each cell's samples that stays, 0 to 1, from `counts` samples (or tokens) per cell.

    By iterative proportional fitting (Deming and Stephan, 1940): each axis in turn is scaled to its shares, until all
    hold at once. Groups that an axis does not name are left out. Raises UserError where they cannot all hold.
    """
    rates = dict.fromkeys(counts, 1.0)
    for _ in range(_ROUNDS):
        for axis, wanted in shares.items():
            place, there = AXES.index(axis), _groups(_thinned(counts, rates), axis)
            total, of = sum(there.get(group, 0.0) for group in wanted), sum(wanted.values())
            for cell in rates:
                group = cell[place]
                share = wanted.get(group, 0.0) / of
                rates[cell] *= share * total / there[group] if there[group] else 0.0
    most = max((rate for cell, rate in rates.items() if counts[cell]), default=0.0)
    rates = {cell: rate / most if most else 0.0 for cell, rate in rates.items()}
    _check_held(_thinned(counts, rates), shares)
    return rates


def stays(sample_id: str, *, rate: float, seed: int) -> bool:
    """Whether a sample is within its cell's share that stays."""
    return int(digest("mixture", seed, sample_id)[:8], 16) < rate * _SCALE


def kept_shares(counts: Mapping[Cell, float], rates: Mapping[Cell, float], axis: str) -> dict[str, float]:
    """The share of each group of an axis that stays, for display."""
    before, after = _groups(counts, axis), _groups(_thinned(counts, rates), axis)
    return {group: after[group] / before[group] for group in sorted(before) if before[group]}


def _thinned(counts: Mapping[Cell, float], rates: Mapping[Cell, float]) -> dict[Cell, float]:
    return {cell: count * rates[cell] for cell, count in counts.items()}


def _groups(counts: Mapping[Cell, float], axis: str) -> Counter[str]:
    place, groups = AXES.index(axis), Counter[str]()
    for cell, count in counts.items():
        groups[cell[place]] += count  # pyright: ignore[reportArgumentType]
    return groups


def _check_there(key: str, shares: Mapping[str, float], groups: Mapping[str, float]) -> None:
    total = sum(shares.values())
    lacking = [group for group, share in shares.items() if share > 0 and not groups.get(group)]
    if lacking:
        there = ", ".join(f"{group} ({n:,.0f})" for group, n in sorted(groups.items())) or "nothing"
        raise UserError(
            f"{key} asks for {shares[lacking[0]] / total:.0%} of {lacking[0]}, and there is none of it; "
            f"there is {there}"
        )


def _check_held(left: Mapping[Cell, float], shares: Shares) -> None:
    """Check the shares that a config names; even shares are only approximated."""
    total = sum(left.values())
    for axis, key in (("part", "curate.mixture"), ("teacher", "curate.sources")):
        if axis not in shares:
            continue
        groups, of = _groups(left, axis), sum(shares[axis].values())
        for group, share in shares[axis].items():
            found = groups[group] / total if total else 0.0
            if abs(found - share / of) > _TOLERANCE:
                keys = ("curate.mixture", "curate.sources", "curate.balance")
                others = ", ".join(name for name in keys if name != key)
                raise UserError(
                    f"{key} asks for {share / of:.0%} of {group}, which cannot be had together with {others}: "
                    f"{found:.0%} would be left; loosen one of them"
                )
