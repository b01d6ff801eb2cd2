"""What of the config shapes each stage's output: its part of the output's fingerprint."""

import dataclasses
from typing import Any

from stillery.config import Config, EngineConfig, TeacherConfig, settings_of
from stillery.io.readers.files import fingerprints
from stillery.sampling.chat.conversation import student_format
from stillery.sampling.models import model_id
from stillery.stages import prompts as prompts_stage
from stillery.stages import register as registry_stage
from stillery.stages.neutral import ENGINE_ARGS, ENGINE_SECTION, REFINE_SECTION, SFT_CONFIG, shaping, shaping_engine
from stillery.training.refine.checks import code_of
from stillery.verify.acceptance import Acceptance

# What of the teacher's section says how it samples for training, and not how it is asked.
_TRAINING_ONLY = ("sampling", "samples_per_prompt", "accepted_per_prompt", "ahead", "resample")


def _sampled(section: EngineConfig) -> dict[str, Any]:
    settings = {key: value for key, value in settings_of(section).items() if key not in ENGINE_SECTION}
    settings["engine"] = shaping_engine(section)
    if isinstance(section, TeacherConfig):
        settings["endpoint"] = _endpoint(section) if section.kind == "endpoint" else None
    return settings


def _endpoint(teacher: TeacherConfig) -> dict[str, Any]:
    tokenizer = teacher.endpoint.tokenizer
    identity = None if tokenizer is None else model_id(tokenizer)
    return {"api": teacher.endpoint.api, "tokenizer": identity, "send_seed": teacher.endpoint.send_seed}


def _teacher_identity(config: Config) -> str:
    return model_id(config.teacher.model, config.teacher) if config.teacher.kind == "vllm" else config.teacher.model


def of_prompts(config: Config) -> dict[str, Any]:
    settings = {**settings_of(config.prompts), "seed": config.run.seed}
    return settings | {"files": prompts_stage.source_fingerprints(config.prompts)}


def of_generate(config: Config) -> dict[str, Any]:
    settings = {**_sampled(config.teacher), "seed": config.run.seed, "model": _teacher_identity(config)}
    if config.teacher.kind == "recorded":
        settings |= {"files": fingerprints(config.teacher.recorded.files, key="teacher.recorded.files")}
    if config.teacher.accepted_per_prompt is not None:
        settings |= {**of_verify(config), "accepted": dataclasses.asdict(Acceptance.of(config.curate))}
    return settings


def of_verify(config: Config) -> dict[str, Any]:
    return {"deadline_s": config.verify.deadline_s}


def of_sft(config: Config) -> dict[str, Any]:
    """The number of workers is part of the global batch, and a GPU brings a precision of its own."""
    placed = {"num_workers": config.sft.num_workers, "use_gpu": config.sft.use_gpu}
    trl = shaping(config.sft.trl, neutral=SFT_CONFIG)
    student = {"student": model_id(config.sft.student), "chat": _chat(config)}
    return {**placed, "trl": trl, "seed": config.run.seed, **student}


def of_refine(config: Config) -> dict[str, Any]:
    """Rewards of the user's own count by their code."""
    settings = {key: value for key, value in settings_of(config.refine).items() if key not in REFINE_SECTION}
    settings |= {"trl": shaping(config.refine.trl, neutral=SFT_CONFIG), "engine": None}
    if config.refine.seed is None:
        settings["seed"] = config.run.seed
    if config.refine.rollouts == "vllm":
        settings["engine"] = shaping(config.refine.engine, neutral=ENGINE_ARGS)
    if config.refine.method == "distill":
        settings["teacher"] = _teacher_identity(config)
    return {**settings, "num_workers": config.refine.num_workers, "code": code_of(config.refine), "chat": _chat(config)}


def _chat(config: Config) -> dict[str, Any]:
    """How the student is spoken to, the text of a template file included."""
    chat = student_format(config.sft)
    borrowed = None if chat.template_model is None else model_id(chat.template_model)
    settings = {"template": chat.template, "template_model": borrowed, "arguments": dict(chat.arguments)}
    return {**settings, "system_prompt": chat.system_prompt, "eos_token": chat.eos_token}


def of_evaluate(config: Config) -> dict[str, Any]:
    return {**_sampled(config.evaluate), **of_verify(config), "seed": config.run.seed}


def of_evaluate_teacher(config: Config) -> dict[str, Any]:
    teacher = {**_sampled(config.teacher), "model": _teacher_identity(config)}
    asked = {key: value for key, value in teacher.items() if key not in _TRAINING_ONLY}
    # The teacher runs in its own engine, not in the students'.
    return {**of_evaluate(config), "engine": None, "teacher": asked}


def of_evaluate_before(config: Config) -> dict[str, Any]:
    return {**of_evaluate(config), "student": model_id(config.sft.student), "chat": _chat(config)}


def of_bonds(config: Config) -> dict[str, Any]:
    return settings_of(config.bonds)


def of_curate(config: Config) -> dict[str, Any]:
    return {**settings_of(config.curate), "accepted_per_prompt": config.teacher.accepted_per_prompt}


def of_register(config: Config) -> dict[str, Any]:
    return {**settings_of(config.register), "tracking_uri": registry_stage.store_of(config.register)}


def of_export(config: Config) -> dict[str, Any]:
    return settings_of(config.export) if config.export.formats else {}


def of_report(config: Config) -> dict[str, Any]:
    return settings_of(config.report)
