"""The sampling plan: how many samples of each prompt, with which settings, and which logged ones count."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from stillery.records import RenderedPrompt, sample_id
from stillery.sampling.sample_log import SampleLog

# The default of vLLM's SamplingParams for `max_tokens`.
DEFAULT_MAX_TOKENS = 16


class _Logged(Protocol):
    """The fields that decide whether a logged sample counts; of a whole Generation, or only these."""

    @property
    def attempt(self) -> int: ...
    @property
    def error(self) -> str | None: ...
    @property
    def finish_reason(self) -> str | None: ...
    @property
    def num_prompt_tokens(self) -> int: ...
    @property
    def num_tokens(self) -> int: ...


L = TypeVar("L", bound=_Logged)


@dataclass(frozen=True, slots=True)
class SamplingPlan:
    """The samples wanted of every prompt.

    `identity` is the model's, `sampling` everything that shapes a sample, including the run's seed. `num_samples`,
    `target_accepted`, `lookahead` and `futility` are best-of-n's. `resample` overlays `sampling` for a second try at a
    sample that was cut off for length. `max_model_len` is the model's context in this run, None where unknown.
    """

    identity: str
    sampling: dict[str, Any]
    num_samples: int
    log: SampleLog
    flush_every: int
    target_accepted: int | None = None
    lookahead: int = 0
    futility: float = 0.0
    resample: dict[str, Any] | None = None
    max_model_len: int | None = None

    def sampling_of(self, attempt: int) -> dict[str, Any]:
        """The settings of a first (0) or second (1) try."""
        return self.sampling if attempt == 0 else {**self.sampling, **(self.resample or {})}

    def sample_id(self, prompt: RenderedPrompt, index: int, *, attempt: int = 0) -> str:
        """The id of a prompt's sample."""
        return sample_id(
            prompt_id=prompt.prompt_id,
            rendered=prompt.rendered,
            model=self.identity,
            sampling=self.sampling_of(attempt),
            index=index,
        )

    def is_cut_short(self, row: _Logged) -> bool:
        """Whether a sample ended because its context was smaller than the present one: at fewer tokens than its
        settings allow."""
        if self.max_model_len is None or row.finish_reason != "length" or row.error is not None:
            return False
        most: int | None = self.sampling_of(row.attempt).get("max_tokens", DEFAULT_MAX_TOKENS)
        has_room = row.num_prompt_tokens + row.num_tokens < self.max_model_len
        return has_room and (most is None or row.num_tokens < most)

    def pick(self, rows: Sequence[L]) -> L | None:
        """The row that counts among the logged rows of one sample, a failed one where there is no other; None if it
        must be made again.

        A sample cut short counts if it was made again and ended at the same length: its context is then smaller than
        stated.
        """
        lengths: set[int] = set()
        for row in rows:
            if row.error is not None:
                continue
            if not self.is_cut_short(row) or row.num_tokens in lengths:
                return row
            lengths.add(row.num_tokens)
        return next((row for row in rows if row.error is not None), None)
