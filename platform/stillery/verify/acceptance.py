"""Acceptance: whether a verified sample may be trained on; the same rule for best-of-n's stopping and for curation."""

from dataclasses import dataclass

from stillery.config import CurateConfig
from stillery.records import Verdict, VerdictKind, digest


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The acceptance rule. Everything that it depends on is a field, so that its fields are its part of a fingerprint.

    Correct answers are accepted, and unchecked ones where there is no gold answer. A sample is not accepted, with
    `require_template`, if it departs from the template; if it has one of the readability flags `drop_flags`; and, with
    `deduplicate`, if it is a copy of an accepted sample of the same prompt with a lower index.
    """

    require_template: bool
    drop_flags: tuple[str, ...]
    deduplicate: bool

    @classmethod
    def of(cls, config: CurateConfig) -> "Acceptance":
        """The rule that a config sets."""
        return cls(config.require_template, tuple(config.drop_flags), config.deduplicate)

    def why_dropped(self, verdict: Verdict) -> str | None:
        """The reason for rejecting a sample by itself; None if it is accepted."""
        if verdict.verdict not in (VerdictKind.CORRECT, VerdictKind.UNCHECKED):
            return verdict.verdict
        if self.require_template and verdict.template != "ok":
            return f"template: {verdict.template}"
        flagged = [flag for flag in verdict.flags if flag in self.drop_flags]
        return f"flag: {flagged[0]}" if flagged else None

    def key(self, *, sample_id: str, completion: str) -> str:
        """The key that a sample counts under: of one prompt's samples with the same key, only the first by index is
        accepted."""
        return digest("completion", completion.strip()) if self.deduplicate else sample_id
