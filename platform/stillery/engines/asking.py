"""Putting problems to a model: render, find what the log holds, sample what is missing."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stillery import logs
from stillery.config import EngineConfig
from stillery.engines import log as sample_log
from stillery.engines.block import Plan
from stillery.engines.engine import Judge
from stillery.engines.sampling import sample
from stillery.engines.sources import Source
from stillery.records import Ask, Generation, Message, Prompt, digest
from stillery.runs import Run


@dataclass(frozen=True, slots=True)
class Asked:
    """What has been sampled: the prompts as asked, and how many samples of each count."""

    asks: list[Ask]
    needed: dict[str, int]
    plan: Plan

    def read(self, *, rows: int) -> Iterator[list[Generation]]:
        """The samples, a prompt's together and in order of index, those beyond what counts marked as surplus; in
        lists of about `rows`, so that a run of any size fits into memory."""
        where = sample_log.index(self.plan.log, failed=True)
        wanted: list[str] = []
        for ask in self.asks:
            for index in range(self.plan.num_samples):
                ids = {self.plan.sample_id(ask, index, round_=round_): None for round_ in (0, 1)}
                wanted += [made_of for made_of in ids if made_of in where]
            if len(wanted) >= rows:
                yield self._load(wanted, where)
                wanted = []
        if wanted:
            yield self._load(wanted, where)

    def _load(self, wanted: list[str], where: Mapping[str, str]) -> list[Generation]:
        rows = sample_log.read(self.plan.log, wanted, files={where[made_of] for made_of in wanted})
        return [
            dataclasses.replace(row, surplus=True) if row.sample_index >= self.needed[row.prompt_id] else row
            for row in rows
        ]


def ask(
    prompts: Sequence[Prompt],
    conversations: Sequence[Sequence[Message]],
    *,
    source: Source,
    engine: EngineConfig,
    sampling: Mapping[str, Any],
    num_samples: int,
    run: Run,
    label: str,
    wanted: int | None = None,
    ahead: int = 0,
    resample: Mapping[str, Any] | None = None,
    judge: Judge | None = None,
) -> Asked:
    """Sample the model on each prompt: `num_samples` times, or until `judge` has accepted `wanted`.

    `conversations` holds the messages that ask each prompt; `sampling` what shapes a sample and `seed`, the run's;
    `resample` what of that differs for a second try at a sample cut off for length. Samples that the run's log already
    holds are not made again.
    """
    settings = {**sampling, **source.extra}
    log = run.log_folder(digest(source.identity, settings)[:16])
    plan = Plan(
        identity=source.identity,
        sampling=settings,
        num_samples=num_samples,
        log=log,
        flush_every=engine.flush_every,
        wanted=wanted,
        ahead=ahead,
        resample=None if resample is None else dict(resample),
        owner=sample_log.claim(log),
    )
    rendered = source.render(conversations)
    bare = [Ask(prompt.prompt_id, text, []) for prompt, text in zip(prompts, rendered, strict=True)]
    asks, logged = _located(bare, plan)
    if any(logged):
        logs.say(f"{label}: {sum(logged):,} of {len(asks) * num_samples:,} samples are in the log already")
    # Under a stopping rule only the judge can tell what is still missing.
    is_fixed = judge is None and resample is None
    missing = [ask for ask, num in zip(asks, logged, strict=True) if num < num_samples or not is_fixed]
    needed = sample(missing, plan=plan, source=source, engine=engine, judge=judge, label=label)
    # What an engine's second try at a block yields takes the places of what its first had yielded, and Ray drops it
    # where the driver has read those: some prompts are then done, but nobody knows where they stopped.
    while wanted is not None and (untold := [ask for ask in missing if ask.prompt_id not in needed]):
        logs.say(f"{label}: looking again at {len(untold):,} prompts whose engine was lost")
        again, _ = _located(untold, plan)
        needed |= sample(again, plan=plan, source=source, engine=engine, judge=judge, label=label)
    return Asked(asks, {ask.prompt_id: needed.get(ask.prompt_id, num_samples) for ask in asks}, plan)


def _located(asks: Sequence[Ask], plan: Plan) -> tuple[list[Ask], list[int]]:
    """The same prompts with the files of the log that hold samples of them, and how many samples that is of each,
    second tries not counted."""
    where = sample_log.index(plan.log)
    located: list[Ask] = []
    counts: list[int] = []
    for ask in asks:
        ids = [plan.sample_id(ask, index, round_=round_) for index in range(plan.num_samples) for round_ in (0, 1)]
        files = sorted({where[made_of] for made_of in ids if made_of in where})
        located.append(Ask(ask.prompt_id, ask.rendered, files))
        counts.append(sum(made_of in where for made_of in ids[::2]))
    return located, counts
