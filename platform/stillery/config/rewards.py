"""Settings of the combined reward of a refinement."""

from dataclasses import dataclass


@dataclass
class RewardWeights:
    """R = correct · (1 + reflection·B − false_claims·F − length·L − repetition·P); `malformed` without the template.

    docs/guides/rewards.md defines the parts. They only rank right answers: the penalties together stay below 1, so that
    a wrong answer (0) is below every right one.
    """

    reflection: float = 0.15
    """Within `combined`: what checks by another route add."""
    false_claims: float = 0.10
    """What false claims cost."""
    length: float = 0.05
    """What overlong completions cost."""
    repetition: float = 0.05
    """What repetition costs."""
    malformed: float = -0.1
    """What a completion without the template gets."""
