"""The workload of a run, from its config: problems, tokens per sample, and the assumptions behind them."""

from collections.abc import Iterator

from stillery.config import Config
from stillery.errors import UserError
from stillery.plan.stopping import Expected


def num_prompts(config: Config) -> int | None:
    """The number of problems for the teacher, if known before they are read."""
    prompts = config.prompts
    if config.plan.num_prompts is not None:
        return config.plan.num_prompts
    return prompts.num_train + prompts.num_validation if prompts.source == "tasks" else prompts.limit_train


def num_trained(config: Config) -> float | None:
    """The number of these in training; the others are for validation, sampled and not trained on."""
    prompts = config.prompts
    if prompts.source == "tasks":
        share = prompts.num_train / max(1, prompts.num_train + prompts.num_validation)
    else:
        share = 1.0 if prompts.validation is not None else 1 - prompts.validation_fraction
    return times(num_prompts(config), share)


def num_evaluated(config: Config) -> int | None:
    """The number of problems in evaluation, likewise."""
    prompts = config.prompts
    if config.plan.num_evaluated is not None:
        return config.plan.num_evaluated
    if prompts.source == "tasks":
        return sum(int(getattr(prompts, f"num_{split}")) for split in config.evaluate.splits)
    return prompts.limit_test if config.evaluate.splits == ["test"] else None


def completion_tokens(config: Config, engine_section: str) -> float:
    """Tokens per sample: set in the plan, else the maximum that sampling allows."""
    if config.plan.completion_tokens is not None:
        return config.plan.completion_tokens
    sampling = config.teacher.sampling if engine_section == "teacher" else config.evaluate.sampling
    most = sampling.get("max_tokens") or sampling.get("max_completion_tokens")
    if not most:
        raise UserError(f"plan.completion_tokens is not set, and neither is {engine_section}.sampling.max_tokens")
    return float(most)


def check_section(config: Config) -> None:
    """Raise UserError for an invalid setting in the section."""
    plan = config.plan
    sizes = ("gpu_memory_gib", "gpus_per_node", "num_gpus", "completion_tokens", "num_prompts", "num_evaluated")
    for name in (*sizes, "acceptance_concentration"):
        value = getattr(plan, name)
        if value is not None and value <= 0:
            raise UserError(f"plan.{name} is {value:g}; it must be above 0")
    for name in ("reserve_gib", "prompt_tokens", "gpu_price_per_hour"):
        value = getattr(plan, name)
        if value is not None and value < 0:
            raise UserError(f"plan.{name} is {value:g}; it cannot be below 0")
    for name in ("teacher_tokens_per_s", "student_tokens_per_s", "training_tokens_per_s", "answers_per_s"):
        value = getattr(plan, name)
        if value is not None and value <= 0:
            raise UserError(f"plan.{name} is {value:g}; it must be above 0, or null if it is not known")
    if plan.acceptance_rate is not None and not 0 < plan.acceptance_rate <= 1:
        raise UserError(f"plan.acceptance_rate is {plan.acceptance_rate:g}; it must be above 0 and at most 1")


def notes_on(config: Config, expected: Expected) -> Iterator[str]:
    """The basis of a plan's numbers, where it is an assumption or missing."""
    plan, teacher = config.plan, config.teacher
    if num_prompts(config) is None:
        yield "the number of problems is known only when they are read: set plan.num_prompts and plan.num_evaluated"
    if plan.completion_tokens is None:
        yield "every sample is taken to be as long as max_tokens allows: set plan.completion_tokens"
    elif plan.prompt_tokens + plan.completion_tokens > (config.sft.trl.get("max_length", 1024) or float("inf")):
        yield "the average sample is longer than sft.trl.max_length: most will be left out of training"
    if plan.acceptance_rate is None:
        yield "every sample is taken to be accepted: set plan.acceptance_rate"
    elif teacher.accepted_per_prompt is not None:
        yield (
            f"adaptive best-of-n: {expected.made:.2f} of at most {teacher.samples_per_prompt} samples a problem "
            f"({expected.surplus:.2f} of them surplus), {expected.accepted:.2f} accepted"
        )
    if teacher.resample:
        yield "second tries (teacher.resample) are not counted"
    if plan.gpu_memory_gib is None and max(teacher.num_gpus, config.evaluate.num_gpus, config.sft.use_gpu) > 0:
        yield "whether anything fits onto the GPUs was not checked: set plan.gpu_memory_gib"


def times(a: float | None, b: float | None) -> float | None:
    """The product, or None where a factor is unknown."""
    return None if a is None or b is None else a * b


def divide(amount: float | None, rate: float | None) -> float | None:
    """The quotient, or None where either is unknown."""
    return None if amount is None or rate is None else amount / rate
