"""Config fields in the fingerprints of several stages."""

import dataclasses
from typing import Any

from stillery.config import (
    CodeConfig,
    Config,
    EngineConfig,
    JudgeConfig,
    SftConfig,
    TeacherConfig,
    VerifyConfig,
    settings_of,
)
from stillery.model_judge.judging import teacher_of
from stillery.sampling.chat.conversation import student_format
from stillery.sampling.models import model_id
from stillery.sampling.neutral import ENGINE_SECTION, engine_output_settings
from stillery.verify.functions import function_identity


def sampling_settings(section: EngineConfig) -> dict[str, Any]:
    """Fields of the section `teacher` or `evaluate` that shape its samples."""
    settings = {key: value for key, value in settings_of(section).items() if key not in ENGINE_SECTION}
    settings["engine"] = engine_output_settings(section)
    if isinstance(section, TeacherConfig):
        if not section.top_logprobs:
            # Defaults are left out, so that older fingerprints stay valid.
            del settings["top_logprobs"]
        settings["endpoint"] = _endpoint(section) if section.kind == "endpoint" else None
    return settings


def _endpoint(teacher: TeacherConfig) -> dict[str, Any]:
    tokenizer = teacher.endpoint.tokenizer
    identity = None if tokenizer is None else model_id(tokenizer)
    return {"api": teacher.endpoint.api, "tokenizer": identity, "send_seed": teacher.endpoint.send_seed}


def teacher_identity(config: Config) -> str:
    """The teacher's identity: its contents where it is one of our own models, else its name."""
    return model_id(config.teacher.model, config.teacher) if config.teacher.kind == "vllm" else config.teacher.model


def grading_settings(config: Config) -> dict[str, Any]:
    """Config fields that shape a verdict."""
    return verifier_settings(config.verify)


def verifier_settings(verify: VerifyConfig) -> dict[str, Any]:
    """The same from the section alone. Unused fields are left out, so that outputs made before they existed stay
    valid."""
    settings: dict[str, Any] = {"deadline_s": verify.deadline_s}
    if verify.judge.kind != "none":
        settings["judge"] = _judge_settings(verify.judge)
    if verify.code != CodeConfig():
        settings["code"] = settings_of(verify.code)
    if verify.function is not None:
        settings["function"] = function_identity(verify.function, key="verify.function", arguments=1)
    return settings


def grading_limits(verify: VerifyConfig) -> dict[str, Any]:
    """The limits within which training workers grade, as plain data."""
    return {"deadline_s": verify.deadline_s, "code": dataclasses.asdict(verify.code)}


def own_grading(verify: VerifyConfig) -> dict[str, Any]:
    """Config fields of the verifier in the fingerprints of training; defaults are left out, so that older ones stay
    valid."""
    settings = verifier_settings(verify)
    own = {"verifier": settings["function"]} if "function" in settings else {}
    own |= {"code": settings["code"]} if "code" in settings else {}
    return own | ({} if verify.deadline_s == VerifyConfig().deadline_s else {"deadline_s": verify.deadline_s})


def _judge_settings(judge: JudgeConfig) -> dict[str, Any]:
    teacher = teacher_of(judge)
    model = model_id(judge.model, teacher) if judge.kind == "vllm" else judge.model
    return {**sampling_settings(teacher), "model": model, "undecided": judge.undecided}


def chat_settings(config: SftConfig) -> dict[str, Any]:
    """The student's chat format, including the text of a template file."""
    chat = student_format(config)
    borrowed = None if chat.template_model is None else model_id(chat.template_model)
    settings = {"template": chat.template, "template_model": borrowed, "arguments": dict(chat.arguments)}
    return {**settings, "system_prompt": chat.system_prompt, "eos_token": chat.eos_token}
