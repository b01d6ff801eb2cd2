"""What part a step plays, where nothing that it computes decides it: a multinomial logistic model over its signals.

The weights were fitted with an L2 penalty on the tune half of the labelled steps; docs/bonds.md says how to fit them
again.
"""

import math
from collections.abc import Mapping
from enum import StrEnum

_MIN_RETURN = 0.35


class Role(StrEnum):
    """What a step is for."""

    DERIVES = "derives"
    RETURNS = "returns"
    EXPLORES = "explores"
    OTHER = "other"


# Signal -> its weight for each role, in the order of Role.
Weights = Mapping[str, tuple[float, float, float, float]]


def role_odds(found: Mapping[str, float], weights: Weights) -> dict[Role, float]:
    """The probability of each role of a step, from its signals."""
    derives = returns = explores = other = 0.0
    for name, value in found.items():
        if value:
            weight = weights[name]
            derives += weight[0] * value
            returns += weight[1] * value
            explores += weight[2] * value
            other += weight[3] * value
    scores = (derives, returns, explores, other)
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    total = sum(powers)
    return {role: power / total for role, power in zip(Role, powers, strict=True)}


def pick_role(odds: Mapping[Role, float]) -> Role:
    """The likeliest role; a return already where its probability passes a third."""
    if odds[Role.RETURNS] > _MIN_RETURN:
        return Role.RETURNS
    return max((role for role in Role if role is not Role.RETURNS), key=lambda role: odds[role])
