"""Progress of a stage: a bar on a terminal, an occasional line elsewhere, numbers in JSON.

In: progress reports at any rate. Out: Bars, which `logs.report` prints.
"""

import time
from dataclasses import dataclass, field

# The interval of lines where no terminal is attached.
QUIET_S = 30.0


@dataclass(frozen=True, slots=True)
class ProgressBar:
    """`done` of `of` pieces of work, `seconds` after it began with `first` done; `note` is additional text, such as the
    loss or the cost, and `numbers` the same for programs."""

    label: str
    done: int
    of: int
    seconds: float
    note: str = ""
    first: int = 0
    unit: str = "prompts"
    numbers: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def seconds_left(self) -> float | None:
        """None until something is done."""
        made = self.done - self.first
        return self.seconds / made * (self.of - self.done) if made > 0 else None

    def to_plain(self) -> dict[str, float]:
        """The numbers, for programs."""
        left = self.seconds_left
        return {
            "done": self.done,
            "of": self.of,
            **({} if left is None else {"seconds_left": round(left, 1)}),
            **self.numbers,
        }

    def __str__(self) -> str:
        left = self.seconds_left
        parts = [f"{self.label}: {self.done:,}/{self.of:,} {self.unit}", self.note]
        parts.append("" if left is None else f"{left:,.0f} s left")
        return ", ".join(part for part in parts if part)

    def draw(self, *, columns: int) -> str:
        """One terminal line, at most `columns` wide."""
        from tqdm import tqdm

        note = f", {self.note}" if self.note else ""
        form = "{desc}: {percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} {unit} [{elapsed}<{remaining}" + "{postfix}]"
        made = tqdm.format_meter(
            self.done, self.of, self.seconds, prefix=self.label, bar_format=form, initial=self.first,
            postfix=note.removeprefix(", "), unit=self.unit,
        )  # fmt: skip
        return made if len(made) < columns else made[: columns - 1]


@dataclass
class LineThrottle:
    """Schedules the lines of each label where no terminal is attached: the first `QUIET_S` after work began, and one at
    the end."""

    last: dict[str, float] = field(default_factory=dict[str, float])

    def is_due(self, bar: ProgressBar) -> bool:
        now = time.monotonic()
        if bar.done < bar.of and now - self.last.setdefault(bar.label, now) < QUIET_S:
            return False
        self.last[bar.label] = now
        return True
