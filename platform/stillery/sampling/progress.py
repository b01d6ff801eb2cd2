"""Progress of sampling: what is done, the rates and the time left."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from stillery.sampling.batch import Tally
from stillery.telemetry import metrics as observe
from stillery.telemetry.bars import ProgressBar
from stillery.telemetry.logs import report


@dataclasses.dataclass
class SamplingProgress:
    """Logs progress, rates and the time left, at most every two seconds and once at the end.

    The clock starts when the first engine is up. The time left is estimated from the prompts: with a stopping rule the
    number of samples is unknown.
    """

    label: str
    num_prompts: int
    most_samples: int
    judged: bool
    prices: tuple[float, float] | None = None
    total: Tally = dataclasses.field(default_factory=Tally)
    started: float | None = None
    printed: float = 0.0
    write: Callable[[ProgressBar], Any] = report

    def add(self, tally: Tally) -> None:
        """Add the counts of a tally."""
        now = time.monotonic()
        self.started = now if self.started is None else self.started
        total = self.total
        total.made += tally.made
        total.accepted += tally.accepted
        total.errors += tally.errors
        total.tokens += tally.tokens
        total.prompt_tokens += tally.prompt_tokens
        total.needed |= tally.needed
        # Without a judge every sample counts as accepted, unchecked.
        counted = {"made": tally.made, "accepted": tally.accepted if self.judged else 0, "errors": tally.errors}
        tokens = {"tokens": tally.tokens, "prompt_tokens": tally.prompt_tokens}
        observe.sampled(**counted, **tokens, cost=self._cost(tally))
        observe.progressed(len(total.needed), of=self.num_prompts)
        is_last = len(total.needed) == self.num_prompts and bool(tally.needed)
        if total.made and (is_last or now - self.printed >= 2):
            self.printed = now
            self.write(self._bar(now - self.started))

    def _bar(self, seconds: float) -> ProgressBar:
        total, seconds = self.total, max(seconds, 1e-9)
        done = len(total.needed)
        parts = [f"{total.made:,} of at most {self.most_samples:,} samples"]
        numbers = {"samples": total.made, "samples_per_s": total.made / seconds, "tokens_per_s": total.tokens / seconds}
        if self.judged:
            parts.append(f"{total.accepted:,} accepted")
        parts.append(f"{total.made / seconds:.0f} samples/s, {total.tokens / seconds:,.0f} tokens/s")
        parts.append(f"{total.errors} errors")
        left = (self.num_prompts - done) / done if done else None
        if self.prices is not None:
            cost = self._cost(total)
            parts.append(f"cost {cost:.2f}" + (f", about {cost * left:.2f} more" if left is not None else ""))
            numbers["cost"] = cost
        return ProgressBar(self.label, done, self.num_prompts, seconds, ", ".join(parts), numbers=numbers)

    def _cost(self, tally: Tally) -> float:
        if self.prices is None:
            return 0.0
        return (tally.prompt_tokens * self.prices[0] + tally.tokens * self.prices[1]) / 1e6
