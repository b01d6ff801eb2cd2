"""Config of attention transfer."""

from dataclasses import dataclass

TARGETS = ("teacher", "bonds")


@dataclass
class AttentionConfig:
    """Attention transfer: the stage `attention` and a term of the loss of `sft` (docs/guides/training.md)."""

    target: str | None = None
    """What the student's step-to-step attention is drawn towards: `teacher` (the teacher's, read from its weights) or
    `bonds`. Null: nothing, and the stage `attention` does not run."""
    weight: float = 0.1
    """Weight of the term at the start of training, beside a loss in nats a token. 0 is as good as no target."""
    anneal_until: float = 2 / 3
    """The share of training by which the weight has fallen to 0, in a straight line."""
    student_layer: int | None = None
    """The student's layer whose attention is drawn, counted from 0. Null: the one at two thirds of its layers."""
    model: str | None = None
    """`teacher`: the model whose attention is read, asked by its own chat template. Null: `teacher.model`, behind the
    prompts that the samples were drawn from."""
    num_heads: int = 4
    """`teacher`: how many of its heads, those that best tell what a claim rests on."""
    min_gain: float = 0.02
    """`teacher`: by how much those heads must tell it better than distance alone does, as an AUC on samples that did
    not choose them. With less, the stage ends with an error: there is nothing to transfer."""
    num_calibration: int = 256
    """Samples from which heads are chosen and the effect of distance is learned."""
    max_rows: int = 32
    """Rows of one sample at most: those that distance predicts worst."""
    num_cpus: float = 1.0
    """CPUs that Ray sets aside for one file of samples."""
    num_gpus: float = 0.0
    """`teacher`: GPUs that Ray sets aside for one file of samples."""
