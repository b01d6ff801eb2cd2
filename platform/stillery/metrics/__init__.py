"""Metrics of a model, from `Score` rows, each with its uncertainty."""

from stillery.metrics.accuracy import Estimate, estimate, group_by_problem, majority_at_k, pass_at_k
from stillery.metrics.failures import TooManyFailuresError, check_failures
from stillery.metrics.gain import Gain, gain_of, in_points, paired_gain
from stillery.metrics.stopping import StoppingRule, pass_rate
from stillery.metrics.summary import summarize

__all__ = [
    "Estimate",
    "Gain",
    "StoppingRule",
    "TooManyFailuresError",
    "check_failures",
    "estimate",
    "gain_of",
    "group_by_problem",
    "in_points",
    "majority_at_k",
    "paired_gain",
    "pass_at_k",
    "pass_rate",
    "summarize",
]
