"""Inventory of the sample log: which samples of each prompt it holds, and their outcomes.

It keeps a few bits per sample and no sample ids, so that the inventory of a million prompts fits into a driver.
"""

import posixpath
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from stillery.errors import UserError
from stillery.records import RenderedPrompt
from stillery.sampling.sampling_plan import SamplingPlan

COLUMNS = (
    "sample_id", "prompt_id", "sample_index", "attempt", "error", "finish_reason", "num_prompt_tokens", "num_tokens",
)  # fmt: skip
# Network file systems may hide another machine's new files for this long.
VISIBLE_WITHIN_S = 90.0


@dataclass(slots=True)
class PromptSamples:
    """The samples of one prompt. Bit 2 i + r of an integer is its sample i, in its first (r = 0) or second try.

    `good` samples count, `failed` ones were tried and failed, `cut_off` are the good ones that ended for length;
    `short` holds the token counts of those that were cut short, which count only if the same one occurs twice.
    """

    files: set[str] = field(default_factory=set[str])
    good: int = 0
    failed: int = 0
    cut_off: int = 0
    short: dict[int, set[int]] = field(default_factory=dict[int, set[int]])

    def lacks(self, index: int, *, plan: SamplingPlan, failed: bool) -> bool:
        """Whether a sample must still be made; with `failed`, failed ones count as present."""
        there = self.good | (self.failed if failed else 0)
        first, second = 1 << (2 * index), 2 << (2 * index)
        if not there & first:
            return True
        return plan.resample is not None and bool(self.cut_off & first) and not there & second

    def num_good(self, num_samples: int) -> int:
        """The number of first tries that count."""
        return sum(self.good >> (2 * index) & 1 for index in range(num_samples))


class Inventory:
    """The current contents of a plan's log for some prompts."""

    def __init__(self, prompts: Sequence[RenderedPrompt], *, plan: SamplingPlan) -> None:
        self._plan = plan
        self._prompts = {prompt.prompt_id: prompt for prompt in prompts}
        self._held: dict[str, PromptSamples] = {}

    def of(self, prompt: RenderedPrompt) -> PromptSamples:
        """The samples of a prompt."""
        return self._held.get(prompt.prompt_id) or PromptSamples()

    def missing(
        self, prompts: Iterable[RenderedPrompt], needed: Mapping[str, int], *, failed: bool
    ) -> list[tuple[RenderedPrompt, int]]:
        """The samples that must still be made, among the first `needed` ones of each prompt (default: all)."""
        return [
            (prompt, index)
            for prompt in prompts
            for index in range(needed.get(prompt.prompt_id, self._plan.num_samples))
            if self.of(prompt).lacks(index, plan=self._plan, failed=failed)
        ]

    def look(self, written: Mapping[str, bytes], *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Read the log again. `written` are files that engines reported, with their samples' ids, 16 bytes each: the
        inventory waits for them, listed or not.

        Raises UserError if one of them neither appears nor is replaced by another, or lacks a sample.
        """
        waited_s = 0.0
        while hidden := self._read(written):
            if waited_s >= VISIBLE_WITHIN_S:
                raise UserError(
                    f"{self._plan.log.folder.uri}: {len(hidden)} files that engines have written are not there after "
                    f"{waited_s:.0f} s, the first is {hidden[0]}; the folder must be one and the same for every machine"
                )
            sleep(pause_s := min(10.0, 0.5 + waited_s / 2))
            waited_s += pause_s

    def _read(self, written: Mapping[str, bytes]) -> list[str]:
        """Read the log, a batch at a time. Returns those of the written files that are not visible yet."""
        log = self._plan.log
        self._held.clear()
        by_batch: defaultdict[str, list[str]] = defaultdict(list)
        for name in {*log.files(), *written}:
            by_batch[posixpath.dirname(name)].append(name)
        hidden: set[str] = set()
        for names in by_batch.values():
            contents = log.read(names, columns=COLUMNS)
            for name, table in contents.tables.items():
                self._add(name, table)
                if name in written:
                    _check_ids(f"{log.folder.uri}/{name}", table, written[name])
            hidden |= {name for name in names if name in written} - set(contents.tables) - contents.replaced
        return sorted(hidden - log.set_aside()) if hidden else []

    def _add(self, name: str, table: pa.Table) -> None:
        for row in zip(*(table.column(column).to_pylist() for column in COLUMNS), strict=True):
            entry = _InventoryRow(*row)
            prompt = self._prompts.get(entry.prompt_id)
            if prompt is None or entry.sample_index >= self._plan.num_samples:
                continue
            # Other ids belong to a different rendering of the prompt.
            if entry.sample_id == self._plan.sample_id(prompt, entry.sample_index, attempt=entry.attempt):
                held = self._held.setdefault(entry.prompt_id, PromptSamples())
                held.files.add(name)
                self._count(held, entry)

    def _count(self, held: PromptSamples, entry: "_InventoryRow") -> None:
        bit = 2 * entry.sample_index + entry.attempt
        if entry.error is not None:
            held.failed |= 1 << bit
            return
        if self._plan.is_cut_short(entry):
            lengths = held.short.setdefault(bit, set())
            if entry.num_tokens not in lengths:
                lengths.add(entry.num_tokens)
                return
        held.good |= 1 << bit
        if entry.finish_reason == "length":
            held.cut_off |= 1 << bit


@dataclass(frozen=True, slots=True)
class _InventoryRow:
    """A row of COLUMNS."""

    sample_id: str
    prompt_id: str
    sample_index: int
    attempt: int
    error: str | None
    finish_reason: str | None
    num_prompt_tokens: int
    num_tokens: int


def _check_ids(where: str, table: pa.Table, ids: bytes) -> None:
    promised = {ids[start : start + 16].hex() for start in range(0, len(ids), 16)}
    lost = promised.difference(table.column("sample_id").to_pylist())
    if lost:
        raise UserError(
            f"{where} lacks {len(lost)} of {len(promised)} samples that were written to it, the first is {min(lost)}; "
            "the file system gave back other data than it was given"
        )
