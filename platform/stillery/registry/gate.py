"""The gate: whether a new student becomes the champion.

In: the evaluations of the new student, of the current champion if there is one, and of the untouched student. Out: a
decision with its reason. The new one must be better on the same problems, under the same protocol, by more than chance:
the lower end of the 95% interval of the paired difference in pass@1 must be above zero, and stay there if every sample
that failed on our side had gone against it.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from stillery.metrics import Gain, group_by_problem, paired_gain
from stillery.records import FAILURES, Score, Split, VerdictKind

CHALLENGER = "challenger"
CHAMPION = "champion"


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """A model's evaluation. `protocol` is how it was measured: verifier, sampling, prompts, precision and problems;
    None where it was not recorded."""

    scores: Sequence[Score]
    protocol: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Whether to promote, a reason for the log, and the gain that it rests on (None if it could not be measured)."""

    promote: bool
    reason: str
    against: str
    gain: Gain | None


def decide(
    after: MeasuredModel,
    *,
    untouched: MeasuredModel,
    champion: MeasuredModel | None,
    champion_name: str = CHAMPION,
    remedy: str = "",
) -> GateDecision:
    """Compare the new student with the champion, or with the untouched student where there is no champion yet.

    `champion_name` is the champion's name in the decision, such as `champion version 3`; `remedy` is the advice where
    the two cannot be compared.
    """
    against = "the untouched student" if champion is None else champion_name
    opponent = untouched if champion is None else champion
    consequence = "no champion is set" if champion is None else "champion unchanged"
    fault = too_few(after) or incomparable(opponent, after) or _unanswered(opponent, after)
    if fault is not None:
        reason = "; ".join(part for part in (fault, remedy, consequence) if part)
        return GateDecision(False, f"not comparable with {against}: {reason}", against, None)
    gain = paired_gain(opponent.scores, after.scores, split=Split.TEST)
    if gain.low <= 0:
        return GateDecision(False, f"does not beat {against}: {describe(gain)}; {consequence}", against, gain)
    worst = paired_gain(
        _settled(opponent.scores, VerdictKind.CORRECT), _settled(after.scores, VerdictKind.WRONG), split=Split.TEST
    )
    if worst.low <= 0:
        num_failed = sum(score.verdict in FAILURES for score in [*opponent.scores, *after.scores])
        doubt = f"{num_failed} samples failed for other reasons than the models, and could undo it"
        return GateDecision(False, f"may beat {against}: {describe(gain)}, but {doubt}; {consequence}", against, gain)
    return GateDecision(True, f"beats {against}: {describe(gain)}; promoted to champion", against, gain)


def describe(gain: Gain) -> str:
    """A gain for display: points of pass@1 with the interval."""
    return (
        f"test pass@1 {gain.mean * 100:+.1f} points, 95% interval [{gain.low * 100:+.1f}, {gain.high * 100:+.1f}], "
        f"on {gain.num_problems} problems"
    )


def too_few(evaluation: MeasuredModel) -> str | None:
    """Why a model cannot be compared with any other on the test split; None if it can."""
    num_problems = len(_problems(evaluation.scores))
    if num_problems < 2:
        return f"{num_problems} test problem(s) give no interval: raise the number of test problems"
    return None


def incomparable(before: MeasuredModel, after: MeasuredModel) -> str | None:
    """Why two models cannot be compared on the test split as they were measured; None if they can."""
    problems_before, problems_after = _problems(before.scores), _problems(after.scores)
    if not problems_before:
        return "its run has no scores on the test split"
    num_problems = len(problems_before.keys() | problems_after.keys())
    unpaired = problems_before.keys() ^ problems_after.keys()
    if unpaired:
        return f"it was measured on other test problems ({len(unpaired)} of {num_problems} have only one side)"
    changed = [problem for problem, content in problems_before.items() if problems_after[problem] != content]
    if changed:
        return (
            f"it was measured on other test problems ({len(changed)} of {num_problems} differ in their question, "
            f"answer or number of samples, such as {min(changed)})"
        )
    if before.protocol is None or after.protocol is None:
        return "it is not on record how it was measured"
    differences = _differences(before.protocol, after.protocol)
    return f"it was measured in another way ({', '.join(differences[:5])})" if differences else None


def _unanswered(before: MeasuredModel, after: MeasuredModel) -> str | None:
    """Why failures leave too little to compare; None if they leave enough."""
    answered = (group_by_problem(s for s in e.scores if s.split == Split.TEST).keys() for e in (before, after))
    num_both = len(set.intersection(*map(set, answered)))
    return None if num_both >= 2 else f"samples failed so often that {num_both} test problem(s) have answers of both"


def _problems(scores: Sequence[Score]) -> dict[str, tuple[str, str | None, int]]:
    """For each test problem the question, the answer and the number of samples."""
    problems: dict[str, tuple[str, str | None, int]] = {}
    for score in scores:
        if score.split == Split.TEST and score.verdict != VerdictKind.UNCHECKED:
            _, _, count = problems.get(score.prompt_id, ("", None, 0))
            problems[score.prompt_id] = (score.question, score.gold, count + 1)
    return problems


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], *, prefix: str = "") -> list[str]:
    """The dotted names of the differences, with both values."""
    found: list[str] = []
    for key in sorted(before.keys() | after.keys()):
        one, other = before.get(key), after.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            tables = cast(Mapping[str, Any], one), cast(Mapping[str, Any], other)
            found += _differences(*tables, prefix=f"{prefix}{key}.")
        elif one != other:
            found.append(f"{prefix}{key} {json.dumps(one)[:80]} against {json.dumps(other)[:80]}")
    return found


def _settled(scores: Sequence[Score], verdict: VerdictKind) -> list[Score]:
    """The scores as if every failed sample had had one given outcome."""
    return [dataclasses.replace(s, verdict=verdict) if s.verdict in FAILURES else s for s in scores]
