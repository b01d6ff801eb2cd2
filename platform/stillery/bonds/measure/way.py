"""The steps on the way to the answer, each once however often it is said, and which of them a check confirms.

The way goes over the first computation of each value, so a detour or a second computation behind it adds nothing to it.
Where the answer is no number that the trace worked out (a state, a word), it is what the answer rests on over strong
bonds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from stillery.bonds.claims.derivations import Derivation
from stillery.bonds.claims.outcome import final_key
from stillery.bonds.claims.reading import Key, Step
from stillery.bonds.claims.reflection import Finding


@dataclass(frozen=True, slots=True)
class Way:
    """The steps on the way, in order, none of which says what another said; and those of them that a check by another
    route confirms."""

    steps: list[int]
    confirmed: list[int]


def find_way(
    steps: Sequence[Step],
    backbone: Sequence[int],
    checks: Sequence[Finding],
    derived: Mapping[Key, Derivation],
    false: set[int],
) -> Way:
    """The way of a trace. `backbone` are the steps that its conclusion rests on, `false` those that claim something
    false: what confirms them confirms nothing."""
    final = final_key(steps)
    known = {d.step: d for d in derived.values()}
    if final is not None and final in derived:
        way = _reached(derived[final], known)
    else:
        checking = {check.target for check in checks if check.verifies is True}
        way = {i for i in backbone if i not in checking and (i in known or _states(steps[i]))}
    first: dict[object, int] = {}
    for i in sorted(way):
        first.setdefault(_content(steps[i]), i)
    confirming = {check.source for check in checks if check.verifies is True} - false
    sound = {i for i in way & confirming if i not in known or known[i].is_grounded}
    return Way(sorted(first.values()), sorted({first[_content(steps[i])] for i in sound}))


def _reached(last: Derivation, known: Mapping[int, Derivation]) -> set[int]:
    reached = {last.step}
    frontier = [last]
    while frontier:
        for source in frontier.pop().sources - reached:
            reached.add(source)
            frontier.append(known[source])
    return reached


def _states(step: Step) -> bool:
    return any(not state.counted for state in step.states)


def _content(step: Step) -> object:
    """What a step comes to: equal for two that say the same."""
    states = frozenset((state.subject, state.value) for state in step.states if not state.counted)
    return states or frozenset(key for key in step.results if isinstance(key, Fraction)) or step.index
