"""What the types of a config do not express: bounds, choices, and settings that exclude or require each other."""

from stillery.config.run import Config
from stillery.config.sampling import TeacherConfig
from stillery.config.suggestion import suggest
from stillery.errors import UserError
from stillery.records import Split


def check_values(config: Config) -> None:
    """Raises UserError for the first invalid value, naming its key."""
    positive = {
        "teacher.samples_per_prompt": config.teacher.samples_per_prompt,
        "teacher.replicas": config.teacher.replicas,
        "evaluate.samples_per_prompt": config.evaluate.samples_per_prompt,
        "verify.num_processes": config.verify.num_processes,
        "verify.deadline_s": config.verify.deadline_s,
        "curate.max_per_prompt": config.curate.max_per_prompt,
        "sft.num_workers": config.sft.num_workers,
        "export.num_problems": config.export.num_problems,
        "export.max_new_tokens": config.export.max_new_tokens,
    }
    for key, value in positive.items():
        if value <= 0:
            raise UserError(f"{key} is {value}; it must be above 0")
    _check_steps(config)
    _check_teacher(config.teacher)
    if config.prompts.source not in ("tasks", "file", "hub", "run"):
        raise UserError(f"prompts.source is {config.prompts.source!r}; it must be tasks, file, hub or run")
    failed_below = config.prompts.failed_below
    if failed_below is not None and not 0 < failed_below <= 1:
        raise UserError(f"prompts.failed_below is {failed_below:g}; it must be above 0 and at most 1, or null")
    _check_rounds(config)
    above = [k for k in config.evaluate.ks if not 1 <= k <= config.evaluate.samples_per_prompt]
    if above:
        raise UserError(
            f"evaluate.ks holds {above[0]}, but evaluate.samples_per_prompt is "
            f"{config.evaluate.samples_per_prompt}: pass@k needs 1 <= k <= samples"
        )
    unknown = [name for name in config.evaluate.splits if name not in list(Split)]
    if unknown:
        raise UserError(f"evaluate.splits: no split {unknown[0]!r}{suggest(unknown[0], list(Split))}")
    if config.sft.completion not in ("whole", "answer_only"):
        raise UserError(f"sft.completion is {config.sft.completion!r}; it must be whole or answer_only")
    if not 0 < config.sft.answer_weight < float("inf"):
        raise UserError(f"sft.answer_weight is {config.sft.answer_weight:g}; it must be above 0")
    if config.sft.answer_weight != 1 and config.sft.completion == "answer_only":
        raise UserError(
            "sft.answer_weight weighs answers against their traces, and sft.completion=answer_only has none"
        )
    if config.sft.answer_only_tasks and config.sft.completion == "answer_only":
        raise UserError(
            "sft.answer_only_tasks names some tasks, and sft.completion=answer_only means all; leave one out"
        )
    if (strategy := config.sft.trl.get("save_strategy", "epoch")) not in ("epoch", "steps"):
        shown = "no" if strategy is False else strategy
        raise UserError(
            f"sft.trl.save_strategy is {shown}: the student is one of the saved checkpoints; use epoch or steps"
        )
    if not 0 <= config.curate.min_pass_rate <= config.curate.max_pass_rate <= 1:
        raise UserError("curate.min_pass_rate and curate.max_pass_rate must be a band within 0 and 1")
    if not 0 <= config.run.max_failure_share <= 1:
        raise UserError(f"run.max_failure_share is {config.run.max_failure_share}; it must lie between 0 and 1")
    if not 0 < config.prompts.validation_fraction < 1:
        raise UserError("prompts.validation_fraction must lie between 0 and 1")
    rows = {"prompts": config.prompts, "teacher.recorded": config.teacher.recorded}
    for section, settings in rows.items():
        if settings.on_bad_row not in ("drop", "error"):
            raise UserError(f"{section}.on_bad_row is {settings.on_bad_row!r}; it must be drop or error")
        if not 0 <= settings.max_bad_share <= 1:
            raise UserError(f"{section}.max_bad_share is {settings.max_bad_share:g}; it must lie between 0 and 1")


def _check_steps(config: Config) -> None:
    """TRL's own fields without which there is no step, so no checkpoint."""
    names = ("num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps", "max_steps")
    for section, table in (("sft", config.sft.trl), ("refine", config.refine.trl)):
        for name in names:
            value = table.get(name)
            # Of max_steps -1 stands for the epochs.
            if isinstance(value, int | float) and value <= 0 and not (name == "max_steps" and value == -1):
                raise UserError(f"{section}.trl.{name} is {value}; it must be above 0")


def _check_rounds(config: Config) -> None:
    rounds = config.rounds
    for name in ("count", "tries", "more"):
        if getattr(rounds, name) < 1:
            raise UserError(f"rounds.{name} is {getattr(rounds, name)}; it must be at least 1")
    if not 0 < rounds.failed_below <= 1:
        raise UserError(f"rounds.failed_below is {rounds.failed_below:g}; it must be above 0 and at most 1")
    if rounds.count > 1 and config.teacher.kind == "recorded":
        raise UserError("rounds.count above 1 samples the teacher more, and teacher.kind=recorded samples nothing")


def _check_teacher(teacher: TeacherConfig) -> None:
    if teacher.kind not in ("vllm", "endpoint", "recorded"):
        raise UserError(f"teacher.kind is {teacher.kind!r}; it must be vllm, endpoint or recorded")
    if teacher.kind != "vllm" and teacher.model.startswith("embedded:"):
        raise UserError(f"teacher.model: give the model's name; {teacher.model} is for teacher.kind=vllm")
    if teacher.kind == "recorded":
        if not teacher.recorded.files:
            raise UserError("teacher.recorded.files is empty; name the files that hold the generations")
        if teacher.accepted_per_prompt is not None or teacher.resample is not None or teacher.two_step:
            raise UserError(
                "teacher.kind=recorded samples nothing: accepted_per_prompt, resample and two_step must be unset"
            )
    if teacher.kind == "endpoint" and teacher.two_step and teacher.endpoint.api != "completions":
        raise UserError("teacher.two_step continues a text, which needs teacher.endpoint.api=completions")
    wanted = teacher.accepted_per_prompt
    if wanted is not None and not 1 <= wanted <= teacher.samples_per_prompt:
        raise UserError(
            f"teacher.accepted_per_prompt is {wanted}; it must be between 1 and teacher.samples_per_prompt, "
            f"which is {teacher.samples_per_prompt}"
        )
    if teacher.lookahead < 0:
        raise UserError(f"teacher.lookahead is {teacher.lookahead}; it must be 0 or more")
    if not 0 <= teacher.futility < 1:
        raise UserError(f"teacher.futility is {teacher.futility:g}; it must be at least 0 and below 1")
    if teacher.futility and wanted is None:
        raise UserError("teacher.futility needs teacher.accepted_per_prompt, which it is the chance of coming to")
    if teacher.max_replicas is not None and teacher.max_replicas < teacher.replicas:
        raise UserError(f"teacher.max_replicas is {teacher.max_replicas}, below teacher.replicas={teacher.replicas}")
