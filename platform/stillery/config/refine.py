"""Config of the stage `refine`: reinforcement learning or preference optimisation of the fine-tuned student.

The table `trl` passes through unchanged to TRL's GRPOConfig, DPOConfig or DistillationConfig, `engine` to vLLM's
EngineArgs.
"""

from dataclasses import dataclass, field
from typing import Any

from stillery.config.rewards import RewardWeights


@dataclass
class StopRules:
    """When refinement stops early: on a collapse seen in `patience` consecutive validations. Null disables a rule."""

    patience: int = 2
    """Number of consecutive validations at which one of the rules below must hold to end the stage."""
    max_accuracy_drop: float | None = 0.05
    """Drop of validation accuracy below its best while the reward has risen."""
    max_length_ratio: float | None = 2.0
    """Ratio of the mean length to that of the first steps, in either direction."""
    max_entropy_ratio: float | None = 4.0
    """Ratio of the entropy to that of the first steps, in either direction."""
    max_logprob_difference: float | None = 0.05
    """Mean difference in log-probability, in nats per token, between the sampling engine and the model being
    trained."""


@dataclass
class RefineConfig:
    """Refinement of the fine-tuned student, by rewards, by preferences or by the teacher's distribution.

    A step has `trl.per_device_train_batch_size` x `num_workers` x `trl.gradient_accumulation_steps` completions. The
    checkpoint with the highest validation accuracy is the result; the starting checkpoint counts as step 0.
    """

    enabled: bool = False
    """Whether the student is refined after fine-tuning."""
    method: str = "grpo"
    """`grpo`: reinforcement learning on the student's own completions. `dpo`: preferences, from the teacher's right and
    wrong samples. `distill`: the teacher's distribution on the student's own completions; `teacher.kind` must be
    `vllm`, and both vocabularies equal."""
    steps: int = 100
    """Maximum number of updates."""
    num_generations: int = 8
    """Completions per prompt that are compared with each other, at least 2. They must divide the completions of a step:
    `trl.per_device_train_batch_size` x `num_workers` x `trl.gradient_accumulation_steps`."""
    temperature: float = 1.0
    """Sampling temperature of rollouts and validation."""
    max_completion_length: int = 512
    """Maximum tokens of a completion."""
    rewards: dict[str, float] = field(default_factory=lambda: {"combined": 1.0})
    """Weights by reward name: `combined`, `correctness`, `well_formed`, `reflection_bond`, `false_claims`, `length`,
    `repetition`, or your own function, `package.module:name`. A reward with weight 0 is only recorded. A completion for
    which a reward with another weight returns None is left out."""
    reward_weights: RewardWeights = field(default_factory=RewardWeights)
    rollouts: str = "vllm"
    """Sampling engine: `vllm`, in each worker's process, or `transformers`."""
    max_pairs_per_prompt: int = 2
    """`dpo`: maximum number of pairs per prompt."""
    validate_every: int = 10
    """Steps between validations; each saves a checkpoint."""
    validation_problems: int | None = None
    """Number of validation problems to use, spread over them. Null: all."""
    validation_samples: int = 4
    """Answers per validation problem."""
    stop: StopRules = field(default_factory=StopRules)
    seed: int | None = None
    """Null: `run.seed`."""
    num_workers: int = 1
    """Ray Train workers."""
    num_cpus: float = 1.0
    """CPUs that Ray reserves for one worker."""
    use_gpu: bool = False
    """Whether each worker gets one GPU."""
    resources: dict[str, float] = field(default_factory=dict[str, float])
    """Custom resources of one worker."""
    labels: dict[str, str] = field(default_factory=dict[str, str])
    """Node labels that a worker needs."""
    threads: int | None = None
    """CPU threads of one worker."""
    max_failures: int = 3
    """Maximum restarts from the last checkpoint."""
    scratch: str | None = None
    """A folder on each node's local disk."""
    cpu_kv_cache_gb: int = 1
    """GB of KV cache of a worker's vLLM, without GPUs."""
    peft: dict[str, Any] | None = None
    """Passes through to peft's `LoraConfig`: an adapter on the fine-tuned student is refined (`{}`: its defaults, on
    all linear layers). Null: all weights are refined."""
    engine: dict[str, Any] = field(default_factory=dict[str, Any])
    """Passes through to vLLM's `EngineArgs`, without GPUs. With GPUs only `max_model_len` is read, and TRL starts
    vLLM."""
    trl: dict[str, Any] = field(default_factory=dict[str, Any])
    """Passes through to TRL's `GRPOConfig`, `DPOConfig` or `DistillationConfig`."""
