"""The parts of the combined reward."""

from dataclasses import dataclass

from stillery.config.rewards import RewardWeights


@dataclass(frozen=True, slots=True)
class RewardParts:
    """The parts of one completion's reward. `correct` is None where it is undecided (the verifier failed, or there is
    no gold answer); B, F, L and P are from 0 to 1, except that B is −1 if a check states something false."""

    correct: bool | None
    well_formed: bool
    num_steps: int
    reflection: float
    false_claims: float
    length: float
    repetition: float

    def structure(self, weights: RewardWeights) -> float:
        """The structure's contribution to a right answer; 0 for any other."""
        if not (self.correct and self.well_formed):
            return 0.0
        costs = (
            weights.false_claims * self.false_claims
            + weights.length * self.length
            + weights.repetition * self.repetition
        )
        return weights.reflection * self.reflection - costs

    def outcome(self, weights: RewardWeights) -> float | None:
        """The reward without structure: malformed, wrong or right; None where it is undecided."""
        if not self.well_formed:
            return weights.malformed
        return None if self.correct is None else float(self.correct)

    def total(self, weights: RewardWeights) -> float | None:
        """The combined reward."""
        outcome = self.outcome(weights)
        return None if outcome is None else round(outcome + self.structure(weights), 6)
