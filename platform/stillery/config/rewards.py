"""Settings of the combined reward of a refinement."""

from dataclasses import dataclass


@dataclass
class RewardWeights:
    """R = correct · (1 + reflection·B − false_claims·F − length·L − repetition·P); `malformed` without the template.

    docs/guides/refine.md lists the parts. They only rank right answers: the penalties together stay below 1, so that
    a wrong answer (0) is below every right one. `same_route` is what a check by the same route as the step is worth;
    one by another route is worth 1.
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
    same_route: float = 0.0
    """What a check by the same route is worth, beside 1 by another."""
