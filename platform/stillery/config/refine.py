"""Settings of the stage `refine`: reinforcement learning, or preferences, on the student that fine-tuning left.

The table `trl` passes through unread to TRL's GRPOConfig, DPOConfig or DistillationConfig, `engine` to vLLM's
EngineArgs.
"""

from dataclasses import dataclass, field
from typing import Any

from stillery.config.rewards import RewardWeights


@dataclass
class StopRules:
    """When refinement ends by itself: a collapse is seen `patience` validations in a row. Null leaves a rule out.

    `max_accuracy_drop`: validation accuracy lies that far below its best while the reward has risen. `max_length_ratio`
    and `max_entropy_ratio`: mean completion length or entropy, against the first steps', has grown by this factor, or
    shrunk by it. `max_logprob_difference`: nats a token, in the mean, between what samples and what learns.
    """

    patience: int = 2
    max_accuracy_drop: float | None = 0.05
    max_length_ratio: float | None = 2.0
    max_entropy_ratio: float | None = 4.0
    max_logprob_difference: float | None = 0.05


@dataclass
class RefineConfig:
    """Refinement of the student, where `enabled`.

    method `grpo`: each step samples `num_generations` completions of some training prompts and learns from their
    rewards. `rewards` holds weights by name: of `stillery.training.rewards`, or of one's own, `package.module:name`; a
    weight of 0 only watches. `rollouts`: `vllm` or `transformers` samples. method `dpo`: learns from pairs of a right
    and a wrong sample of one prompt, at most `max_pairs_per_prompt`, that the teacher has made. method `distill`:
    learns the distribution of a teacher with the same vocabulary, on its own completions.

    A step has `trl.per_device_train_batch_size` x `num_workers` x `trl.gradient_accumulation_steps` completions. Every
    `validate_every` steps the student answers `validation_problems` problems (null: all), `validation_samples` times
    each; the checkpoint with the highest accuracy is the result, and the one it started from counts as step 0.
    """

    enabled: bool = False
    method: str = "grpo"
    steps: int = 100
    num_generations: int = 8
    temperature: float = 1.0
    max_completion_length: int = 512
    rewards: dict[str, float] = field(default_factory=lambda: {"combined": 1.0})
    # Within the reward `combined`.
    reward_weights: RewardWeights = field(default_factory=RewardWeights)
    rollouts: str = "vllm"
    max_pairs_per_prompt: int = 2
    validate_every: int = 10
    validation_problems: int | None = None
    validation_samples: int = 4
    stop: StopRules = field(default_factory=StopRules)
    # Null: run.seed.
    seed: int | None = None
    num_workers: int = 1
    num_cpus: float = 1.0
    use_gpu: bool = False
    resources: dict[str, float] = field(default_factory=dict[str, float])
    labels: dict[str, str] = field(default_factory=dict[str, str])
    threads: int | None = None
    max_failures: int = 3
    scratch: str | None = None
    cpu_kv_cache_gb: int = 1
    engine: dict[str, Any] = field(default_factory=dict[str, Any])
    trl: dict[str, Any] = field(default_factory=dict[str, Any])
