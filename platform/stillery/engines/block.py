"""A block of prompts on its way through an engine: launched, made, logged, judged, launched again. No Ray in here.

Each block has its own queue of events, to which the engine's and the judge's threads put; many blocks share an
engine, so no prompt waits for another, and none for the end of a block.
"""

import contextlib
import dataclasses
import queue
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stillery import logs
from stillery.engines import log as sample_log
from stillery.engines.best_of_n import BestOfN
from stillery.engines.engine import Engine, Judge
from stillery.records import Ask, Generation, Request, digest, sample_id, seed_of
from stillery.storage import Folder

# A sample is durable at the latest this long after it finished.
FLUSH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted of every prompt.

    `identity` is the model's, `sampling` everything that shapes a sample, the run's seed included. `num_samples`,
    `wanted` and `ahead` are best-of-n's. `resample` overlays `sampling` for a second try at a sample that was cut off
    for length. `owner` is who claimed the log, if anyone did.
    """

    identity: str
    sampling: dict[str, Any]
    num_samples: int
    log: Folder
    flush_every: int
    wanted: int | None = None
    ahead: int = 0
    resample: dict[str, Any] | None = None
    owner: str | None = None

    def sampling_of(self, round_: int) -> dict[str, Any]:
        return self.sampling if round_ == 0 else {**self.sampling, **(self.resample or {})}

    def sample_id(self, ask: Ask, index: int, *, round_: int = 0) -> str:
        return sample_id(
            prompt_id=ask.prompt_id,
            rendered=ask.rendered,
            model=self.identity,
            sampling=self.sampling_of(round_),
            index=index,
        )


@dataclass
class Tally:
    """What has happened since the last one: samples made (of which accepted and failed), their tokens, and for each
    prompt that is done the number of its samples that count."""

    made: int = 0
    accepted: int = 0
    errors: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    needed: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(eq=False)
class _Prompt:
    ask: Ask
    best_of: BestOfN


class Block:
    """Samples the prompts of one block. `run` once."""

    def __init__(self, asks: list[Ask], *, plan: Plan, engine: Engine, judge: Judge | None) -> None:
        self._plan = plan
        self._engine = engine
        self._judge = judge
        self._prompts = [
            _Prompt(ask, BestOfN(num_samples=plan.num_samples, wanted=plan.wanted, ahead=plan.ahead)) for ask in asks
        ]
        self._name = digest("block", [ask.prompt_id for ask in asks])[:16]
        self._events: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._num_open = 0
        self._unlogged: list[Generation] = []
        self._tally = Tally()
        # What an earlier start made of these prompts, and what an actor that died had made of this very block.
        files = {name for ask in asks for name in ask.files} | set(sample_log.log_files(plan.log, block=self._name))
        self._known: Mapping[str, Generation] = sample_log.read_files(plan.log, files)

    def run(self) -> Iterator[Tally]:
        """Make what is missing until every prompt is done. Yields a tally when all are launched, and one for every file
        that is written.

        Raises what broke the engine or the judge, after everything finished before has been written.
        """
        for prompt in self._prompts:
            self._advance(prompt)
        yield Tally()
        flushed = time.monotonic()
        try:
            while self._num_open:
                with contextlib.suppress(queue.Empty):
                    self._handle(*self._events.get(timeout=max(0.0, flushed + FLUSH_SECONDS - time.monotonic())))
                if len(self._unlogged) >= self._plan.flush_every or time.monotonic() - flushed >= FLUSH_SECONDS:
                    yield self._flush()
                    flushed = time.monotonic()
        finally:
            last = self._flush()
        yield last

    def _advance(self, prompt: _Prompt) -> None:
        """Start what the stopping rule asks for now."""
        for index in prompt.best_of.launch():
            self._start(prompt, index, round_=0)
        if prompt.best_of.is_done:
            self._tally.needed[prompt.ask.prompt_id] = prompt.best_of.num_needed

    def _start(self, prompt: _Prompt, index: int, *, round_: int) -> None:
        made_of = self._plan.sample_id(prompt.ask, index, round_=round_)
        self._num_open += 1
        if made_of in self._known:
            self._events.put(("made", prompt, self._known[made_of], False))
            return
        request = Request(made_of, prompt.ask.prompt_id, index, seed_of(made_of), prompt.ask.rendered)

        def done(result: Generation | Exception) -> None:
            self._events.put(("made", prompt, result, True))

        self._engine.submit(request, sampling=self._plan.sampling_of(round_), done=done)

    def _handle(self, event: str, prompt: _Prompt, *what: Any) -> None:
        self._num_open -= 1
        if isinstance(what[0], Exception):
            raise what[0]
        if event == "made":
            self._made(prompt, *what)
        else:
            key, row = what
            self._settle(prompt, row, key=key)

    def _made(self, prompt: _Prompt, row: Generation, is_new: bool) -> None:
        round_ = int(row.sample_id != self._plan.sample_id(prompt.ask, row.sample_index))
        if is_new:
            row = dataclasses.replace(row, round=round_)
            self._unlogged.append(row)
            self._tally.made += 1
            self._tally.errors += row.error is not None
            if row.error is not None:
                logs.note(f"a sample failed: {row.error}", sample_id=row.sample_id, prompt_id=row.prompt_id)
            self._tally.tokens += row.num_tokens
            self._tally.prompt_tokens += row.num_prompt_tokens
        if row.finish_reason == "length" and self._plan.resample is not None and round_ == 0:
            self._start(prompt, row.sample_index, round_=1)
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
            sample_log.append(self._plan.log, self._name, self._unlogged, owner=self._plan.owner)
            self._unlogged = []
        tally, self._tally = self._tally, Tally()
        return tally
