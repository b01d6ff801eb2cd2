"""Config of the stages that train, register, report and export the student.

The tables `trl` and `peft` pass through unchanged to TRL's SFTConfig and peft's LoraConfig.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class AccuracyConfig:
    """Accuracy on validation problems during fine-tuning: the student answers them greedily at each validation
    (`sft.trl.save_strategy`), in addition to the validation loss. Answers that only a model can judge are left out."""

    num_problems: int = 0
    """Number of validation problems to use, spread over them. 0: accuracy is not measured."""
    max_tokens: int = 512
    """Tokens at which an answer is cut off."""
    batch_size: int = 32
    """Problems that a worker answers at once."""


@dataclass
class DistillConfig:
    """Offline distillation: the loss pulls the student towards the teacher's probabilities at each token
    (docs/guides/training.md). It needs `teacher.top_logprobs`, and a teacher with the student's vocabulary."""

    weight: float = 0.0
    """Share of a token's loss that is the divergence from the teacher, 0 to 1; the rest is the cross-entropy of the
    text. 0: the text alone."""
    temperature: float = 1.0
    """Above 1, less likely tokens count for more."""


@dataclass
class SftConfig:
    """Supervised fine-tuning of the student, with TRL under Ray Train."""

    student: str = "embedded:student"
    """The model to train: `embedded:student`, `pretrained:smollm2-135m`, a Hugging Face folder at a path or fsspec URI,
    or a Hub name. A folder with a LoRA adapter stands for its base model with the adapter merged in."""
    num_workers: int = 1
    """Ray Train workers."""
    max_workers: int | None = None
    """Elastic training: as many workers as the cluster has room for, from `num_workers` to this. A lost node costs the
    steps since the last checkpoint, and so does a worker that joins. Whatever their number, they share the batch of
    `num_workers`. Null: always `num_workers`."""
    num_cpus: float = 1.0
    """CPUs that Ray reserves for one worker."""
    use_gpu: bool = False
    """Whether each worker gets one GPU. False trains in float32 on the CPU."""
    resources: dict[str, float] = field(default_factory=dict[str, float])
    """Custom resources that Ray reserves for one worker."""
    labels: dict[str, str] = field(default_factory=dict[str, str])
    """Node labels that a worker needs, written as for `teacher.labels`."""
    threads: int | None = None
    """CPU threads of one worker, without GPUs. Null: `num_cpus` as a whole number, at least 1."""
    max_failures: int = 3
    """How often Ray Train restarts a failed worker group from its last checkpoint."""
    system_prompt: str | None = None
    """System message at the start of each conversation in training, evaluation and serving of the student, unless a
    client sends its own."""
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    """Arguments for the student's chat template, such as `{enable_thinking: true}`, in training, evaluation and
    serving: they become defaults of the checkpoint's template."""
    max_long_share: float = 0.3
    """The largest share of the samples that may be longer than `sft.trl.max_length`, and so left out. Above it the run
    is an error: before it starts, by the teacher's samples so far or its token limit, and before training, by the
    samples themselves."""
    scratch: str | None = None
    """A folder on each training node's local disk for the training data in Arrow (8 bytes per token), checkpoints until
    they are uploaded (two at most), and the one that training resumes from. Null: `$STILLERY_CACHE/scratch`."""
    trl: dict[str, Any] = field(default_factory=dict[str, Any])
    """Passes through to TRL's `SFTConfig`."""
    accuracy: AccuracyConfig = field(default_factory=AccuracyConfig)
    early_stopping_patience: int | None = None
    """Training stops after this many consecutive validations without a better `sft.trl.metric_for_best_model` (`loss`,
    or `accuracy`), by transformers' EarlyStoppingCallback. Null: no early stopping."""
    early_stopping_threshold: float = 0.0
    """Least improvement that counts for early stopping."""
    completion: str = "whole"
    """The part of a sample that the student learns to write: `whole`, or `answer_only`, the part after the thinking:
    fine-tuning on answers alone, the baseline that traces have to beat."""
    answer_only_tasks: list[str] = field(default_factory=list[str])
    """Tasks of which the student learns only the answer: those that it answers better without thinking. Their samples
    lose their traces, as all do with `completion: answer_only`."""
    answer_weight: float = 1.0
    """Loss weight of a token after the thinking, relative to one of the thinking. A short answer after a long trace is
    a small part of the loss: if a student reasons correctly and then answers otherwise, a higher weight may help."""
    distill: DistillConfig = field(default_factory=DistillConfig)
    peft: dict[str, Any] | None = None
    """Passes through to peft's `LoraConfig`: an adapter is trained (`{}`: its defaults, on all linear layers). Null:
    all weights are trained."""
    quantize: str | None = None
    """`nf4` stores the weights under the adapter in 4 bits, which needs CUDA."""


@dataclass
class RegisterConfig:
    """Registration in MLflow."""

    name: str = "stillery-student"
    """Name of the registered model. Its versions compete for the alias `champion`."""
    experiment: str = "stillery"
    """Name of the MLflow experiment; created if it does not exist."""
    tracking_uri: str | None = None
    """MLflow's tracking URI. Null: $MLFLOW_TRACKING_URI, else a SQLite store at `HOME/mlflow.db`."""


@dataclass
class ReportConfig:
    """The HTML report."""

    num_traces: int = 6
    """Traces of each kind shown in the report."""


@dataclass
class ParityThresholds:
    """The parity gate: how far an artifact may deviate from its checkpoint."""

    max_kl: float
    """KL divergence from checkpoint to artifact, in nats per token, averaged over positions."""
    min_top_1: float
    """Share of positions with the same most likely token."""
    min_greedy: float
    """Share of problems with the same greedy answer, token by token."""
    max_perplexity_ratio: float
    """Ratio of the two perplexities, the larger to the smaller."""
    max_accuracy_drop: float
    """Drop of task accuracy; one standard error is added to this limit."""
    max_stop_rate_drop: float
    """Drop of the share of answers that end by themselves."""
    max_repetition_rise: float
    """Rise of the share of 4-grams that already occurred in the same answer."""


@dataclass
class ExportConfig:
    """The stage `export` and `stillery export` (docs/guides/export.md). All combinations of formats and quantizations
    are tried. The parity gate has four sets of thresholds: for a format's unquantized form, and for quantizations to
    eight bits or more (including half precision), to five or six, and to four."""

    formats: list[str] = field(default_factory=list[str])
    """`gguf`, `onnx`, `executorch`, `litert`, `vllm`, or `all` alone: all but `vllm`, and `litert` only if
    `$STILLERY_LITERT_PYTHON` is set. Empty: a run exports none; `stillery export` takes `gguf`."""
    quantizations: list[str] = field(default_factory=list[str])
    """Quantizations to try, where a format has them. Empty: two common ones of each."""
    split: str = "test"
    """The split of `prompts` whose problems an artifact is measured on."""
    num_problems: int = 60
    """Problems that checkpoint and artifact answer greedily, spread over the split."""
    max_new_tokens: int = 512
    """Tokens at which an answer is cut off."""
    max_positions: int = 1000
    """Maximum tokens of prompts and answers at which logits are compared."""
    num_calibration: int = 0
    """Training problems, with the checkpoint's own answers, used to calibrate quantization (GGUF below eight bits)."""
    context: int = 2000
    """Longest sequence, in tokens, on which logits are compared."""
    min_tokenizer_agreement: float = 1.0
    """Share of the corpus that must be tokenized identically."""
    unquantized: ParityThresholds = field(
        default_factory=lambda: ParityThresholds(1e-5, 0.995, 0.95, 1.01, 0.0, 0.02, 0.02)
    )
    eight_bit: ParityThresholds = field(
        default_factory=lambda: ParityThresholds(0.005, 0.95, 0.5, 1.05, 0.02, 0.05, 0.05)
    )
    five_bit: ParityThresholds = field(default_factory=lambda: ParityThresholds(0.03, 0.9, 0.0, 1.15, 0.05, 0.1, 0.1))
    four_bit: ParityThresholds = field(default_factory=lambda: ParityThresholds(0.1, 0.85, 0.0, 1.3, 0.1, 0.15, 0.15))
