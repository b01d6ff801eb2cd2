"""What makes a verified sample fit to train on: one rule, for the stopping of best-of-n and for curation alike."""

from collections.abc import Collection

from stillery.records import Verdict, VerdictKind


def why_dropped(verdict: Verdict, *, require_template: bool, drop_flags: Collection[str]) -> str | None:
    """The reason for which a sample is not accepted, None if it is.

    Correct answers are accepted, and unchecked ones where there is no gold answer to check against;
    `require_template` drops what departs from the template, `drop_flags` what carries one of these readability flags.
    """
    if verdict.verdict not in (VerdictKind.CORRECT, VerdictKind.UNCHECKED):
        return verdict.verdict
    if require_template and verdict.template != "ok":
        return f"template: {verdict.template}"
    flagged = [flag for flag in verdict.flags if flag in drop_flags]
    return f"flag: {flagged[0]}" if flagged else None
