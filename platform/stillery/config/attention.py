"""Config of attention transfer."""

from dataclasses import dataclass

TARGETS = ("teacher", "bonds")


@dataclass
class AttentionConfig:
    """Attention transfer: the stage `attention` and a term of the loss of `sft` (docs/guides/training.md)."""

    target: str | None = None
    """Target of the student's step-to-step attention: `teacher` (the teacher's attention, computed with its weights) or
    `bonds`. Null: none, and the stage `attention` does not run."""
    weight: float = 0.1
    """Weight of the term at the start of training, added to a loss in nats per token. 0 trains as without a target."""
    anneal_until: float = 2 / 3
    """Share of training after which the weight has decreased linearly to 0."""
    student_layer: int | None = None
    """Layer of the student whose attention is trained, counted from 0. Null: the one at two thirds of its layers."""
    model: str | None = None
    """`teacher`: the model whose attention is read, prompted with its own chat template. Null: `teacher.model`, with
    the prompts that the samples were drawn from."""
    num_heads: int = 4
    """`teacher`: number of its heads to use: those that best predict what a claim rests on."""
    min_gain: float = 0.02
    """`teacher`: least gain in AUC of those heads over distance alone in predicting it, on samples that were not used
    to choose them. With less, the stage ends with an error: there is nothing to transfer."""
    num_calibration: int = 256
    """Samples used to choose heads and to learn the effect of distance."""
    max_rows: int = 32
    """Maximum rows of one sample: those that distance predicts worst."""
    num_cpus: float = 1.0
    """CPUs that Ray reserves for one file of samples."""
    num_gpus: float = 0.0
    """`teacher`: GPUs that Ray reserves for one file of samples."""
