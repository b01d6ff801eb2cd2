"""The stage refine in a plan: its samples, its training rows, and the memory of one of its workers.

A worker holds the student in training, the model that it is compared with (the initial student for `grpo` and `dpo`,
the teacher for `distill`) and, where it samples by vLLM, an engine with its own weights and cache. A forward pass alone
takes a third of the time of a training pass.
"""

import math
from collections.abc import Mapping

from stillery.config import Config, SftConfig
from stillery.plan.architecture import Architecture
from stillery.plan.memory import GIB, training_memory
from stillery.plan.quantities import completion_tokens, divide, times
from stillery.training.refine.arguments import batch_of

# From TRL's GRPOConfig and DistillationConfig: the share of a GPU for the engine beside the training.
COLOCATED_SHARE = 0.3
# The cost of a forward pass relative to one with its backward pass.
FORWARD = 1 / 3
# stillery's default of refine.trl.beta for GRPO.
BETA = 0.001


def answers_of(config: Config) -> tuple[float, float | None]:
    """The completions in the training steps, and those in the validations, if all steps are made; None where the number
    of validation problems is unknown before they are read."""
    refine, prompts = config.refine, config.prompts
    learnt = refine.steps * batch_of(refine.trl, num_workers=refine.num_workers) * (2 if refine.method == "dpo" else 1)
    problems = refine.validation_problems or (prompts.num_validation if prompts.source == "tasks" else None)
    validations = 1 + math.ceil(refine.steps / refine.validate_every)
    return float(learnt), times(problems, validations * refine.validation_samples)


def answer_tokens(config: Config) -> float:
    """Tokens per completion: set in the plan, at most the stage's limit."""
    section = "teacher" if config.refine.method == "dpo" else "evaluate"
    return min(completion_tokens(config, section), float(config.refine.max_completion_length))


def refinement_seconds(config: Config) -> float | None:
    """The time of sampling and training, one after the other; None without both throughputs or the number of validation
    problems."""
    refine, plan = config.refine, config.plan
    learnt, validated = answers_of(config)
    tokens = answer_tokens(config)
    sampled = None if validated is None else validated + (0 if refine.method == "dpo" else learnt)
    sampling = divide(times(sampled, tokens), times(plan.student_tokens_per_s, refine.num_workers))
    passes = 1 + (FORWARD if _compares(config) else 0)
    rows = learnt * (plan.prompt_tokens + tokens) * passes
    learning = divide(rows, times(plan.training_tokens_per_s, refine.num_workers))
    return None if sampling is None or learning is None else sampling + learning


def refinement_memory(config: Config, student: Architecture, teacher: Architecture | None) -> Mapping[str, float]:
    """GiB of one worker by purpose; on a CPU, of host memory."""
    refine, plan = config.refine, config.plan
    memory = training_memory(student, as_training(config), plan)
    parts = {part: getattr(memory, part) / GIB for part in ("weights", "gradients", "optimizer", "activations", "loss")}
    width = 2 if refine.use_gpu else 4
    compared = teacher if refine.method == "distill" else student
    if _compares(config) and compared is not None:
        # Without its adapter the model is the initial student.
        parts["reference"] = (
            0.0 if refine.peft is not None and compared is student else (width * compared.num_parameters / GIB)
        )
    if refine.rollouts == "vllm" and not (refine.use_gpu and refine.method == "dpo"):
        share = float(refine.trl.get("vllm_gpu_memory_utilization", COLOCATED_SHARE))
        on_gpu = 0.0 if plan.gpu_memory_gib is None else share * plan.gpu_memory_gib
        on_cpu = 4 * student.num_parameters / GIB + refine.cpu_kv_cache_gb
        parts["engine"] = on_gpu if refine.use_gpu else on_cpu
    parts["reserve"] = plan.reserve_gib if refine.use_gpu else 0.0
    return parts


def as_training(config: Config) -> SftConfig:
    """A refinement worker's training expressed as fine-tuning: rows of a prompt and the longest completion, of which a
    pair has two."""
    refine = config.refine
    length = config.plan.prompt_tokens + refine.max_completion_length
    trl = {**refine.trl, "max_length": length}
    if refine.method == "dpo":
        trl["per_device_train_batch_size"] = 2 * int(refine.trl.get("per_device_train_batch_size") or 8)
        trl["max_length"] = refine.trl.get("max_length") or length
    return SftConfig(
        student=config.sft.student, num_workers=refine.num_workers, use_gpu=refine.use_gpu, peft=refine.peft, trl=trl
    )


def _compares(config: Config) -> bool:
    """Whether another model also runs on each row."""
    return config.refine.method != "grpo" or float(config.refine.trl.get("beta", BETA)) > 0
