"""The steps as they are read in, the bonds between them out: each with its kind, strength, origin and evidence."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from stillery.bonds.claims.memory import Memory, shorten
from stillery.bonds.claims.outcome import question_equations
from stillery.bonds.claims.reading import Step, specificity
from stillery.bonds.claims.reflection import Finding, find_checks, find_reviews
from stillery.bonds.model.roles import Role
from stillery.bonds.model.signals import infers
from stillery.bonds.model.similarity import Similarity, WordIndex
from stillery.records import Bond, BondKind

BANDS = {
    BondKind.STRONG_LOGIC: (0.8, 1.0),
    BondKind.REFLECTION: (0.6, 0.8),
    BondKind.EXPLORATION: (0.3, 0.6),
}
# Pairs of step texts, the earlier first -> the kind of the bond of each, None for no bond.
Labels = Callable[[Sequence[tuple[str, str]]], Sequence[BondKind | None]]

_MAX_STRONG = 4
_MAX_REFLECTION = 3
_MIN_COSINE = 0.3
_STATE_REACH = 12


@dataclass(frozen=True, slots=True)
class Structure:
    """The bonds of a trace; those that bear load, which stability is measured on; and the checks that it makes."""

    bonds: list[Bond]
    support: list[Bond]
    checks: list[Finding]


def find_bonds(
    steps: Sequence[Step],
    text: str,
    *,
    roles: Sequence[Role],
    question: str = "",
    similarity: Similarity | None = None,
) -> Structure:
    """All bonds of a trace. `roles` say what each step is for, where nothing that it computes decides it."""
    memory, index = Memory(), WordIndex([step.words for step in steps])
    memory.unknowns.extend(question_equations(question))
    structure = Structure([], [], [])
    for step, role in zip(steps, roles, strict=True):
        returns = find_checks(step, steps, memory, text)
        structure.checks.extend(f for f in returns if f.verifies is not None)
        if not returns and role is Role.RETURNS and step.index:
            returns = find_reviews(step, steps, memory, index)
        is_restated = not returns and _restates(step, memory, index)
        firm = [*_carried_states(step, steps), *_gathered_states(step, steps)]
        if step.works_out() or step.is_answer or not is_restated:
            firm += _support(step, steps, memory, index, similarity)
        firm = _strongest(firm, _MAX_STRONG)
        structure.support.extend(_bond(f, BondKind.STRONG_LOGIC) for f in firm)
        is_bare = role is Role.OTHER and not (step.works_out() or step.is_answer or step.states or infers(step))
        shown = firm or (list(_loose_support(step, steps, memory, index, role)) if step.index else [])
        structure.bonds.extend(
            _bond(f, BondKind.STRONG_LOGIC) for f in ([] if is_bare else _strongest(shown, _MAX_STRONG))
        )
        structure.bonds.extend(_bond(f, BondKind.REFLECTION) for f in _strongest(returns, _MAX_REFLECTION))
        if role is Role.EXPLORES and not returns and step.index:
            structure.bonds.append(_bond(_explore(step, steps, index), BondKind.EXPLORATION))
        is_check = step.rejects() or any(f.verifies is True for f in returns)
        memory.add(step, is_check=is_check)
        index.add(step.index)
    return structure


def _bond(finding: Finding, kind: BondKind) -> Bond:
    low, high = BANDS[kind]
    strength = round(min(max(finding.strength, low), high), 4)
    return Bond(finding.source, finding.target, kind, strength, finding.origin, finding.evidence)


def _strongest(findings: Sequence[Finding], limit: int) -> list[Finding]:
    """The best finding for each source, the best few of them, strongest first."""
    best: dict[int, Finding] = {}
    for finding in findings:
        if finding.source not in best or finding.strength > best[finding.source].strength:
            best[finding.source] = finding
    return sorted(best.values(), key=lambda f: (-f.strength, -f.source))[:limit]


def _restates(step: Step, memory: Memory, index: WordIndex) -> bool:
    """Whether a step says nothing that was not said: no new number, computation, name or word to speak of."""
    if any(v not in memory.seen for v in step.values) or step.works_out():
        return False
    if step.sides - memory.sides.keys():
        return False
    if not step.values and not step.sides:
        return bool(step.words) and any(index.coverage(step.index, i) > 0.85 for _, i in index.nearest(step.index))
    return True


def _support(
    step: Step, steps: Sequence[Step], memory: Memory, index: WordIndex, similarity: Similarity | None
) -> Iterator[Finding]:
    """What a step rests on: values that earlier steps worked out, names they gave, equations and states they left."""
    used = step.operands() if step.works_out() else step.values
    for value in sorted(used):
        source = memory.origin(value, before=step.index)
        if source is not None and (specificity(value) > 0.2 or step.is_answer):
            strength = 0.95 if value in memory.makers else 0.88
            yield Finding(source, step.index, strength, "claims", f"step {step.index} uses step {source}'s {value}")
    for name in sorted(step.names - step.assigned.keys()):
        given = [i for i, _ in memory.assigned.get(name, ()) if i < step.index]
        if given:
            yield Finding(given[-1], step.index, 0.86, "claims", f"step {step.index} uses {name} from step {given[-1]}")
    for source in sorted({memory.sides[side] for side in step.sides if side in memory.sides}):
        yield Finding(source, step.index, 0.9, "claims", f"step {step.index} goes on from step {source}'s equation")
    if step.is_question or step.is_tentative or step.works_out():
        return
    for cosine, source in index.nearest(step.index)[:1]:
        likeness = similarity(steps[source].text, step.text) if similarity is not None else cosine
        if likeness >= _MIN_COSINE:
            words = ", ".join(index.shared(source, step.index)[:3])
            evidence = f"step {step.index} takes up step {source}: {words}"
            yield Finding(source, step.index, 0.83, "similarity", evidence)


def _loose_support(
    step: Step, steps: Sequence[Step], memory: Memory, index: WordIndex, role: Role
) -> Iterator[Finding]:
    """What a step that derives something seems to rest on, too weakly to bear load: a number named, the step before."""
    if role is not Role.DERIVES:
        return
    for value in sorted(step.operands() or step.values):
        source = memory.source(value, before=step.index)
        if source is not None and specificity(value) == 1:
            yield Finding(source, step.index, 0.82, "claims", f"step {step.index} uses step {source}'s {value}")
    nearest = [(cosine, i) for cosine, i in index.nearest(step.index) if not steps[i].is_question]
    if nearest and nearest[0][0] >= _MIN_COSINE / 2:
        words = ", ".join(index.shared(nearest[0][1], step.index)[:3])
        evidence = f"step {step.index} takes up step {nearest[0][1]}: {words}"
        yield Finding(nearest[0][1], step.index, 0.81, "similarity", evidence)
    yield Finding(step.index - 1, step.index, 0.8, "similarity", f"step {step.index} follows on step {step.index - 1}")


def _carried_states(step: Step, steps: Sequence[Step]) -> Iterator[Finding]:
    """The state that a step was replayed from."""
    if not any(state.holds is not None and not state.counted for state in step.states):
        return
    for earlier in reversed(steps[max(0, step.index - _STATE_REACH) : step.index]):
        if any(not state.counted and state.holds is not False for state in earlier.states):
            evidence = f"step {step.index} goes on from the state after step {earlier.index}"
            yield Finding(earlier.index, step.index, 0.92, "claims", evidence)
            return


def _gathered_states(step: Step, steps: Sequence[Step]) -> Iterator[Finding]:
    """The states that an answer, or a line of letters, puts together: "letters: r k" after "r" and "k"."""
    said = step.text.rpartition(":")[2] if step.states or ":" in step.text else step.text.partition(">")[2]
    letters = [c for c in said if c.isalnum()]
    if not (step.is_answer or (len(letters) > 1 and len(letters) == len(said.split()))):
        return
    wanted = "".join(letters).casefold()
    for earlier in reversed(steps[max(0, step.index - _STATE_REACH) : step.index]):
        for state in earlier.states:
            value = "".join(c for c in state.value if c.isalnum()).casefold()
            if (
                value
                and not state.counted
                and state.holds is not False
                and (value in wanted or wanted in value or step.is_yes_no)
            ):
                evidence = f"step {step.index} puts in step {earlier.index}'s {shorten(state.value)}"
                yield Finding(earlier.index, step.index, 0.92, "claims", evidence)
                if step.is_yes_no or wanted in value:
                    return
        if (
            step.is_answer
            and len(wanted) > 1
            and "".join(c for c in earlier.text if c.isalnum()).casefold().endswith(wanted)
        ):
            evidence = f"step {step.index} gives what step {earlier.index} came to"
            yield Finding(earlier.index, step.index, 0.92, "claims", evidence)
            return


def _explore(step: Step, steps: Sequence[Step], index: WordIndex) -> Finding:
    """A tentative step: a case or a way that nothing before it entails."""
    nearest = index.nearest(step.index)
    source = nearest[0][1] if nearest else step.index - 1
    strength = 0.35 + 0.2 * (nearest[0][0] if nearest else 0.0)
    what = shorten(steps[step.index].text, 40)
    return Finding(source, step.index, strength, "similarity", f"step {step.index} tries something: {what}")


def relabel(bonds: Sequence[Bond], texts: Sequence[str], labels: Labels) -> list[Bond]:
    """The bonds with the kinds that a labeller gives them; a pair that it calls unrelated loses its bond."""
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
