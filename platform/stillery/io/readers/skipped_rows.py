"""Skipped rows: counted by reason, with the first few named, up to a limit."""

from dataclasses import dataclass, field
from typing import Any

from stillery.errors import UserError
from stillery.io.readers.rows import RowError

POLICIES = ("drop", "error")
_NUM_EXAMPLES = 3


@dataclass(slots=True)
class SkippedRows:
    """The unusable rows of one source.

    `on_bad_row` is `drop` (count and continue, up to the share `max_share` of all rows) or `error` (the first one ends
    the run). `section` is the part of the config that holds both settings.
    """

    section: str
    on_bad_row: str
    max_share: float
    num_rows: int = 0
    counts: dict[str, int] = field(default_factory=dict[str, int])
    examples: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def add(self, fault: RowError) -> None:
        """Count an error. Raises it if the first one ends the run."""
        if self.on_bad_row == "error":
            raise fault
        self.counts[fault.reason] = self.counts.get(fault.reason, 0) + 1
        if self.counts[fault.reason] <= _NUM_EXAMPLES:
            self.examples.setdefault(fault.reason, []).append(str(fault))

    def check(self) -> None:
        """Raise UserError if more rows are skipped than allowed, or all of them."""
        if self.total == 0 or (self.total <= self.max_share * self.num_rows and self.total < self.num_rows):
            return
        most = max(self.counts, key=lambda reason: self.counts[reason])
        first = self.examples[most][0]
        if self.total == self.num_rows:
            raise UserError(f"{first} ({self._said()}: no row can be used)")
        raise UserError(
            f"{first} ({self._said()}; correct them, or raise {self.section}.max_bad_share, "
            f"which is {self.max_share:g})"
        )

    def summary(self) -> dict[str, Any]:
        return {"num_rows": self.num_rows, "left_out": dict(self.counts), "examples": dict(self.examples)}

    def __str__(self) -> str:
        """The log line, with the first example of every reason."""
        return self._said() + "".join(f"\n  {said[0]}" for said in self.examples.values())

    def _said(self) -> str:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(self.counts.items()))
        return f"{self.total:,} of {self.num_rows:,} rows left out" + (f": {reasons}" if reasons else "")
