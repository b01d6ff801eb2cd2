"""Attacks on the reward: ways to raise it without reasoning better, each beside its honest twin.

`ATTACKS` maps a name to a function from an honest trace to pairs of an attacked and an honest completion; `run_suite`
scores them over many honest traces. An attack that scores above its twin pays, which is a bug in the reward.
"""

from stillery.training.rewards.attacks.bases import HonestTrace, honest_traces
from stillery.training.rewards.attacks.suite import ATTACKS, AttackOutcome, run_suite

__all__ = ["ATTACKS", "AttackOutcome", "HonestTrace", "honest_traces", "run_suite"]
