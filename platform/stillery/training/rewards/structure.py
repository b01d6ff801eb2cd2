"""Scores the structure of a completion's text: the steps on the way to the answer, which of them are checked, and what
is false.

Based on claims and bonds that are found without marker words, so wording alone decides nothing.
"""

from dataclasses import dataclass
from functools import lru_cache

from stillery.bonds.analysis import dissect
from stillery.bonds.claims.outcome import final_key, question_values

_HALF_FALSE = 2.0
# The weight of an answer that no readable step leads to.
_UNFOUNDED = 1.0
_KEPT = 4096


@dataclass(frozen=True, slots=True)
class TraceStructure:
    """`num_steps` is the length of the way to the answer (a step of several operations counts as several),
    `num_confirmed` the number of its steps that a check confirms by another route, `has_false_check` whether a check
    states something false; `false_weight` sums false or contradictory claims, and an answer that no step leads to."""

    num_steps: int
    num_confirmed: int
    has_false_check: bool
    false_weight: float
    stability: float

    def reflection(self, *, least_steps: int = 0) -> float:
        """B: −1 if a check states something false, else min(1, confirmed / ⌈n/3⌉)."""
        if self.has_false_check:
            return -1.0
        thirds = -(-max(self.num_steps, least_steps, 1) // 3)
        return min(1.0, self.num_confirmed / thirds)

    @property
    def false_share(self) -> float:
        """F, which true claims around a false one do not dilute: w / (w + 2) with the total weight w of errors."""
        return self.false_weight / (self.false_weight + _HALF_FALSE)


@lru_cache(maxsize=_KEPT)
def find_structure(text: str, question: str = "") -> TraceStructure:
    """The structure of a completion. Never raises on a model's text; linear in its length."""
    found = dissect(text, question=question, markers=False)
    checking = {check.target for check in found.plain.checks} | {s.index for s in found.steps if s.compared}
    conflicts = found.conflicts
    is_founded = found.parts.way.steps or final_key(found.steps) in question_values(question)
    unfounded = 0.0 if is_founded else _UNFOUNDED
    return TraceStructure(
        num_steps=found.parts.way.length,
        num_confirmed=len(found.parts.way.confirmed),
        has_false_check=any(conflict.step in checking for conflict in conflicts),
        false_weight=sum(conflict.weight for conflict in conflicts) + unfounded,
        stability=found.molecule.stability,
    )
