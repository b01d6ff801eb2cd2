"""Settings of what becomes of the student: training, registration, report, export.

The tables `trl` and `peft` pass through unread to TRL's SFTConfig and peft's LoraConfig.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class SftConfig:
    """Supervised fine-tuning of the student. `trl` passes through to TRL's SFTConfig.

    With `peft`, which passes through to peft's LoraConfig, an adapter is trained (`{}`: its defaults, on all linear
    layers), else all weights. `quantize: nf4` keeps the weights under the adapter in 4 bits, which needs CUDA.

    `max_failures` is how often Ray Train restarts a failed worker group from its last checkpoint. A worker takes
    `num_cpus`, a GPU with `use_gpu`, and the custom `resources`, on a node whose labels `labels` selects. `scratch` is
    a folder on each training node's own disk, for the training data and for checkpoints until they are uploaded.

    `chat_template_kwargs` go to the chat template, and `system_prompt` begins each conversation, when the student is
    trained, evaluated and served. At most the share `max_long_share` of the samples may be longer than `trl.max_length`
    and so be left out. `completion` is `whole`, or `answer_only`: what follows the thinking, the baseline that
    distillation has to beat.
    """

    student: str = "embedded:student"
    num_workers: int = 1
    num_cpus: float = 1.0
    use_gpu: bool = False
    resources: dict[str, float] = field(default_factory=dict[str, float])
    labels: dict[str, str] = field(default_factory=dict[str, str])
    threads: int | None = None
    max_failures: int = 3
    system_prompt: str | None = None
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    max_long_share: float = 0.3
    scratch: str | None = None
    trl: dict[str, Any] = field(default_factory=dict[str, Any])
    completion: str = "whole"
    peft: dict[str, Any] | None = None
    quantize: str | None = None


@dataclass
class RegisterConfig:
    """MLflow. `tracking_uri` null means $MLFLOW_TRACKING_URI, else a SQLite store under HOME."""

    name: str = "stillery-student"
    experiment: str = "stillery"
    tracking_uri: str | None = None


@dataclass
class ReportConfig:
    """The HTML report: how many traces of each kind it shows."""

    num_traces: int = 6


@dataclass
class ParityThresholds:
    """What an artifact may differ from its checkpoint by. `max_kl` is in nats a token, mean over positions; the
    agreements are shares, the drops fractions. `max_accuracy_drop` is exceeded where the measured drop lies above it
    by more than its standard error; a perplexity ratio counts in both directions."""

    max_kl: float
    min_top_1: float
    min_greedy: float
    max_perplexity_ratio: float
    max_accuracy_drop: float
    max_stop_rate_drop: float
    max_repetition_rise: float


@dataclass
class ExportConfig:
    """Edge artifacts. Prompts and expected answers are those of `prompts`' split `split`.

    A run exports its student in these `formats` (none: it doesn't; `stillery export` then takes GGUF). Formats and
    `quantizations` are tried in all combinations (no quantizations: each format's defaults).
    `num_problems` are answered greedily with at most `max_new_tokens` each; logits are compared on at most
    `max_positions` tokens of prompts and answers. `num_calibration` generated problems, with the checkpoint's own
    answers, calibrate formats that take calibration texts. The last four hold an artifact to its checkpoint: the
    unquantized form, and quantized ones by their bits (half precision counts as eight).
    """

    formats: list[str] = field(default_factory=list[str])
    quantizations: list[str] = field(default_factory=list[str])
    split: str = "test"
    num_problems: int = 60
    max_new_tokens: int = 512
    max_positions: int = 1000
    num_calibration: int = 0
    context: int = 2000
    min_tokenizer_agreement: float = 1.0
    unquantized: ParityThresholds = field(
        default_factory=lambda: ParityThresholds(1e-5, 0.995, 0.95, 1.01, 0.0, 0.02, 0.02)
    )
    eight_bit: ParityThresholds = field(
        default_factory=lambda: ParityThresholds(0.005, 0.95, 0.5, 1.05, 0.02, 0.05, 0.05)
    )
    five_bit: ParityThresholds = field(default_factory=lambda: ParityThresholds(0.03, 0.9, 0.0, 1.15, 0.05, 0.1, 0.1))
    four_bit: ParityThresholds = field(default_factory=lambda: ParityThresholds(0.1, 0.85, 0.0, 1.3, 0.1, 0.15, 0.15))
