"""Accuracy of the model that learns, on problems that no gradient sees.

Every worker answers its share; all of them get the result, so that they decide alike.
"""

from collections.abc import Callable, Sequence
from statistics import fmean, stdev
from typing import Any

from stillery.records import FAILURES, Verdict, VerdictKind
from stillery.thinking import opens_thinking
from stillery.training.refine.data import RefineProblem
from stillery.training.refine.rollouts import RolloutSampler
from stillery.training.refine.stopping import ACCURACY
from stillery.verify import GradingPool, GradingTask

STANDARD_ERROR = "validation/standard_error"
VALIDATED_LENGTH = "validation/mean_length"


class Validation:
    """The problems, how often each is answered, and what answers them."""

    def __init__(
        self,
        problems: Sequence[RefineProblem],
        *,
        num_samples: int,
        sampler: RolloutSampler,
        tokenizer: Any,
        stops: Sequence[int],
    ) -> None:
        self._problems = problems
        self._num_samples = num_samples
        self._sampler = sampler
        self._tokenizer = tokenizer
        self._stops = stops

    def measure(
        self, *, step: int, rank: int, world_size: int, gather: Callable[[list[Any]], list[Any]]
    ) -> dict[str, float]:
        """pass@1 with its standard error over problems, and the mean length, as a row of the history.

        `gather` joins the lists of all workers. What could not be graded counts in no rate.
        """
        mine = self._problems[rank::world_size]
        # Sharded weights are gathered by all workers, also by one without a problem.
        self._sampler.sync_weights()
        rates, lengths = self._rates(mine, draw=f"validation {step} {rank}") if mine else ([], [])
        return summarize(gather(rates), gather(lengths))

    def _rates(self, problems: Sequence[RefineProblem], *, draw: str) -> tuple[list[float], list[int]]:
        asked = [problem for problem in problems for _ in range(self._num_samples)]
        prompts = self._tokenizer([p.rendered for p in asked], add_special_tokens=False)["input_ids"]
        completions = [made.tokens for made in self._sampler.generate(prompts, draw=draw)]
        texts = self._tokenizer.batch_decode(completions, skip_special_tokens=True)
        reasons = ["stop" if tokens and tokens[-1] in self._stops else "length" for tokens in completions]
        jobs = [_job(problem, text, reason=reason) for problem, text, reason in zip(asked, texts, reasons, strict=True)]
        with GradingPool() as pool:
            rewards = [_is_right(verdict) for verdict in pool.grade_many(jobs)]
        n = self._num_samples
        by_problem = [[r for r in rewards[start : start + n] if r is not None] for start in range(0, len(rewards), n)]
        return [fmean(found) for found in by_problem if found], [len(tokens) for tokens in completions]


def _job(problem: RefineProblem, completion: str, *, reason: str) -> GradingTask:
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


def summarize(rates: Sequence[float], lengths: Sequence[int]) -> dict[str, float]:
    """The rows of the history that a validation makes of each problem's share of right answers."""
    if not rates:
        raise RuntimeError("no validation answer could be graded")
    error = stdev(rates) / len(rates) ** 0.5 if len(rates) > 1 else 0.0
    return {ACCURACY: fmean(rates), STANDARD_ERROR: error, VALIDATED_LENGTH: fmean(lengths)}
