"""Which checkpoint of a refinement is kept, and when it stops early. Pure: the trainer's history in, a decision out.

Rewards are gamed: they keep rising while the trained model gets worse. So the kept checkpoint is the one with the best
accuracy on held-out problems, and the untouched student, step 0, is one of the candidates.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from stillery.config import StopRules
from stillery.training.validation import ValidationScore

History = Sequence[Mapping[str, Any]]

ACCURACY = "validation/pass@1"
STANDARD_ERROR = "validation/standard_error"
VALIDATED_LENGTH = "validation/mean_length"
# The key of an early stop's reason in the history.
STOPPED = "stopped"
LOGPROB_DIFFERENCE = "sampling/sampling_logp_difference/mean"
LENGTH = "completions/mean_length"
# The number of steps that a metric is averaged over.
WINDOW = 5


def validation_row(measured: ValidationScore) -> dict[str, float]:
    """The validation metrics in a history."""
    return {
        ACCURACY: measured.accuracy,
        STANDARD_ERROR: measured.standard_error,
        VALIDATED_LENGTH: measured.mean_length,
    }


def best_step(history: History) -> int:
    """The step with the highest validation accuracy; of equal ones the first, so a later step must beat step 0."""
    validations = validations_of(history)
    return max(validations, key=lambda step: (validations[step], -step))


def validations_of(history: History) -> dict[int, float]:
    """Validation accuracy by step."""
    return {int(row["step"]): float(row[ACCURACY]) for row in history if ACCURACY in row}


def why_stop(history: History, rules: StopRules) -> str | None:
    """The reason for stopping now, in words; None to continue. Each rule must hold at the last `rules.patience`
    validations."""
    steps = sorted(validations_of(history))
    if len(steps) <= rules.patience:
        return None
    return next((why for rule in _RULES if (why := _lasting(rule, history, steps[-rules.patience :], rules))), None)


def _lasting(rule: Any, history: History, steps: Sequence[int], rules: StopRules) -> str | None:
    reasons = [rule([row for row in history if row["step"] <= step], rules) for step in steps]
    return reasons[-1] if all(reasons) else None


def _accuracy_falls(history: History, rules: StopRules) -> str | None:
    validations = validations_of(history)
    # In DPO the margin between a pair's two rewards takes the place of the reward.
    rewards = _values(history, "reward") or _values(history, "rewards/margins")
    if rules.max_accuracy_drop is None or len(rewards) < 2 * WINDOW:
        return None
    best, last = max(validations.values()), validations[max(validations)]
    rise = fmean(rewards[-WINDOW:]) - fmean(rewards[:WINDOW])
    if best - last < rules.max_accuracy_drop or rise <= 0:
        return None
    return f"the reward rose by {rise:.3f} while validation accuracy fell from {best:.3f} to {last:.3f}"


def _runs_away(history: History, key: str, name: str, limit: float | None) -> str | None:
    values = _values(history, key)
    if limit is None or len(values) < 2 * WINDOW:
        return None
    first, last = fmean(values[:WINDOW]), fmean(values[-WINDOW:])
    if first <= 0 or first / limit <= last <= first * limit:
        return None
    return f"{name} went from {first:.3g} to {last:.3g}"


def _length_runs_away(history: History, rules: StopRules) -> str | None:
    return _runs_away(history, LENGTH, "the mean length of a completion", rules.max_length_ratio)


def _entropy_runs_away(history: History, rules: StopRules) -> str | None:
    return _runs_away(history, "entropy", "the entropy of a token", rules.max_entropy_ratio)


def _engines_part(history: History, rules: StopRules) -> str | None:
    values = _values(history, LOGPROB_DIFFERENCE)[-WINDOW:]
    if rules.max_logprob_difference is None or not values or fmean(values) <= rules.max_logprob_difference:
        return None
    return f"the engine that samples is {fmean(values):.3g} nats a token off the model that learns"


_RULES = (_accuracy_falls, _length_runs_away, _entropy_runs_away, _engines_part)


def _values(history: History, key: str) -> list[float]:
    return [float(row[key]) for row in history if row.get(key) is not None]
