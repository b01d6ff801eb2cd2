"""Checks of offline distillation before anything is sampled: whether it is on, and whether it can work."""

from typing import Any

from stillery.config import Config
from stillery.errors import UserError
from stillery.sampling.models import resolve_model
from stillery.training.distillation.vocabularies import check_vocabularies

# Model settings under which logits are not hidden states times the output layer.
_SCALED = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")


def is_on(config: Config) -> bool:
    """Whether a run distils from stored log-probabilities."""
    return config.sft.distill.weight > 0


def check_distillation(config: Config) -> None:
    """Raise UserError for settings that cannot work, a teacher that gives no log-probabilities, or one whose tokens
    differ from the student's."""
    distill, teacher, student = config.sft.distill, config.teacher, config.sft.student
    if not 0 <= distill.weight <= 1:
        raise UserError(f"sft.distill.weight is {distill.weight:g}; it must lie between 0 and 1")
    if distill.temperature <= 0:
        raise UserError(f"sft.distill.temperature is {distill.temperature:g}; it must be above 0")
    if not is_on(config):
        return
    text = "train on the teacher's texts alone (sft.distill.weight=0)"
    if teacher.kind == "recorded":
        raise UserError(f"sft.distill: recorded generations have no log-probabilities: {text}")
    if not teacher.top_logprobs:
        raise UserError(f"sft.distill learns from stored log-probabilities: set teacher.top_logprobs=20, or {text}")
    _check_training(config)
    theirs = teacher.model if teacher.kind == "vllm" else teacher.endpoint.tokenizer or teacher.model
    check_vocabularies(theirs, student, key="sft.distill", instead=text)
    _check_logits(student)


def _check_training(config: Config) -> None:
    trl, named = config.sft.trl, "sft.distill needs"
    if config.sft.completion != "whole":
        raise UserError(f"{named} whole traces, not sft.completion={config.sft.completion}")
    if config.sft.answer_only_tasks:
        raise UserError(f"{named} whole traces of all tasks: set sft.answer_only_tasks=[]")
    if trl.get("loss_type", "nll") != "nll" or trl.get("label_smoothing_factor"):
        raise UserError(f"{named} sft.trl.loss_type=nll and no sft.trl.label_smoothing_factor")
    if trl.get("use_liger_kernel"):
        raise UserError(f"{named} the loss of a token, which sft.trl.use_liger_kernel does not give")
    for key in ("fsdp", "deepspeed"):
        if trl.get(key):
            raise UserError(f"{named} the whole output layer on each worker: unset sft.trl.{key}")


def _check_logits(student: str) -> None:
    from transformers import AutoConfig

    config: Any = AutoConfig.from_pretrained(resolve_model(student, weights=False))
    text = config.get_text_config(decoder=True)
    found = next((name for name in _SCALED if getattr(text, name, None) not in (None, 1.0)), None)
    if found is not None:
        raise UserError(
            f"sft.distill: the logits of {student} are scaled ({found}), which it cannot read; set weight=0"
        )
