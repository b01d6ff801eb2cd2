"""Accuracy of the model in training, on held-out problems.

Every worker answers its share; all of them get the result, so that they decide alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from stillery.records import FAILURES, Verdict, VerdictKind
from stillery.thinking import opens_thinking
from stillery.training.generation import CompletionSampler
from stillery.training.problems import StudentProblem
from stillery.verify import GradingTask
from stillery.verify.grading import open_limited_pool


@dataclass(frozen=True, slots=True)
class ValidationScore:
    """pass@1 with its standard error over problems, and the mean length of an answer in tokens."""

    accuracy: float
    standard_error: float
    mean_length: float


class Validation:
    """The problems, the number of answers to each, and the sampler. With `is_even` all workers answer the same number,
    which sharded weights need: a worker that lacks one repeats another, which does not count."""

    def __init__(
        self,
        problems: Sequence[StudentProblem],
        *,
        num_samples: int,
        sampler: CompletionSampler,
        tokenizer: Any,
        stops: Sequence[int],
        is_even: bool = False,
    ) -> None:
        self._problems = problems
        self._num_samples = num_samples
        self._sampler = sampler
        self._tokenizer = tokenizer
        self._stops = stops
        self._is_even = is_even

    def measure(
        self, draw: str, *, rank: int, world_size: int, gather: Callable[[list[Any]], list[Any]]
    ) -> ValidationScore:
        """The current model's accuracy, over the problems of all workers; `draw` names the draw.

        `gather` joins the lists of all workers. Answers that could not be graded count in no rate.
        """
        mine = self._problems[rank::world_size]
        repeated = -(-len(self._problems) // world_size) - len(mine) if self._is_even else 0
        # All workers gather sharded weights, including one without a problem.
        self._sampler.sync_weights()
        asked = [*mine, *self._problems[:repeated]]
        rates, lengths = self.answer(asked, draw=f"validation {draw} {rank}") if asked else ([], [])
        count = len(mine)
        own = [rate for rate in rates[:count] if rate is not None]
        return summarize(gather(own), gather(lengths[: count * self._num_samples]))

    def answer(self, problems: Sequence[StudentProblem], *, draw: str) -> tuple[list[float | None], list[int]]:
        """Each problem's share of right answers, None where none could be graded, and the tokens of every answer."""
        asked = [problem for problem in problems for _ in range(self._num_samples)]
        prompts = self._tokenizer([p.rendered for p in asked], add_special_tokens=False)["input_ids"]
        completions = [made.tokens for made in self._sampler.generate(prompts, draw=draw)]
        texts = self._tokenizer.batch_decode(completions, skip_special_tokens=True)
        reasons = ["stop" if tokens and tokens[-1] in self._stops else "length" for tokens in completions]
        jobs = [_job(problem, text, reason=reason) for problem, text, reason in zip(asked, texts, reasons, strict=True)]
        with open_limited_pool() as pool:
            rewards = [_is_right(verdict) for verdict in pool.grade_many(jobs)]
        n = self._num_samples
        by_problem = [[r for r in rewards[start : start + n] if r is not None] for start in range(0, len(rewards), n)]
        return [fmean(found) if found else None for found in by_problem], [len(tokens) for tokens in completions]


def _job(problem: StudentProblem, completion: str, *, reason: str) -> GradingTask:
    return GradingTask(
        completion=completion,
        answer=problem.answer,
        answer_kind=problem.answer_kind,
        choices=tuple(problem.choices),
        finish_reason=reason,
        prefilled_think=opens_thinking(problem.rendered),
        question=problem.question,
        task=problem.task,
        function=problem.verify_function,
    )


def _is_right(verdict: Verdict) -> float | None:
    return None if verdict.verdict in FAILURES else float(verdict.verdict == VerdictKind.CORRECT)


def summarize(rates: Sequence[float], lengths: Sequence[int]) -> ValidationScore:
    """The accuracy and mean length from each problem's share of right answers and the answers' lengths."""
    if not rates:
        raise RuntimeError("no validation answer could be graded")
    error = stdev(rates) / len(rates) ** 0.5 if len(rates) > 1 else 0.0
    return ValidationScore(fmean(rates), error, fmean(lengths))
