"""From the steps of a trace to what its claims decide about pairs of them: whose value a step uses, and what it
checks."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from fractions import Fraction

from stillery.bonds.claims.derivations import Derivation
from stillery.bonds.claims.memory import Memory, shorten
from stillery.bonds.claims.outcome import question_equations, question_values
from stillery.bonds.claims.reading import Key, Step, specificity
from stillery.bonds.claims.reflection import Finding, find_checks

_STATE_REACH = 12
_FEW_WORDS = 4
_SYMBOLIC_SHARE = 0.7


@dataclass(slots=True)
class Evidence:
    """Uses of earlier values and states, and returns to earlier steps.

    In a symbolic trace, whose steps mostly compute or replay states, a repeated value is taken over from its
    computation; in prose it is mostly the same number by chance.
    """

    uses: list[Finding] = field(default_factory=list[Finding])
    returns: list[Finding] = field(default_factory=list[Finding])
    is_symbolic: bool = False
    # Steps with computations, whose support claims decide; and those that only state an identity ("65 = 65").
    working: frozenset[int] = frozenset()
    idle: frozenset[int] = frozenset()
    # The first derivation of each value.
    derived: dict[Key, list[Derivation]] = field(default_factory=dict[Key, list[Derivation]])

    def checks(self) -> list[Finding]:
        """The returns that turned out right or wrong."""
        return [f for f in self.returns if f.verifies is not None]

    def renumbered(self, kept: Sequence[int]) -> "Evidence":
        """The evidence on some of the steps, by their new numbers."""
        new = {old: i for i, old in enumerate(kept)}

        def moved(findings: Sequence[Finding]) -> list[Finding]:
            inside = [f for f in findings if f.source in new and f.target in new]
            return [replace(f, source=new[f.source], target=new[f.target]) for f in inside]

        return Evidence(moved(self.uses), moved(self.returns), self.is_symbolic)


def find_evidence(steps: Sequence[Step], text: str, *, question: str = "") -> Evidence:
    """All findings from a trace's claims about pairs of its steps, in order of the later step."""
    memory, evidence = Memory(given=frozenset(question_values(question)) if question else None), Evidence()
    memory.unknowns.extend(question_equations(question))
    evidence.is_symbolic = sum(map(_is_symbolic, steps)) >= _SYMBOLIC_SHARE * len(steps)
    evidence.working = frozenset(step.index for step in steps if step.works_out())
    evidence.idle = frozenset(s.index for s in steps if s.equations and not (s.works_out() or s.assigned))
    for step in steps:
        returns = find_checks(step, steps, memory, text)
        uses = [*_carried_states(step, steps), *_gathered_states(step, steps)]
        if step.works_out() or step.is_answer or not (not returns and _restates(step, memory)):
            uses += _support(step, memory)
        evidence.uses += _strongest(uses)
        evidence.returns += _strongest(returns)
        memory.add(step, is_check=step.rejects() or any(f.verifies is True for f in returns))
    evidence.derived = memory.derived
    return evidence


def _is_symbolic(step: Step) -> bool:
    is_bare = (step.is_answer or "=" in step.text) and len(step.words) <= _FEW_WORDS
    return is_bare or bool(step.states)


def _strongest(findings: Sequence[Finding]) -> list[Finding]:
    """The best finding for each source, strongest first."""
    best: dict[int, Finding] = {}
    for finding in findings:
        if finding.source not in best or finding.strength > best[finding.source].strength:
            best[finding.source] = finding
    return sorted(best.values(), key=lambda f: (-f.strength, -f.source))


def _restates(step: Step, memory: Memory) -> bool:
    """Whether a step names values or equations, but no new ones, and computes nothing."""
    if not (step.values or step.sides) or step.works_out():
        return False
    return all(v in memory.seen for v in step.values) and not step.sides - memory.sides.keys()


def _support(step: Step, memory: Memory) -> Iterator[Finding]:
    """The support of a step: values from earlier steps, names that they defined, equations that they left."""
    used = step.operands() if step.works_out() else _said_values(step)
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


def _said_values(step: Step) -> Set[Fraction]:
    """The numbers of a step; of an answer in tags those of its first sentence, since any text after it is not the
    answer."""
    if "<answer>" not in step.text.casefold():
        return step.values
    stop = next((i for i, t in enumerate(step.tokens) if i and t.kind == "stop" and step.tokens[i - 1].value), None)
    first = {token.value for token in step.tokens[:stop]}
    return {value for value in step.values if abs(value) in first} or step.values


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
    """The states that an answer, or a line of letters, combines: "letters: r k" after "r" and "k"."""
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
        # For numbers, claims decide the source.
        if (
            step.is_answer
            and len(wanted) > 1
            and not wanted.isdigit()
            and "".join(c for c in earlier.text if c.isalnum()).casefold().endswith(wanted)
        ):
            evidence = f"step {step.index} gives what step {earlier.index} came to"
            yield Finding(earlier.index, step.index, 0.92, "claims", evidence)
            return
