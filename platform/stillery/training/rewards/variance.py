"""The share of a policy's learning signal that comes from structure rather than from right and wrong."""

from collections import defaultdict
from collections.abc import Hashable, Sequence


def structure_share(
    rewards: Sequence[float | None], structure: Sequence[float], groups: Sequence[Hashable]
) -> float | None:
    """The share of the advantage's variance due to structure: Cov(A_structure, A) / Var(A).

    `structure` is its contribution to each reward, `groups` the prompt of each completion. An advantage is a reward
    minus the mean of its group (`scale_rewards="none"`), so that the shares of structure and of the outcome sum to 1.
    None where every advantage is 0.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        if rewards[i] is not None:
            members[group].append(i)
    both = whole = 0.0
    for rows in members.values():
        mean = sum(rewards[i] or 0.0 for i in rows) / len(rows)
        mean_structure = sum(structure[i] for i in rows) / len(rows)
        for i in rows:
            advantage = (rewards[i] or 0.0) - mean
            whole += advantage**2
            both += advantage * (structure[i] - mean_structure)
    return both / whole if whole > 1e-12 else None
