"""The gate: whether a new student becomes the champion.

In: the scores of the new student, of the present champion if there is one, and of the untouched student. Out: a
decision with its reason. The new one must be better on the same problems by more than chance: the lower end of the
95% interval of the paired difference in pass@1 must be above zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stillery.metrics import Gain, paired_gain
from stillery.records import Score, Split, VerdictKind

CHALLENGER = "challenger"
CHAMPION = "champion"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to promote, in words for the log, and the gain that it rests on (None if it could not be measured)."""

    promote: bool
    reason: str
    against: str
    gain: Gain | None


def decide(
    after: Sequence[Score],
    *,
    untouched: Sequence[Score],
    champion: Sequence[Score] | None,
    champion_name: str = CHAMPION,
) -> Decision:
    """Compare the new student with the champion, or with the untouched student where there is no champion yet.

    `champion_name` is how the decision calls the champion, such as `champion version 3`.
    """
    against = "the untouched student" if champion is None else champion_name
    opponent = untouched if champion is None else champion
    consequence = "no champion is set" if champion is None else "champion unchanged"
    fault = _incomparable(opponent, after)
    if fault is not None:
        return Decision(False, f"not comparable with {against}: {fault}; {consequence}", against, None)
    gain = paired_gain(opponent, after, split=Split.TEST)
    promote = gain.low > 0
    verb = "beats" if promote else "does not beat"
    outcome = "promoted to champion" if promote else consequence
    return Decision(promote, f"{verb} {against}: {describe(gain)}; {outcome}", against, gain)


def describe(gain: Gain) -> str:
    """A gain as a person reads it: points of pass@1 with the interval."""
    return (
        f"test pass@1 {gain.mean * 100:+.1f} points, 95% interval [{gain.low * 100:+.1f}, {gain.high * 100:+.1f}], "
        f"on {gain.num_problems} problems"
    )


def _incomparable(before: Sequence[Score], after: Sequence[Score]) -> str | None:
    """Why two models cannot be compared on the test split, with the remedy; None if they can."""
    problems_before, problems_after = _problems(before), _problems(after)
    if not problems_before:
        return (
            "its run has no scores on the test split: evaluate and register it with stillery, or move the alias by hand"
        )
    unpaired = problems_before ^ problems_after
    if unpaired:
        return (
            f"it was measured on other test problems ({len(unpaired)} of {len(problems_before | problems_after)} have "
            "only one side): train both with the same prompts settings, or move the alias by hand"
        )
    if len(problems_after) < 2:
        return f"{len(problems_after)} test problem(s) give no interval: raise the number of test problems"
    return None


def _problems(scores: Sequence[Score]) -> set[str]:
    return {s.prompt_id for s in scores if s.split == Split.TEST and s.verdict != VerdictKind.UNCHECKED}
