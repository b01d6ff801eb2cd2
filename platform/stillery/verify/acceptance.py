"""Acceptance: when a verified sample is fit to train on; one rule for best-of-n's stopping and curation alike."""

from dataclasses import dataclass

from stillery.config import CurateConfig
from stillery.records import Verdict, VerdictKind, digest


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The rule. All that it depends on is a field, so that its fields are the rule's part of a fingerprint.

    Correct answers are accepted, and unchecked ones where there is no gold answer to check against. Not accepted is,
    with `require_template`, what departs from the template; what carries one of the readability flags `drop_flags`;
    and, with `deduplicate`, a copy of a sample of the same prompt that is accepted and has a lower index.
    """

    require_template: bool
    drop_flags: tuple[str, ...]
    deduplicate: bool

    @classmethod
    def of(cls, config: CurateConfig) -> "Acceptance":
        """The rule that a config states."""
        return cls(config.require_template, tuple(config.drop_flags), config.deduplicate)

    def why_dropped(self, verdict: Verdict) -> str | None:
        """The reason for which a sample, looked at alone, is not accepted; None if it is."""
        if verdict.verdict not in (VerdictKind.CORRECT, VerdictKind.UNCHECKED):
            return verdict.verdict
        if self.require_template and verdict.template != "ok":
            return f"template: {verdict.template}"
        flagged = [flag for flag in verdict.flags if flag in self.drop_flags]
        return f"flag: {flagged[0]}" if flagged else None

    def key(self, *, sample_id: str, completion: str) -> str:
        """What a sample counts as: of one prompt's samples with the same key, only the first by index is accepted."""
        return digest("completion", completion.strip()) if self.deduplicate else sample_id
