"""The refine stage: the fine-tuned student learns on its own completions, from rewards or the teacher's distribution,
or from preference pairs.

In: the student's checkpoint, the run's prompts and, for pairs, the teacher's samples with their verdicts. Out:
checkpoint/ (the student, a Hugging Face folder), history.json (every step and validation), rollouts-STEP.parquet (the
completions that it learned from, with every part of the reward), data/ (problems and pairs) and ray_train/ (the last
checkpoints).

The checkpoint with the highest accuracy on validation problems becomes the student, or the initial one if none is
better.
"""

import dataclasses
import datetime
import json
import os
import posixpath
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from stillery.config import Config, RefineConfig, SftConfig, VerifyConfig, settings_of
from stillery.config.reporters import reporters_of
from stillery.curation.screening import SCREENED, screens
from stillery.errors import UserError
from stillery.io.hashing import SUMS
from stillery.io.storage import Folder
from stillery.io.transfer import publish_model
from stillery.registry.live import live_run
from stillery.sampling.chat.checkpoint import open_student, write_format
from stillery.sampling.chat.conversation import student_format
from stillery.sampling.models import model_id
from stillery.sampling.neutral import ENGINE_ARGS, REFINE_SECTION, SFT_CONFIG, output_settings
from stillery.stages.fingerprints import chat_settings, grading_limits, own_grading, teacher_identity
from stillery.stages.stage import TRAINED, TUNED, Stage, StageContext
from stillery.telemetry import logs
from stillery.telemetry import metrics as observe
from stillery.training.checkpoints import (
    ADAPTER,
    RAY_TRAIN,
    count_parameters,
    publish_adapted,
    publish_checkpoint,
    remove_unfinished,
    storage_of,
)
from stillery.training.refine.checks import check_counts, code_of
from stillery.training.refine.data import lengths_of, write_pairs, write_problems
from stillery.training.refine.loop import refine_loop
from stillery.training.refine.rewards import NEED_TEACHER
from stillery.training.refine.stopping import ACCURACY, STANDARD_ERROR, STOPPED, best_step

_WORKER_SETTINGS = (
    "method", "steps", "num_generations", "temperature", "max_completion_length", "rewards", "rollouts",
    "validate_every", "validation_problems", "validation_samples", "use_gpu", "scratch", "cpu_kv_cache_gb", "engine",
    "trl", "peft",
)  # fmt: skip


def refine(
    config: RefineConfig,
    *,
    sft: SftConfig,
    seed: int,
    now: datetime.datetime,
    student: str,
    teacher: str,
    prompts: Folder,
    generations: Folder,
    verdicts: Folder,
    out: Folder,
    verify: VerifyConfig | None = None,
    screened: AbstractSet[str] = frozenset(),
    reporting: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Refine `student`, a checkpoint that `sft` made, and write the better one.

    `teacher` is the model that method distill learns from, `verify` the run's verifier and its limits, `screened` the
    problems that curation has excluded, `reporting` the destination of live curves (`training.reporting`). Returns
    counts, accuracy before and after on the validation problems, the step that was kept and, for an early stop, its
    reason.

    Raises UserError for data that does not fit the settings, and Ray Train's TrainingFailedError if the workers failed
    more than `config.max_failures` times.
    """
    conversation, end = open_student(student_format(sft, now=now))
    tables = {"prompts": prompts, "generations": generations, "verdicts": verdicts}
    is_compared = config.method == "grpo" and any(name in config.rewards for name in NEED_TEACHER)
    lengths = lengths_of(**tables) if is_compared else {}
    verify = verify or VerifyConfig()
    counts = write_problems(
        conversation,
        prompts=prompts,
        data=out / "data",
        lengths=lengths,
        verify_function=verify.function,
        screened=screened,
    )
    if config.method == "dpo":
        most, limit = config.max_pairs_per_prompt, config.trl.get("max_length")
        counts["pairs"] = write_pairs(
            conversation, **tables, data=out / "data", most=most, max_length=limit, screened=screened
        )
    check_counts(config, counts)
    remove_unfinished(out / RAY_TRAIN)
    told = worker_config(config, student=student, teacher=teacher, seed=seed, out=out)
    result = _fit(config, {**told, "grading": grading_limits(verify), **(reporting or {})}, out=out)
    history: list[dict[str, Any]] = result.return_value
    kept = best_step(history)
    adapted = config.peft is not None
    _publish(result, kept, student=Folder(student), out=out, describe=(conversation, end), adapted=adapted)
    out.write_bytes("history.json", json.dumps(history, indent=1).encode())
    made = _made(out / "checkpoint")
    if adapted and kept:
        made["num_adapter_parameters"] = count_parameters(out / ADAPTER)
    return {**counts, **_outcome(history, kept), **made}


def _publish(result: Any, kept: int, *, student: Folder, out: Folder, describe: tuple[Any, Any], adapted: bool) -> None:
    """Make the model folder of the step that is kept: a copy of the student for step 0. An adapter is merged into the
    student, and also kept by itself."""
    checkpoint = out / "checkpoint"
    if kept == 0:
        publish_model(checkpoint, [(student, [name for name in student.names() if name != SUMS])])
        return
    (found,) = [path for path, metrics in result.best_checkpoints if metrics["step"] == kept]
    conversation, end = describe
    stored = out / RAY_TRAIN / posixpath.basename(found.path)

    def write(folder: Path) -> None:
        write_format(folder, conversation, end)

    if adapted:
        publish_adapted(student.uri, stored, checkpoint, adapter=out / ADAPTER, describe=write)
    else:
        publish_checkpoint(stored, checkpoint, describe=write)


def _made(checkpoint: Folder) -> dict[str, Any]:
    model = model_id(checkpoint.uri)
    return {"model": model, "num_parameters": count_parameters(checkpoint), "parts": {"checkpoint": model}}


def _outcome(history: list[dict[str, Any]], kept: int) -> dict[str, Any]:
    """Validation before and after, the number of steps, and the reason for an early stop."""
    measured = {row["step"]: row for row in history if ACCURACY in row}
    stopped = next((row[STOPPED] for row in history if STOPPED in row), None)
    outcome: dict[str, Any] = {"kept_step": kept, "last_step": max(measured), "stopped": stopped}
    for name, step in (("before", 0), ("after", kept), ("last", max(measured))):
        outcome[f"validation_{name}"] = measured[step][ACCURACY]
        outcome[f"validation_{name}_standard_error"] = measured[step][STANDARD_ERROR]
    return outcome


def _fit(config: RefineConfig, told: dict[str, Any], *, out: Folder) -> Any:
    from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    # As in fine-tuning: slow imports on a crowded machine, and no line printed twice.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "300")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    gpu = {"GPU": 1} if config.use_gpu else {}
    trainer = TorchTrainer(
        refine_loop,
        train_loop_config=told,
        scaling_config=ScalingConfig(
            num_workers=config.num_workers,
            use_gpu=config.use_gpu,
            resources_per_worker={"CPU": config.num_cpus, **gpu, **config.resources},
            label_selector=config.labels or None,
        ),
        # With the same name and storage, a run whose driver was killed resumes from its last checkpoint.
        run_config=RunConfig(
            name=RAY_TRAIN,
            **storage_of(out),
            logging_config=LoggingConfig("WARNING"),
            failure_config=FailureConfig(max_failures=config.max_failures),
            checkpoint_config=CheckpointConfig(
                num_to_keep=2, checkpoint_score_attribute="accuracy", checkpoint_score_order="max"
            ),
        ),
    )
    try:
        return trainer.fit()
    except Exception as error:
        # Boundary: Ray Train's own error wraps a worker's UserError.
        meant = user_error_of(error)
        if meant is None:
            raise
        raise meant from error


def user_error_of(error: Exception) -> UserError | None:
    """The UserError that a worker raised, parsed from the traceback text in Ray Train's error."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    for failure in failures.values():
        _, found, message = str(failure).rpartition(f"{UserError.__module__}.{UserError.__name__}: ")
        if found:
            return UserError(message.strip())
    return None


def worker_config(config: RefineConfig, *, student: str, teacher: str, seed: int, out: Folder) -> dict[str, Any]:
    """The workers' config, as plain data."""
    return {
        **{name: getattr(config, name) for name in _WORKER_SETTINGS},
        "stop": dataclasses.asdict(config.stop),
        "reward_weights": dataclasses.asdict(config.reward_weights),
        "seed": seed if config.seed is None else config.seed,
        "threads": config.threads or max(1, int(config.num_cpus)),
        "student": student,
        "teacher": teacher,
        "out": out.uri,
        "where": logs.current_fields(),
        "observed": observe.here(),
    }


def _settings(config: Config) -> dict[str, Any]:
    """Custom rewards are fingerprinted by their code."""
    settings = {key: value for key, value in settings_of(config.refine).items() if key not in REFINE_SECTION}
    settings |= {"trl": output_settings(config.refine.trl, neutral=SFT_CONFIG), "engine": None}
    if config.refine.peft is None:
        # Defaults are left out, so that older fingerprints stay valid.
        del settings["peft"]
    if config.refine.seed is None:
        settings["seed"] = config.run.seed
    if config.refine.rollouts == "vllm":
        settings["engine"] = output_settings(config.refine.engine, neutral=ENGINE_ARGS)
    if config.refine.method == "distill":
        settings["teacher"] = teacher_identity(config)
    code, chat = code_of(config.refine), chat_settings(config.sft)
    settings |= own_grading(config.verify)
    return {**settings, "num_workers": config.refine.num_workers, "code": code, "chat": chat}


def _run(context: StageContext) -> dict[str, Any]:
    config, name = context.config, f"{context.config.run.name} refine"
    shown = {"refine": settings_of(config.refine), "seed": config.run.seed}
    with live_run(config.register, trl=config.refine.trl, name=name, out=context.out.uri, settings=shown) as live:
        return refine(
            config.refine,
            sft=config.sft,
            seed=config.run.seed,
            now=context.run.started,
            student=context.tuned,
            teacher=config.teacher.model,
            prompts=context.folder("prompts"),
            generations=context.folder("generate"),
            verdicts=context.folder("verify"),
            out=context.out,
            verify=config.verify,
            screened=_screened(context),
            reporting={"live": live, "reporters": reporters_of(config.refine.trl), "run_name": name},
        )


def _screened(context: StageContext) -> set[str]:
    """The problems that curation has excluded: they are in an evaluation set, or nearly repeat another."""
    if not screens(context.config.curate):
        return set()
    return set(json.loads(context.folder("curate").read_bytes(SCREENED)))


STAGE = Stage(
    "refine",
    version=1,
    needs=(TRAINED, "generate", "verify", TUNED),
    also_needs=lambda config: ("curate",) if screens(config.curate) else (),
    settings=_settings,
    run=_run,
    enabled=lambda config: config.refine.enabled,
)
