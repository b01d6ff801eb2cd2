"""Config of the stage `refine`: reinforcement learning or preference optimisation of the fine-tuned student.

The table `trl` passes through unread to TRL's GRPOConfig, DPOConfig or DistillationConfig, `engine` to vLLM's
EngineArgs.
"""

from dataclasses import dataclass, field
from typing import Any

from stillery.config.rewards import RewardWeights


@dataclass
class StopRules:
    """When refinement ends by itself: on a collapse that is seen `patience` validations in a row. Null leaves a rule
    out."""

    patience: int = 2
    """At so many validations in a row one of the rules below must hold to end the stage."""
    max_accuracy_drop: float | None = 0.05
    """Validation accuracy this far below its best while the reward has risen."""
    max_length_ratio: float | None = 2.0
    """Mean length against the first steps', in either direction."""
    max_entropy_ratio: float | None = 4.0
    """Entropy against the first steps', in either direction."""
    max_logprob_difference: float | None = 0.05
    """Nats a token, in the mean, between what samples and what learns."""


@dataclass
class RefineConfig:
    """Refinement of the fine-tuned student, by rewards or preferences.

    A step has `trl.per_device_train_batch_size` x `num_workers` x `trl.gradient_accumulation_steps` completions. The
    checkpoint with the highest validation accuracy is the result; the one it started from counts as step 0.
    """

    enabled: bool = False
    """Whether the student is refined after fine-tuning."""
    method: str = "grpo"
    """`grpo`: reinforcement learning on the student's own completions. `dpo`: preferences, from the teacher's right and
    wrong samples. `distill`: the teacher's distribution on the student's own completions; `teacher.kind` must be
    `vllm`, and the vocabularies equal."""
    steps: int = 100
    """Updates at most."""
    num_generations: int = 8
    """Completions of a prompt that are compared with each other, at least 2. They must divide the completions of a
    step: `trl.per_device_train_batch_size` x `num_workers` x `trl.gradient_accumulation_steps`."""
    temperature: float = 1.0
    """Of rollouts and of validation."""
    max_completion_length: int = 512
    """Tokens of a completion at most."""
    rewards: dict[str, float] = field(default_factory=lambda: {"combined": 1.0})
    """Weights by name of the reward: `combined`, `correctness`, `well_formed`, `reflection_bond`, `false_claims`,
    `length`, `repetition`, or a function of your own, `package.module:name`. 0 only watches. A completion for which
    one with a weight gives None is left out."""
    reward_weights: RewardWeights = field(default_factory=RewardWeights)
    rollouts: str = "vllm"
    """What samples: `vllm`, in each worker's process, or `transformers`."""
    max_pairs_per_prompt: int = 2
    """For `dpo`: pairs of a prompt at most."""
    validate_every: int = 10
    """Steps between validations; each saves a checkpoint."""
    validation_problems: int | None = None
    """So many of the validation problems, spread over them; null: all."""
    validation_samples: int = 4
    """Answers to each."""
    stop: StopRules = field(default_factory=StopRules)
    seed: int | None = None
    """Null: `run.seed`."""
    num_workers: int = 1
    """Workers of Ray Train."""
    num_cpus: float = 1.0
    """CPUs that Ray sets aside for one worker."""
    use_gpu: bool = False
    """Whether each worker gets one GPU."""
    resources: dict[str, float] = field(default_factory=dict[str, float])
    """Custom resources of one worker."""
    labels: dict[str, str] = field(default_factory=dict[str, str])
    """Node labels that a worker needs."""
    threads: int | None = None
    """CPU threads of one worker."""
    max_failures: int = 3
    """Restarts from the last checkpoint."""
    scratch: str | None = None
    """A folder on each node's own disk."""
    cpu_kv_cache_gb: int = 1
    """Of a worker's vLLM, without GPUs."""
    peft: dict[str, Any] | None = None
    """Passes through to peft's `LoraConfig`: an adapter on the fine-tuned student is refined (`{}`: its defaults, on
    all linear layers). Null: all weights are."""
    engine: dict[str, Any] = field(default_factory=dict[str, Any])
    """Passes through to vLLM's `EngineArgs`, without GPUs. With them only `max_model_len` is read, and TRL starts
    vLLM."""
    trl: dict[str, Any] = field(default_factory=dict[str, Any])
    """Passes through to TRL's `GRPOConfig`, `DPOConfig` or `DistillationConfig`."""
