"""The sampler: render prompts, read the sample log, make the missing samples, verify that none is missing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from stillery.config import EngineConfig
from stillery.errors import UserError
from stillery.io.run_folder import Run
from stillery.records import (
    Generation,
    Message,
    Prompt,
    RenderedPrompt,
    ScoredGeneration,
    conform,
    digest,
    schema_of,
)
from stillery.sampling.backend import Backend
from stillery.sampling.engine import Judge
from stillery.sampling.engine_actors import run_batches
from stillery.sampling.inventory import Inventory
from stillery.sampling.sample_log import SampleLog
from stillery.sampling.sampling_plan import SamplingPlan
from stillery.telemetry.logs import logger

# The number of times that samples missing at the end are made again, before the run fails.
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class SampledPrompts:
    """The result of sampling: the prompts, with the files that hold their samples, and the number of each that
    count."""

    prompts: list[RenderedPrompt]
    needed: dict[str, int]
    plan: SamplingPlan

    def tables(self, *, rows: int, scored: bool = False) -> Iterator[pa.Table]:
        """The samples as tables of Generation (with `scored` of ScoredGeneration), a prompt's together and in order of
        index, those beyond the counted ones marked as surplus; in parts of about `rows`, so that a run of any size fits
        into memory.

        Raises UserError if a sample has disappeared.
        """
        size = max(1, rows // self.plan.num_samples)
        tables: dict[str, pa.Table] = {}
        for start in range(0, len(self.prompts), size):
            part = self.prompts[start : start + size]
            names = {name for prompt in part for name in prompt.files}
            # A file that two parts share is read once.
            tables = {name: table for name, table in tables.items() if name in names}
            tables |= self.plan.log.read(names - tables.keys(), scored=scored).tables
            record = ScoredGeneration if scored else Generation
            yield self._part(part, [tables[name] for name in sorted(tables)], record)

    def _part(self, prompts: list[RenderedPrompt], tables: list[pa.Table], record: type[Any]) -> pa.Table:
        # A file of failures alone has no scores.
        table = pa.concat_tables([schema_of(record).empty_table(), *tables], promote_options="default")
        rows: dict[str, list[_Row]] = {}
        columns = [table.column(name).to_pylist() for name in ("sample_id", *_DECISIVE)]
        for number, (sample, *how) in enumerate(zip(*columns, strict=True)):
            rows.setdefault(sample, []).append(_Row(number, *how))
        chosen: list[int] = []
        surplus: list[bool] = []
        for prompt in prompts:
            needed = self.needed[prompt.prompt_id]
            for index in range(self.plan.num_samples):
                tries = [self.plan.pick(rows.get(sample, [])) for sample in self._ids(prompt, index)]
                if tries[0] is None and index < needed:
                    raise UserError(
                        f"{self.plan.log.folder.uri}: sample {index} of prompt {prompt.prompt_id} cannot be read any "
                        "more; start again, and it is made again"
                    )
                found = [row.number for row in tries if row is not None]
                chosen += found
                surplus += [index >= needed] * len(found)
        taken = table.take(pa.array(chosen, pa.int64()))
        place = table.schema.get_field_index("surplus")
        return conform(taken.set_column(place, "surplus", pa.array(surplus, pa.bool_())), record)

    def _ids(self, prompt: RenderedPrompt, index: int) -> list[str]:
        """The ids of a sample's first try, and of its second where there may be one."""
        attempts = (0,) if self.plan.resample is None else (0, 1)
        return [self.plan.sample_id(prompt, index, attempt=attempt) for attempt in attempts]


_DECISIVE = ("attempt", "error", "finish_reason", "num_prompt_tokens", "num_tokens")


@dataclass(frozen=True, slots=True)
class _Row:
    """The position of a logged sample in a table, and the fields that decide whether it counts."""

    number: int
    attempt: int
    error: str | None
    finish_reason: str | None
    num_prompt_tokens: int
    num_tokens: int


def sample(
    prompts: Sequence[Prompt],
    conversations: Sequence[Sequence[Message]],
    *,
    source: Backend,
    engine: EngineConfig,
    sampling: Mapping[str, Any],
    num_samples: int,
    run: Run,
    label: str,
    target_accepted: int | None = None,
    lookahead: int = 0,
    futility: float = 0.0,
    resample: Mapping[str, Any] | None = None,
    judge: Judge | None = None,
) -> SampledPrompts:
    """Sample the model on each prompt: `num_samples` times, or until `judge` has accepted `target_accepted` or the
    probability of that falls below `futility`.

    `conversations` holds the messages of each prompt; `sampling` the settings that shape a sample and `seed`, the
    run's; `resample` the overrides for a second try at a sample cut off for length. Samples that the run's log already
    holds are not made again, unless they failed or were cut short in a smaller context.

    Raises UserError if samples that engines made are missing from the log in the end.
    """
    settings = {**sampling, **source.extra}
    log = SampleLog(run.log_folder(digest(source.identity, settings)[:16])).claim()
    log.compact_all()
    plan = SamplingPlan(
        identity=source.identity,
        sampling=settings,
        num_samples=num_samples,
        log=log,
        flush_every=engine.flush_every,
        target_accepted=target_accepted,
        lookahead=lookahead,
        futility=futility,
        resample=None if resample is None else dict(resample),
        max_model_len=source.max_model_len,
    )
    rendered = source.render(conversations)
    bare = [RenderedPrompt(prompt.prompt_id, text, []) for prompt, text in zip(prompts, rendered, strict=True)]
    work = _Work(bare, plan, Inventory(bare, plan=plan))
    work.inventory.look({})
    logged = sum(work.inventory.of(prompt).num_good(num_samples) for prompt in bare)
    if logged:
        logger.info(f"{label}: {logged:,} of {len(bare) * num_samples:,} samples are in the log already")
    needed: dict[str, int] = {}
    written: dict[str, bytes] = {}
    todo = work.unfinished(needed, is_first=True)
    for _ in range(ATTEMPTS):
        if not todo:
            break
        outcome = run_batches(todo, plan=plan, source=source, engine=engine, judge=judge, label=label)
        needed |= outcome.needed
        # Without a stopping rule every sample counts, whichever engine reported it.
        written = {name: ids for name, ids in {**written, **outcome.written}.items() if name not in outcome.replaced}
        work.inventory.look(written)
        todo = work.unfinished(needed, is_first=False)
        if todo:
            logger.info(f"{label}: looking again at {len(todo):,} prompts whose samples are not all there")
    if todo:
        work.fail(needed, label=label)
    return SampledPrompts(
        work.located(bare), {prompt.prompt_id: needed.get(prompt.prompt_id, num_samples) for prompt in bare}, plan
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """All prompts of a start, and their existing samples."""

    prompts: list[RenderedPrompt]
    plan: SamplingPlan
    inventory: Inventory

    def unfinished(self, needed: Mapping[str, int], *, is_first: bool) -> list[RenderedPrompt]:
        """The prompts that still need samples, or whose stopping point is unknown (only the judge can determine it).
        Failed samples count as missing at first, and then no longer."""
        lacking = {prompt.prompt_id for prompt, _ in self.inventory.missing(self.prompts, needed, failed=not is_first)}
        if self.plan.target_accepted is not None:
            lacking |= {prompt.prompt_id for prompt in self.prompts if prompt.prompt_id not in needed}
        return self.located([prompt for prompt in self.prompts if prompt.prompt_id in lacking])

    def located(self, prompts: Sequence[RenderedPrompt]) -> list[RenderedPrompt]:
        """The same prompts with the files that hold their samples."""
        return [RenderedPrompt(p.prompt_id, p.rendered, sorted(self.inventory.of(p).files)) for p in prompts]

    def fail(self, needed: Mapping[str, int], *, label: str) -> None:
        """Raise a UserError that names the missing samples."""
        missing = self.inventory.missing(self.prompts, needed, failed=True)
        untold = [p for p in self.prompts if self.plan.target_accepted is not None and p.prompt_id not in needed]
        first = [f"sample {i} of prompt {p.prompt_id} ({self.plan.sample_id(p, i)})" for p, i in missing[:3]]
        first = first or [f"where prompt {prompt.prompt_id} stopped" for prompt in untold[:3]]
        raise UserError(
            f"{label}: after {ATTEMPTS} attempts {len(missing):,} samples of {len(self.prompts):,} prompts are not in "
            f"{self.plan.log.folder.uri}, and of {len(untold):,} prompts it is not known where they stopped: "
            f"{', '.join(first)}, ...; see whether every machine writes to this very folder, and start again"
        )
