"""Every attack on many honest traces: rows with the scores of the honest twins and the attacked completions."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from stillery.config.rewards import RewardWeights
from stillery.training.rewards.attacks import decoys, errors, forms, second_routes
from stillery.training.rewards.attacks.bases import HonestTrace
from stillery.training.rewards.attacks.decoys import Case
from stillery.training.rewards.combined import score
from stillery.training.rewards.structure import find_structure

Attack = Callable[[HonestTrace, random.Random], Iterator[Case]]

ATTACKS: dict[str, Attack] = {
    attack.__name__.replace("_", " "): attack
    for attack in (
        decoys.marker_spam,
        decoys.always_ok,
        decoys.trivial_checks,
        decoys.irrelevant_checks,
        decoys.irrelevant_states,
        decoys.copied_checks,
        second_routes.reworded_checks,
        second_routes.late_checks,
        second_routes.same_computation,
        second_routes.variables,
        second_routes.guessed_first,
        second_routes.merged_steps,
        errors.false_arithmetic,
        errors.diluted_errors,
        errors.planted_errors,
        errors.unparsable_claims,
        errors.look_alikes,
        forms.empty_think,
        forms.several_answers,
        forms.tag_nesting,
        forms.judge_instructions,
        forms.restated_question,
        forms.padding,
        forms.long_repeats,
    )
}
_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class AttackOutcome:
    """One attack on one trace: the scores of twin and attacked completion, by the combined reward and by stability."""

    attack: str
    honest: HonestTrace
    attacked_text: str
    twin_text: str
    twin: float
    attacked: float
    twin_stability: float
    attacked_stability: float

    @property
    def pays(self) -> bool:
        """Whether the attack scores above its twin by the reward."""
        return self.attacked > self.twin + _TOLERANCE

    @property
    def steadies(self) -> bool:
        """Whether the attack scores above its twin by stability."""
        return self.attacked_stability > self.twin_stability + _TOLERANCE


def run_suite(
    traces: Iterable[HonestTrace],
    *,
    attacks: Sequence[str] = tuple(ATTACKS),
    weights: RewardWeights | None = None,
    seed: int = 0,
) -> Iterator[AttackOutcome]:
    """The outcome of each attack on each trace; the same seed makes the same attacks."""
    used = weights or RewardWeights()
    for number, honest in enumerate(traces):
        for name in attacks:
            for attacked, twin in ATTACKS[name](honest, random.Random(f"{seed} {number} {name}")):
                worth = [_worth(text, honest, used) for text in (twin, attacked)]
                steady = [find_structure(text, honest.question).stability for text in (twin, attacked)]
                yield AttackOutcome(name, honest, attacked, twin, worth[0], worth[1], steady[0], steady[1])


def _worth(text: str, honest: HonestTrace, weights: RewardWeights) -> float:
    parts = score(
        text,
        question=honest.question,
        answer=honest.answer,
        answer_kind=honest.answer_kind,
        choices=honest.choices,
        teacher_length=float(len(honest.text)),
    )
    total = parts.total(weights)
    assert total is not None, "an answer of the suite was not compared"
    return total
