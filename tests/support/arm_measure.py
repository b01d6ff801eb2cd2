"""Measurement of an arm of `structure_arms`: right answers by problem, and the table of all arms."""

import argparse
import functools
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from stillery.config.sampling import EngineConfig
from stillery.metrics import Gain, gain_of
from stillery.records import Message, Prompt, Split
from stillery.sampling.chat.checkpoint import stops_of
from stillery.sampling.chat.conversation import Conversation
from stillery.training.generation import Sampling
from stillery.training.problems import StudentProblem
from stillery.training.refine.rollouts import VllmSampler
from stillery.training.validation import Validation


class Measure:
    """Answers the problems with a model's weights. One engine serves all arms, and samples for the refined ones."""

    def __init__(
        self, problems: Sequence[Prompt], conversation: Conversation, *, parsed: argparse.Namespace,
        model: Callable[[], Any],
    ) -> None:  # fmt: skip
        self._problems = problems
        self._conversation = conversation
        self._parsed = parsed
        self._model = model
        self._stops = stops_of(parsed.student, conversation.tokenizer)

    @functools.cached_property
    def sampler(self) -> VllmSampler:
        engine = EngineConfig(
            engine={"max_model_len": 512 + self._parsed.max_tokens, "logprobs_mode": "processed_logprobs"},
            threads=self._parsed.threads,
        )
        sampling = Sampling(
            temperature=1.0, max_tokens=self._parsed.max_tokens, stop_token_ids=self._stops, seed=self._parsed.seed
        )
        return VllmSampler(self._parsed.student, engine, sampling=sampling, model=self._model)

    def rates(self, *, tag: str = "") -> dict[str, float]:
        """The share of right answers by prompt_id; with a `tag`, prompted with it."""
        asked = [
            StudentProblem(
                p.prompt_id, p.task, p.question, p.answer or "", p.answer_kind, p.choices, p.num_steps,
                self._conversation.render([Message("user", tag + p.question)], ask=True),
            )
            for p in self._problems
        ]  # fmt: skip
        validation = Validation(
            asked, num_samples=self._parsed.answers, sampler=self.sampler, tokenizer=self._conversation.tokenizer,
            stops=self._stops,
        )  # fmt: skip
        self.sampler.sync_weights()
        rates, _ = validation.answer(asked, draw="test")
        found = zip((p.prompt_id for p in self._problems), rates, strict=True)
        return {prompt_id: rate for prompt_id, rate in found if rate is not None}


def table(results: dict[str, Any]) -> str:
    """pass@1 by task and, against the first arm, the paired difference over the test problems."""
    arms = list(results)
    problems = next(iter(results.values()))[1]
    groups = {task: [p.prompt_id for p in problems if p.task == task] for task in sorted({p.task for p in problems})}
    test = [p.prompt_id for p in problems if p.split == Split.TEST]
    lines = [f"| | {' | '.join(arms)} |", "|---|" + "---:|" * len(arms)]
    for name, ids in [
        *((f"{task} ({len(ids)})", ids) for task, ids in groups.items()),
        (f"**test ({len(test)})**", test),
    ]:
        cells = [f"{fmean(results[arm][0][i] for i in ids):.3f}" for arm in arms]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    first = results[arms[0]][0]
    gains = [gain_of([results[arm][0][i] - first[i] for i in test]) for arm in arms[1:]]
    lines.append(f"| {' | '.join([f'against {arms[0]}, points [95%]', '', *map(_points, gains)])} |")
    steps = [results[arm][2] for arm in arms]
    lines.append(f"| CPU seconds a step | {' | '.join(f'{step:.3f}' for step in steps)} |")
    return "\n".join(lines)


def _points(gain: Gain) -> str:
    return f"{100 * gain.mean:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
