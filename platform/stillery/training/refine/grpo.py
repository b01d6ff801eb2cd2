"""TRL's GRPOTrainer for refinement: our prompts in tokens, our sampler, one summed reward, every rollout kept.

Some names here are TRL's private ones (`_tokenize_prompts`, `_generate_and_score_completions`, `_logs`,
`_last_loaded_step`): TRL has no public seam for them, and tests/integration/test_refine.py fails if they change.
"""

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from trl import GRPOTrainer

from stillery.records import RewardPart, Rollout
from stillery.training.generation import CompletionSampler
from stillery.training.refine.rewards import Part, total
from stillery.training.refine.rollouts import TrlClient

# Prefixes of TRL's log columns that are our parts, and of those that the combined reward logs itself.
PART, WITHIN = "part/", "reward/"
_FIELDS = ("prompt_id", "task", "num_tokens", "finish_reason")


class SummedReward:
    """All parts as the one reward function that TRL gets."""

    __name__ = "total"

    def __init__(self, parts: Sequence[Part], *, stops: Sequence[int]) -> None:
        self._parts = parts
        self._stops = stops

    def __call__(
        self,
        prompts: list[str],
        completions: list[str],
        completion_ids: list[list[int]],
        *,
        log_extra: Callable[[str, list[Any]], None],
        **columns: Any,
    ) -> list[float | None]:
        log_metric: Callable[[str, float], None] = columns["log_metric"]
        reasons = ["stop" if ids and ids[-1] in self._stops else "length" for ids in completion_ids]
        given = {"completion_ids": completion_ids, "log_extra": log_extra, **columns, "finish_reason": reasons}
        scores = {part.name: list(part.function(prompts, completions, **given)) for part in self._parts}
        for name, rewards in scores.items():
            log_extra(f"{PART}{name}", rewards)
            if known := [reward for reward in rewards if reward is not None]:
                log_metric(f"{PART}{name}", fmean(known))
        fields = {**columns, "num_tokens": [len(ids) for ids in completion_ids], "finish_reason": reasons}
        for name in _FIELDS:
            log_extra(name, fields[name])
        return total(self._parts, scores)


class RefinementTrainer(GRPOTrainer):
    """GRPO that keeps its rollouts: `kept` holds those since the last `take_rollouts`, on the first worker."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kept: list[Rollout] = []

    def sample_with(self, sampler: CompletionSampler) -> None:
        """Use this sampler for completions, in place of TRL's vLLM; its log-probabilities, if any, correct the update
        for the difference between the two models."""
        self.vllm_generation = TrlClient(self, sampler)
        self.use_vllm = True
        self._last_loaded_step = -1

    def take_rollouts(self) -> list[Rollout]:
        """The rollouts since the last call."""
        taken, self.kept = self.kept, []
        return taken

    def _tokenize_prompts(self, prompts: list[str]) -> Any:
        tokenizer: Any = self.processing_class
        return tokenizer(prompts, add_special_tokens=False)["input_ids"], None, {}

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        output = super()._generate_and_score_completions(inputs)
        if self.accelerator.is_main_process:
            self.kept += rollouts_of(self._logs, step=self.state.global_step)
        return output


def rollouts_of(logs: Any, *, step: int) -> list[Rollout]:
    """TRL's log of one sampling, from all workers, as rows."""
    extra = logs["extra"]
    names = {key: key.removeprefix(PART) for key in extra if key.startswith(PART)}
    names |= {key: f"combined/{key.removeprefix(WITHIN)}" for key in extra if key.startswith(WITHIN)}
    return [
        Rollout(
            step=step,
            prompt_id=extra["prompt_id"][row],
            task=extra["task"][row],
            completion=completion,
            num_tokens=extra["num_tokens"][row],
            finish_reason=extra["finish_reason"][row],
            parts=[RewardPart(name, _number(extra[key][row])) for key, name in names.items()],
            reward=_number(logs["rewards"]["total"][row]),
            advantage=logs["advantages"][row],
        )
        for row, completion in enumerate(logs["completion"])
    ]


def _number(value: float | bool | None) -> float | None:
    """A value from TRL's log, where NaN means None."""
    return None if value is None or math.isnan(value) else float(value)
