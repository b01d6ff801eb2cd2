"""Best of n by agreement, then stability: among the samples with the most frequent answer, the one with the most stable
reasoning.

`stillery.verify.same_answer` decides whether answers are the same. A sample that was cut off or gave no answer does not
vote.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from stillery.serving.molecules import stability_of, trace_of
from stillery.verify import same_answer


@dataclass(frozen=True)
class Answered:
    """One sample: its parts, and the stability of its reasoning."""

    index: int
    reasoning: str | None
    answer: str | None
    finish_reason: str
    stability: float

    @property
    def votes(self) -> bool:
        """Whether the sample ended by itself with an answer."""
        return self.finish_reason == "stop" and bool((self.answer or "").strip())


@dataclass(frozen=True)
class BestAnswer:
    """The chosen sample (None if none gave an answer), and how many of how many voters agree with it."""

    chosen: Answered | None
    agreeing: int
    voting: int
    uncompared: int


@dataclass
class _Group:
    first: str
    members: list[Answered] = field(default_factory=list[Answered])

    @property
    def rank(self) -> tuple[int, float]:
        return len(self.members), max(sample.stability for sample in self.members)


def weigh(index: int, *, question: str, reasoning: str | None, answer: str | None, finish_reason: str) -> Answered:
    """A sample with its stability."""
    stability = stability_of(trace_of(reasoning, answer), question=question)
    return Answered(index, reasoning, answer, finish_reason, stability)


def choose(
    samples: Sequence[Answered], *, answer_kind: str = "auto", same: Callable[..., bool] = same_answer
) -> BestAnswer:
    """The most stable sample of the largest group of equal answers; between groups of equal size the one with the most
    stable sample.

    A pair that cannot be compared (too slow, or the comparison fails) counts as two answers, and is counted in
    `uncompared`: a failure on our side means neither that they differ nor that they agree.
    """
    groups: list[_Group] = []
    uncompared = 0
    voting = [sample for sample in samples if sample.votes]
    for sample in voting:
        answer = (sample.answer or "").strip()
        for group in groups:
            try:
                agrees = group.first == answer or same(answer, group.first, answer_kind=answer_kind)
            except (TimeoutError, RuntimeError):
                uncompared += 1
                continue
            if agrees:
                group.members.append(sample)
                break
        else:
            groups.append(_Group(answer, [sample]))
    if not groups:
        return BestAnswer(None, 0, 0, uncompared)
    largest = max(groups, key=lambda group: group.rank)
    best = max(largest.members, key=lambda sample: (sample.stability, -sample.index))
    return BestAnswer(best, len(largest.members), len(voting), uncompared)
