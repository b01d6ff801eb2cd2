"""The evaluation stages: the teacher, the untouched student, the fine-tuned and the refined one.

In: prompts and a model. Out: scores, one row per sample, and the metrics computed from them, all by
`stages/measuring.py`.
"""

from typing import Any

from stillery.config import Config
from stillery.sampling.backend import teacher_backend
from stillery.sampling.models import model_id
from stillery.stages.fingerprints import chat_settings, grading_settings, sampling_settings, teacher_identity
from stillery.stages.measuring import VERSION, measure, measure_student
from stillery.stages.stage import MEASURED, REFINED, TUNED, Stage, StageContext
from stillery.telemetry.logs import logger

# Fields of the teacher's section that shape its sampling for training, not its prompts.
_TRAINING_ONLY = (
    "sampling", "samples_per_prompt", "accepted_per_prompt", "lookahead", "futility", "resample", "top_logprobs",
)  # fmt: skip


def _settings(config: Config) -> dict[str, Any]:
    return {**sampling_settings(config.evaluate), **grading_settings(config), "seed": config.run.seed}


def _teacher_settings(config: Config) -> dict[str, Any]:
    teacher = {**sampling_settings(config.teacher), "model": teacher_identity(config)}
    asked = {key: value for key, value in teacher.items() if key not in _TRAINING_ONLY}
    # The teacher runs in its own engine, not in the students'.
    return {**_settings(config), "engine": None, "teacher": asked}


def _before_settings(config: Config) -> dict[str, Any]:
    return {**_settings(config), "student": model_id(config.sft.student), "chat": chat_settings(config.sft)}


def _run_teacher(context: StageContext) -> dict[str, Any]:
    teacher = context.config.teacher
    if teacher.kind == "recorded":
        logger.info("evaluate_teacher: a recorded teacher cannot be asked, so it is not measured")
        return {"ks": context.config.evaluate.ks, "splits": {}}
    prompting = {"system_prompt": teacher.system_prompt, "instruction": teacher.instruction}
    source = teacher_backend(teacher, logs=context.run.logs, now=context.run.started)
    return measure(context, role="teacher", source=source, engine=teacher, prompting=prompting)


def _run_before(context: StageContext) -> dict[str, Any]:
    return measure_student(context, role="student_before", model=context.config.sft.student)


def _run_tuned(context: StageContext) -> dict[str, Any]:
    return measure_student(context, role="student_sft", model=context.tuned)


def _run_after(context: StageContext) -> dict[str, Any]:
    return measure_student(context, role="student_after", model=context.student)


TEACHER_STAGE = Stage("evaluate_teacher", VERSION, needs=(MEASURED,), settings=_teacher_settings, run=_run_teacher)
BEFORE_STAGE = Stage("evaluate_before", VERSION, needs=(MEASURED,), settings=_before_settings, run=_run_before)
TUNED_STAGE = Stage(
    "evaluate_sft",
    VERSION,
    needs=(MEASURED, TUNED),
    settings=_settings,
    run=_run_tuned,
    enabled=lambda config: config.refine.enabled,
)
STAGE = Stage("evaluate_after", VERSION, needs=(MEASURED, TUNED, REFINED), settings=_settings, run=_run_after)
