"""The steps on the way to the answer, each once however often it is repeated, and which of them a check confirms.

The way follows the first computation of each value, so a detour or a later second computation adds nothing to it. Where
the answer is not a number that the trace computed (a state, a word), the way consists of the steps that support it over
strong bonds.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain

from stillery.bonds.claims.derivations import Derivation, Derivations
from stillery.bonds.claims.outcome import final_key
from stillery.bonds.claims.reading import Key, Step
from stillery.bonds.claims.reflection import Finding


@dataclass(frozen=True, slots=True)
class Way:
    """The steps on the way, in order, without repetitions; those of them that a check by another route confirms; the
    length of the way: a step with several results, or a result by several operations, counts as several steps; and the
    numbers of computed values that are on it and off it, where the answer is a value."""

    steps: list[int]
    confirmed: list[int]
    length: int
    num_used: int | None = None
    num_unused: int | None = None


def find_way(
    steps: Sequence[Step],
    backbone: Sequence[int],
    checks: Sequence[Finding],
    derived: Derivations,
    false: set[int],
) -> Way:
    """The way of a trace. `backbone` are the steps that support its conclusion, `false` those with a false claim: their
    confirmations do not count."""
    final = final_key(steps)
    by_step: dict[int, list[Derivation]] = defaultdict(list)
    if final is not None and final in derived:
        for derivation in _reached(final, derived):
            by_step[derivation.step].append(derivation)
    else:
        checking = {check.target for check in checks if check.verifies is True}
        for derivation in chain.from_iterable(derived.values()):
            if derivation.step in backbone and derivation.step not in checking:
                by_step[derivation.step].append(derivation)
        for i in backbone:
            if i not in checking and _states(steps[i]):
                by_step.setdefault(i, [])
    first: dict[object, int] = {}
    for i in sorted(by_step):
        first.setdefault(_content(steps[i]), i)
    confirming = {check.source for check in checks if check.verifies is True} - false
    sound = {i for i in by_step.keys() & confirming if all(derivation.is_grounded for derivation in by_step[i])}
    length = sum(max(1, sum(d.num_operations for d in by_step[i])) for i in first.values())
    confirmed = sorted({first[_content(steps[i])] for i in sound})
    if final is None or final not in derived:
        return Way(sorted(first.values()), confirmed, length)
    # Values and not derivations count, so reaching one again makes up for nothing. A value computed for a comparison is
    # used by it.
    used = {key for key, found in derived.items() if any(d in by_step[d.step] for d in found if d.step in by_step)}
    unused = [found for key, found in derived.items() if key not in used]
    num_unused = sum(not all(steps[d.step].compared for d in found) for found in unused)
    num_used = len(used)
    return Way(sorted(first.values()), confirmed, length, num_used, num_unused)


def _reached(final: Key, derived: Derivations) -> list[Derivation]:
    """The derivations that a value depends on, including its own: of each value those from before it was used."""
    reached = [derived[final][0]]
    seen = {(final, reached[0].step)}
    for derivation in reached:
        for key in derivation.sources:
            for source in derived[key]:
                if source.step <= derivation.step and (key, source.step) not in seen:
                    seen.add((key, source.step))
                    reached.append(source)
    return reached


def _states(step: Step) -> bool:
    return any(not state.counted for state in step.states)


def _content(step: Step) -> object:
    """The content of a step: equal for two that say the same."""
    states = frozenset((state.subject, state.value) for state in step.states if not state.counted)
    return states or frozenset(key for key in step.results if isinstance(key, Fraction)) or step.index
