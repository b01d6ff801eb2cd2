"""Checks of attention transfer before anything is sampled: whether it is on, and whether it can work."""

from typing import Any

from stillery.config import TARGETS, AttentionConfig, Config, suggest
from stillery.errors import UserError
from stillery.sampling.models import check_model, resolve_model


def is_on(config: Config) -> bool:
    """Whether a run transfers attention: weight 0 counts as no target."""
    return config.attention.target is not None and config.attention.weight > 0


def check_attention(config: Config) -> None:
    """Raise UserError for settings that cannot work, a teacher without readable weights, or a student whose attention
    cannot be read."""
    attention = config.attention
    if attention.target is not None and attention.target not in TARGETS:
        raise UserError(f"attention.target: no target {attention.target!r}{suggest(attention.target, TARGETS)}")
    if attention.weight < 0:
        raise UserError(f"attention.weight is {attention.weight}; a weight is not negative")
    if not 0 < attention.anneal_until <= 1:
        raise UserError(f"attention.anneal_until is {attention.anneal_until}; a share above 0, at most 1")
    for key in ("num_heads", "num_calibration", "max_rows"):
        if getattr(attention, key) < 1:
            raise UserError(f"attention.{key} is {getattr(attention, key)}; it must be at least 1")
    if not is_on(config):
        return
    _check_training(config)
    if attention.target == "teacher":
        teacher = teacher_of(config)
        check_model("attention.model" if attention.model else "teacher.model", teacher)
    layer_of(attention, config.sft.student)


def _check_training(config: Config) -> None:
    trl, named = config.sft.trl, "attention.target needs"
    if config.sft.completion != "whole":
        raise UserError(f"{named} whole traces, not sft.completion={config.sft.completion}")
    if config.sft.answer_only_tasks:
        raise UserError(f"{named} whole traces of all tasks: set sft.answer_only_tasks=[]")
    if trl.get("packing") and trl.get("packing_strategy") == "wrapped":
        raise UserError(f"{named} samples that stay whole: sft.trl.packing_strategy=wrapped cuts them, take bfd")
    if trl.get("loss_type", "nll") != "nll" or trl.get("label_smoothing_factor"):
        raise UserError(f"{named} sft.trl.loss_type=nll and no sft.trl.label_smoothing_factor")
    if (trl.get("gradient_checkpointing_kwargs") or {}).get("use_reentrant"):
        raise UserError(f"{named} sft.trl.gradient_checkpointing_kwargs.use_reentrant=false, which is the default")
    if trl.get("use_liger_kernel"):
        raise UserError(f"{named} the loss of a token, which sft.trl.use_liger_kernel does not give")


def teacher_of(config: Config) -> str:
    """The model whose attention is read. Raises UserError where it has no readable weights."""
    if config.attention.model is None and config.teacher.kind != "vllm":
        raise UserError(
            f"attention.target=teacher reads the teacher's weights, and teacher.kind is {config.teacher.kind}: name a "
            "model in attention.model, or set attention.target=bonds"
        )
    return config.attention.model or config.teacher.model


def layer_of(attention: AttentionConfig, student: str) -> int:
    """The student's layer that is trained towards the target. Raises UserError where the student has no such layer, or
    its attention cannot be read. No weights are read."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config: Any = AutoConfig.from_pretrained(resolve_model(student, weights=False))
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)
    text = config.get_text_config(decoder=True)
    bounded = getattr(text, "attn_logit_softcapping", None)
    if not model._can_set_attn_implementation() or bounded:
        raise UserError(
            f"attention.target: the attention of {student} cannot be read ({type(model).__name__}); set it to null, or "
            "take a student such as Llama, Qwen or Mistral"
        )
    number = int(text.num_hidden_layers)
    layer = 2 * number // 3 if attention.student_layer is None else attention.student_layer
    if not 0 <= layer < number:
        raise UserError(f"attention.student_layer is {layer}; {student} has layers 0 to {number - 1}")
    kinds = getattr(text, "layer_types", None)
    if kinds and kinds[layer] != "full_attention":
        raise UserError(
            f"attention.student_layer: layer {layer} of {student} is {kinds[layer]}; take one of full_attention"
        )
    return layer
