"""The lifecycle of a batch of prompts: launch, sample, log, judge, and launch again. No Ray in here.

Each batch has its own queue of events, into which the engine's and the judge's threads write; many batches share an
engine, so no prompt waits for another, and none for the end of a batch.
"""

import contextlib
import dataclasses
import queue
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from stillery.errors import UserError
from stillery.records import Generation, RenderedPrompt, Request, digest, from_table, seed_of
from stillery.sampling.best_of_n import BestOfN
from stillery.sampling.engine import BrokenEngineError, Engine, Judge
from stillery.sampling.sample_log import Compaction, next_number
from stillery.sampling.sampling_plan import SamplingPlan
from stillery.telemetry.logs import logger, with_fields

# The maximum delay until a finished sample is durable: short at first, then in proportion to the engine's working time,
# so that an engine that dies loses at most a twentieth of its work, and a slow one does not write one file per sample.
MIN_FLUSH_S = 5.0
MAX_FLUSH_S = 60.0
FLUSH_SHARE = 0.05


@dataclass
class Tally:
    """Events since the last tally: samples made (of which accepted and failed), their tokens, for each finished prompt
    the number of its samples that count, the samples written by file, and files replaced by others."""

    made: int = 0
    accepted: int = 0
    errors: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    needed: dict[str, int] = field(default_factory=dict[str, int])
    written: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    replaced: list[str] = field(default_factory=list[str])


@dataclass(eq=False)
class _Prompt:
    prompt: RenderedPrompt
    best_of: BestOfN


class Batch:
    """Samples the prompts of one batch. `run` once; `busy_s` is the engine's working time."""

    def __init__(
        self,
        prompts: list[RenderedPrompt],
        *,
        plan: SamplingPlan,
        engine: Engine,
        judge: Judge | None,
        busy_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.name = name_of(prompts)
        self.num_made = 0
        self._plan = plan
        self._engine = engine
        self._judge = judge
        self._busy_s = busy_s
        self._prompts = [
            _Prompt(
                prompt,
                BestOfN(
                    num_samples=plan.num_samples,
                    target_accepted=plan.target_accepted,
                    lookahead=plan.lookahead,
                    futility=plan.futility,
                ),
            )
            for prompt in prompts
        ]
        self._events: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._num_open = 0
        self._unlogged: list[Generation] = []
        # When the first of the unlogged samples finished.
        self._oldest = 0.0
        self._tally = Tally()
        own = plan.log.files(self.name)
        self._number = next_number(own)
        # Samples of these prompts from an earlier start, and samples of this very batch from an actor that died.
        self._known = self._find_known({name for prompt in prompts for name in prompt.files} | set(own))

    def run(self) -> Iterator[Tally]:
        """Make the missing samples until every prompt is done. Yields a tally when all are launched, and one for every
        file that is written; at the end the batch's files are compacted.

        Raises BrokenEngineError if the engine broke, or the error that ends the run, after writing all finished
        samples.
        """
        try:
            for prompt in self._prompts:
                self._advance(prompt)
            yield Tally()
            while self._num_open:
                with contextlib.suppress(queue.Empty):
                    self._handle(*self._events.get(timeout=self._flush_in_s()))
                if len(self._unlogged) >= self._plan.flush_every or (self._unlogged and not self._flush_in_s()):
                    yield self._flush()
        finally:
            last = self._flush()
        compaction = self._plan.log.compact(self.name) if self.num_made else None
        yield last if compaction is None else _with_compaction(last, compaction)

    def _flush_in_s(self) -> float | None:
        """Seconds until what is unlogged must be written; None if nothing is."""
        if not self._unlogged:
            return None
        limit_s = min(MAX_FLUSH_S, max(MIN_FLUSH_S, FLUSH_SHARE * self._busy_s()))
        return max(0.0, self._oldest + limit_s - time.monotonic())

    def _find_known(self, files: set[str]) -> dict[str, Generation]:
        contents = self._plan.log.read(files)
        gone = files - set(contents.tables) - contents.replaced
        if gone:
            # Compacted by another start since they were found, or moved aside.
            beside = {
                name for batch in {name.rpartition("/")[0] for name in gone} for name in self._plan.log.files(batch)
            }
            contents = self._plan.log.read((files | beside) - gone)
        asked = {prompt.prompt.prompt_id for prompt in self._prompts}
        rows: defaultdict[str, list[Generation]] = defaultdict(list)
        for table in contents.tables.values():
            for row in from_table(table, Generation):
                if row.prompt_id in asked:
                    rows[row.sample_id].append(row)
        picked = {sample: self._plan.pick(found) for sample, found in rows.items()}
        return {sample: row for sample, row in picked.items() if row is not None and row.error is None}

    def _advance(self, prompt: _Prompt) -> None:
        """Start the samples that the stopping rule requests now."""
        for index in prompt.best_of.launch():
            self._start(prompt, index, attempt=0)
        if prompt.best_of.is_done:
            self._tally.needed[prompt.prompt.prompt_id] = prompt.best_of.num_needed

    def _start(self, prompt: _Prompt, index: int, *, attempt: int) -> None:
        made_of = self._plan.sample_id(prompt.prompt, index, attempt=attempt)
        self._num_open += 1
        if made_of in self._known:
            self._events.put(("made", prompt, self._known[made_of], False))
            return
        request = Request(made_of, prompt.prompt.prompt_id, index, seed_of(made_of), prompt.prompt.rendered)

        def done(result: Generation | Exception) -> None:
            self._events.put(("made", prompt, result, True))

        self._engine.submit(request, sampling=self._plan.sampling_of(attempt), done=done)

    def _handle(self, event: str, prompt: _Prompt, *what: Any) -> None:
        self._num_open -= 1
        if isinstance(what[0], Exception):
            ends_run = event == "judged" or isinstance(what[0], UserError | BrokenEngineError)
            raise what[0] if ends_run else BrokenEngineError.of(what[0])
        if event == "made":
            self._made(prompt, *what)
        else:
            key, row = what
            self._settle(prompt, row, key=key)

    def _made(self, prompt: _Prompt, row: Generation, is_new: bool) -> None:
        attempt = int(row.sample_id != self._plan.sample_id(prompt.prompt, row.sample_index))
        if is_new:
            row = dataclasses.replace(row, attempt=attempt)
            self._oldest = self._oldest if self._unlogged else time.monotonic()
            self._unlogged.append(row)
            self.num_made += 1
            self._tally.made += 1
            self._tally.errors += row.error is not None
            if row.error is not None:
                fields = with_fields(sample_id=row.sample_id, prompt_id=row.prompt_id)
                logger.debug(f"a sample failed: {row.error}", extra=fields)
            self._tally.tokens += row.num_tokens
            self._tally.prompt_tokens += row.num_prompt_tokens
        if row.finish_reason == "length" and self._plan.resample is not None and attempt == 0:
            self._start(prompt, row.sample_index, attempt=1)
        elif self._judge is None or row.error is not None:
            self._settle(prompt, row, key=row.sample_id if row.error is None else None)
        else:
            self._num_open += 1

            def done(key: str | Exception | None) -> None:
                self._events.put(("judged", prompt, key, row))

            self._judge.submit(row, done=done)

    def _settle(self, prompt: _Prompt, row: Generation, *, key: str | None) -> None:
        before = prompt.best_of.num_accepted
        prompt.best_of.finish(row.sample_index, key=key)
        self._tally.accepted += prompt.best_of.num_accepted - before
        self._advance(prompt)

    def _flush(self) -> Tally:
        if self._unlogged:
            name = self._plan.log.append(self.name, self._unlogged, number=self._number)
            self._number += 1
            self._tally.written[name] = [row.sample_id for row in self._unlogged]
            self._unlogged = []
        tally, self._tally = self._tally, Tally()
        return tally


def name_of(prompts: list[RenderedPrompt]) -> str:
    """The batch's name in the log, the same in every process for the same prompts."""
    return digest("batch", [prompt.prompt_id for prompt in prompts])[:16]


def _with_compaction(tally: Tally, compaction: Compaction) -> Tally:
    return dataclasses.replace(tally, written={compaction.file: compaction.sample_ids}, replaced=compaction.replaced)
