"""The mixture of parts: how many samples of each part stay, so that the parts stand in given shares.

Nothing is repeated: the part that is scarcest for its share sets the size, and the others are thinned. Which samples
stay is decided by a hash of each id and the seed, so that it depends on neither files nor machines.
"""

from collections.abc import Mapping

from stillery.errors import UserError
from stillery.records import digest

_SCALE = 1 << 32


def keep_rates(counts: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, float]:
    """The share of each part's samples that stays, 0 to 1, of `counts` samples (or tokens) a part.

    Parts that `shares` does not name are left out. Raises UserError where a named part has nothing.
    """
    total = sum(shares.values())
    lacking = [part for part, share in shares.items() if share > 0 and not counts.get(part)]
    if lacking:
        raise UserError(
            f"curate.mixture asks for {shares[lacking[0]] / total:.0%} of {lacking[0]}, and there is none of it; "
            f"there is {', '.join(f'{part} ({n:,})' for part, n in sorted(counts.items())) or 'nothing'}"
        )
    size = min(counts[part] / (share / total) for part, share in shares.items() if share > 0)
    rates = {part: size * (share / total) / counts[part] if share > 0 else 0.0 for part, share in shares.items()}
    return {part: min(1.0, rates.get(part, 0.0)) for part in counts}


def stays(sample_id: str, *, rate: float, seed: int) -> bool:
    """Whether a sample is among the share of its part that stays."""
    return int(digest("mixture", seed, sample_id)[:8], 16) < rate * _SCALE
