"""From one prompt's verified samples to those that train the student, and the reasons for the others. Pure."""

import json
import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from stillery.config import CurateConfig
from stillery.curation.rules import Candidate, RuleContext, apply_rules
from stillery.errors import UserError
from stillery.metrics import StoppingRule, pass_rate
from stillery.records import FAILURES, Choice, Generation, Molecule, Verdict
from stillery.verify.acceptance import Acceptance
from stillery.verify.functions import load_function

Row = tuple[Generation, Verdict]
# A user's function: a sample and its verdict in, the reason for leaving it out or None.
Filter = Callable[[Generation, Verdict], object]
# The time limit of one call of a filter.
FILTER_S = 60.0


def choose(
    config: CurateConfig,
    rows: Iterable[Row],
    *,
    stopping: StoppingRule | None = None,
    molecules: Mapping[str, Molecule] | None = None,
    seed: int = 0,
    filters: Sequence[tuple[str, Filter]] = (),
) -> tuple[list[Generation], list[Choice]]:
    """The kept samples of one prompt, in order, and the decision on each row, in order of sample index.

    `stopping` is the rule under which they were made, if any; `molecules`, by sample_id, are for the rules and filters
    that need them. A second try at a sample counts as the same sample.
    """
    choices: dict[int, Choice] = {}
    ordered = sorted(rows, key=lambda row: (row[0].sample_index, row[0].attempt))
    last = {(generation.sample_index, generation.attempt) for generation, _ in last_tries(ordered)}
    rule = Acceptance.of(config)
    keys: dict[str, str] = {}
    accepted: dict[str, int] = {}
    num_counted = num_successes = 0
    for number, (generation, verdict) in enumerate(ordered):
        if (generation.sample_index, generation.attempt) not in last:
            choices[number] = _choice(generation, "tried again")
            continue
        key = rule.key(sample_id=generation.sample_id, completion=generation.completion)
        reason, evidence = rule.why_dropped(verdict), _evidence(rule, verdict)
        if reason is None and key in keys:
            reason, evidence = "duplicate", {"of": keys[key]}
        if reason is None:
            keys[key] = generation.sample_id
            accepted[generation.sample_id] = number
        choices[number] = _choice(generation, reason, evidence)
        if not generation.surplus:
            # A failure on our side says nothing about the problem's difficulty.
            num_counted += verdict.verdict not in FAILURES
            num_successes += reason is None
    rate = pass_rate(max(1, num_counted), num_successes, rule=stopping)
    kept = [ordered[number][0] for number in accepted.values()]

    def drop(generation: Generation, reason: str, evidence: Mapping[str, Any] | None = None) -> None:
        choices[accepted[generation.sample_id]] = _choice(generation, reason, evidence)

    if kept and not config.min_pass_rate <= rate <= config.max_pass_rate:
        for generation in kept:
            drop(generation, f"pass rate too {'low' if rate < config.min_pass_rate else 'high'}", {"pass_rate": rate})
        kept = []
    for name, filter_ in filters:
        for generation in list(kept):
            verdict = ordered[accepted[generation.sample_id]][1]
            if (why := _filtered(name, filter_, generation, verdict)) is not None:
                drop(generation, f"filter: {name}", {"reason": why})
                kept.remove(generation)
    context = RuleContext(seed, config.target_pattern)
    candidates = [Candidate(generation, (molecules or {}).get(generation.sample_id)) for generation in kept]
    left, dropped = apply_rules(config.rules, candidates, context)
    for generation in kept:
        if generation.sample_id in dropped:
            drop(generation, f"rule: {dropped[generation.sample_id]}")
    for candidate in left[config.max_per_prompt :]:
        drop(candidate.generation, "beyond max_per_prompt")
    chosen = {candidate.generation.sample_id for candidate in left[: config.max_per_prompt]}
    return [g for g in kept if g.sample_id in chosen], [choices[number] for number in range(len(ordered))]


def last_tries(rows: Iterable[Row]) -> list[Row]:
    """One prompt's samples in order of index, each by its last try.

    A second try is made where the first was cut off for length; the first may still be right, and both count as one
    sample.
    """
    last = {row[0].sample_index: row for row in sorted(rows, key=lambda row: row[0].attempt)}
    return [last[index] for index in sorted(last)]


def load_filters(names: Sequence[str]) -> list[tuple[str, Filter]]:
    """The functions that a config names as package.module:function. Raises UserError for one that does not exist."""
    return [(name, _Watched(name, load_function(name, key="curate.filters", arguments=2))) for name in names]


class _Watched:
    """A filter that is called in its own thread, so that one that hangs ends the stage rather than blocking it for
    ever. The thread cannot be ended, and lives as long as the process."""

    def __init__(self, name: str, filter_: Filter) -> None:
        self._name, self._filter = name, filter_
        self._calls = queue.SimpleQueue[tuple[Generation, Verdict]]()
        self._replies = queue.SimpleQueue[tuple[object, Exception | None]]()
        threading.Thread(target=self._run, daemon=True, name=f"filter {name}").start()

    def __call__(self, generation: Generation, verdict: Verdict) -> object:
        self._calls.put((generation, verdict))
        try:
            why, error = self._replies.get(timeout=FILTER_S)
        except queue.Empty:
            raise UserError(
                f"curate.filters: {self._name} took longer than {FILTER_S:g} s on sample {generation.sample_id}; mend "
                "it, and start again"
            ) from None
        if error is not None:
            raise error
        return why

    def _run(self) -> None:
        while True:
            generation, verdict = self._calls.get()
            try:
                self._replies.put((self._filter(generation, verdict), None))
            except Exception as error:
                self._replies.put((None, error))


def _filtered(name: str, filter_: Filter, generation: Generation, verdict: Verdict) -> str | None:
    try:
        why = filter_(generation, verdict)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"curate.filters: {name} raised {type(error).__name__}: {error} on sample {generation.sample_id}; mend it, "
            "and start again"
        ) from error
    if why is not None and not isinstance(why, str):
        raise UserError(f"curate.filters: {name} returned {why!r} on sample {generation.sample_id}; None or a reason")
    return why


def _evidence(rule: Acceptance, verdict: Verdict) -> dict[str, Any]:
    """The evidence for rejecting a sample by itself."""
    flags = dict(zip(verdict.flags, verdict.flag_evidence, strict=False))
    flagged = {flag: flags.get(flag, "") for flag in verdict.flags if flag in rule.drop_flags}
    found = {"predicted": verdict.predicted, "detail": verdict.detail, "flags": flagged or None}
    return {key: value for key, value in found.items() if value is not None}


def _choice(generation: Generation, reason: str | None, evidence: Mapping[str, Any] | None = None) -> Choice:
    shown = json.dumps(evidence, ensure_ascii=False) if reason is not None and evidence else None
    return Choice(generation.sample_id, generation.prompt_id, reason, shown)
