"""TRL's DistillationTrainer: the student's own completions, with the teacher's distribution at each of their tokens.

For TRL's private names that are used here see `stillery.training.refine.grpo`.
"""

from typing import Any

from trl import DistillationTrainer

from stillery.training.generation import CompletionSampler
from stillery.training.refine.rollouts import TrlClient


class OnPolicyTrainer(DistillationTrainer):
    """On-policy distillation with our prompts in tokens and our sampler."""

    def sample_with(self, sampler: CompletionSampler) -> None:
        """Use this sampler for completions, in place of TRL's vLLM."""
        self.vllm_generation = TrlClient(self, sampler)
        self.use_vllm = True
        self._last_loaded_step = -1

    def _tokenize_prompts(self, prompts: list[str]) -> Any:
        tokenizer: Any = self.processing_class
        return tokenizer(prompts, add_special_tokens=False)["input_ids"], None, {}
