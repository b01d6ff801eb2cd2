"""Checks of a refinement before it starts: of the config at once, of the data later."""

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillery.config import Config, RefineConfig, TeacherConfig
from stillery.errors import UserError
from stillery.records import AnswerKind, Prompt, Split
from stillery.training.adapters import check_table
from stillery.training.distillation.vocabularies import check_vocabularies
from stillery.training.refine.arguments import batch_of
from stillery.training.refine.rewards import check_parts, load_parts
from stillery.training.rewards.combined import check_weights

METHODS = ("grpo", "dpo", "distill")
# Any truncation of the distribution makes the sampling probabilities differ from those in training.
_UNCUT: dict[str, Any] = {"top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1}


def check_refinement(config: RefineConfig, *, teacher: TeacherConfig, student: str) -> None:
    """Raise UserError for inconsistent settings, a reward that raises or returns no number, and a teacher that cannot
    be distilled from."""
    if not config.enabled:
        return
    if config.method not in METHODS:
        raise UserError(f"refine.method is {config.method!r}; it must be {' or '.join(METHODS)}")
    if config.rollouts not in ("vllm", "transformers"):
        raise UserError(f"refine.rollouts is {config.rollouts!r}; it must be vllm or transformers")
    _check_numbers(config)
    check_table(config.peft, key="refine.peft")
    if config.method != "dpo":
        _check_sampling(config)
    if config.method == "distill":
        _check_teacher(teacher, student)
    if config.method == "grpo":
        _check_groups(config)
        check_weights(config.reward_weights)
        check_parts(load_parts(config.rewards, config.reward_weights), _made_up())


def _check_numbers(config: RefineConfig) -> None:
    names = ("steps", "validate_every", "validation_samples", "num_workers", "max_completion_length", "temperature",
             "max_pairs_per_prompt")  # fmt: skip
    for name in names:
        if getattr(config, name) <= 0:
            raise UserError(f"refine.{name} is {getattr(config, name)}; it must be above 0")
    if config.stop.patience < 1:
        raise UserError(f"refine.stop.patience is {config.stop.patience}; it must be at least 1")
    if config.validation_problems is not None and config.validation_problems < 2:
        raise UserError(
            f"refine.validation_problems is {config.validation_problems}; accuracy on fewer than 2 has no error"
        )


def _check_teacher(teacher: TeacherConfig, student: str) -> None:
    """Distributions are compared token by token: TRL itself compares only the sizes of the vocabularies."""
    if teacher.kind != "vllm":
        raise UserError(
            "refine.method=distill reads the teacher's distribution over all tokens, which "
            f"teacher.kind={teacher.kind} does not give: train on its texts (sft), or take refine.method=grpo or dpo"
        )
    instead = "train on the teacher's texts (sft), or take refine.method=grpo or dpo"
    check_vocabularies(teacher.model, student, key="refine.method=distill", instead=instead)


def _check_groups(config: RefineConfig) -> None:
    if config.num_generations < 2:
        raise UserError(
            f"refine.num_generations is {config.num_generations}: GRPO compares the completions of a prompt with each "
            "other, so it needs at least 2"
        )
    batch = batch_of(config.trl, num_workers=config.num_workers)
    if batch % config.num_generations:
        raise UserError(
            f"refine.num_generations={config.num_generations} does not divide the {batch} completions of a step "
            f"(per_device_train_batch_size x num_workers={config.num_workers} x gradient_accumulation_steps): all "
            "completions of a prompt must be in it; change refine.trl.per_device_train_batch_size"
        )


def _check_sampling(config: RefineConfig) -> None:
    drawn = {**config.trl, **(config.trl.get("generation_kwargs") or {})}
    for key, whole in _UNCUT.items():
        value = drawn.get(key)
        if value is not None and value != whole and not (key == "top_k" and value < 0):
            raise UserError(
                f"refine.trl.{key} is {value}: rollouts must be drawn from all of the distribution, or what is learnt "
                f"is not what was sampled from; leave it out and lower refine.temperature instead"
            )


def _made_up() -> list[Prompt]:
    """Two problems to try rewards on."""
    kinds = (("What is 3 + 4?", "7", AnswerKind.NUMBER), ("Is 4 even?", "yes", AnswerKind.YES_NO))
    return [
        Prompt(f"p{n}", "arithmetic", question, answer, kind, [], "made up", Split.TRAIN, 1, None)
        for n, (question, answer, kind) in enumerate(kinds)
    ]


def check_counts(config: RefineConfig, counts: Mapping[str, int]) -> None:
    """Raise UserError if there are fewer training problems, or pairs, than one step of all workers takes."""
    batch = batch_of(config.trl, num_workers=config.num_workers)
    needed = {"grpo": batch // config.num_generations, "distill": batch, "dpo": config.num_workers}[config.method]
    is_paired = config.method == "dpo"
    there, what = (counts["pairs"], "pairs") if is_paired else (counts[Split.TRAIN], "training problems")
    if there < max(needed, config.num_workers):
        raise UserError(
            f"refine: a step of {config.num_workers} workers takes {max(needed, config.num_workers)} {what}, and there "
            f"are {there}: lower refine.num_workers or refine.trl.per_device_train_batch_size"
        )


def check_most(config: Config) -> None:
    """Raise UserError if generated problems, or the teacher's samples, cannot suffice for a step or a validation."""
    refine, prompts = config.refine, config.prompts
    if not refine.enabled:
        return
    if refine.method == "dpo" and config.teacher.samples_per_prompt == 1:
        raise UserError(
            "refine.method=dpo compares a right sample of a prompt with a wrong one, and teacher.samples_per_prompt is "
            "1: raise it"
        )
    if prompts.source != "tasks":
        return
    if prompts.num_validation == 0:
        raise UserError(
            "refine chooses its checkpoint by accuracy on validation problems: raise prompts.num_validation"
        )
    check_counts(refine, {Split.TRAIN: prompts.num_train, "pairs": prompts.num_train * refine.max_pairs_per_prompt})


def code_of(config: RefineConfig) -> dict[str, str]:
    """The contents, by digest, of the user's reward files: a changed reward changes the stage's fingerprint."""
    modules = {name.partition(":")[0] for name in config.rewards if ":" in name}
    found = {module: importlib.util.find_spec(module) for module in sorted(modules)}
    files = {module: spec.origin for module, spec in found.items() if spec is not None and spec.origin is not None}
    return {module: hashlib.sha256(Path(file).read_bytes()).hexdigest() for module, file in files.items()}
