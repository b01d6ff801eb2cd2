"""Settings of the combined reward of a refinement."""

from dataclasses import dataclass


@dataclass
class RewardWeights:
    """R = correct · (1 + reflection·B − false_claims·F − length·L − repetition·P); `malformed` without the template.

    docs/guides/rewards.md defines the terms. They only rank right answers: the penalties together stay below 1, so that
    a wrong answer (0) is below every right one.
    """

    reflection: float = 0.15
    """Within `combined`: bonus for checks by another route."""
    false_claims: float = 0.10
    """Penalty for false claims."""
    length: float = 0.05
    """Penalty for overlong completions."""
    repetition: float = 0.05
    """Penalty for repetition."""
    malformed: float = -0.1
    """Reward of a completion without the template."""
