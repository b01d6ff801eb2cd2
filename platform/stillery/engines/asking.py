"""Putting problems to a model: render, find what the log holds, sample what is missing."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    plan = Plan(
        identity=source.identity,
        sampling=settings,
        num_samples=num_samples,
        log=run.log_folder(digest(source.identity, settings)[:16]),
        flush_every=engine.flush_every,
        wanted=wanted,
        ahead=ahead,
        resample=None if resample is None else dict(resample),
    )
    where = sample_log.index(plan.log)
    asks: list[Ask] = []
    missing: list[Ask] = []
    num_logged = 0
    for prompt, text in zip(prompts, source.render(conversations), strict=True):
        bare = Ask(prompt.prompt_id, text, [])
        ids = [plan.sample_id(bare, index, round_=round_) for index in range(num_samples) for round_ in (0, 1)]
        files = sorted({where[made_of] for made_of in ids if made_of in where})
        logged = sum(made_of in where for made_of in ids[::2])
        num_logged += logged
        asks.append(Ask(prompt.prompt_id, text, files))
        # Under a stopping rule only the judge can tell what is still missing.
        if logged < num_samples or judge is not None or resample is not None:
            missing.append(asks[-1])
    if num_logged:
        print(f"{label}: {num_logged:,} of {len(asks) * num_samples:,} samples are in the log already", flush=True)
    needed = sample(missing, plan=plan, source=source, engine=engine, judge=judge, label=label)
    return Asked(asks, {ask.prompt_id: needed.get(ask.prompt_id, num_samples) for ask in asks}, plan)
