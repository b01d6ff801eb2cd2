"""Supervised fine-tuning: the student learns the kept traces.

In: samples. Out: checkpoint/ (the student, a Hugging Face folder with the checksums of its files), data/ (exactly the
rows that it was trained on, without over-long ones), history.json (the loss curve) and ray_train/ (the last full
checkpoints); with `sft.peft` also adapter/ (the trained adapter, with the name of its base; checkpoint/ is both
merged).

Ray Train places the workers and restarts them from the last checkpoint if one dies; TRL's SFTTrainer does the training;
the checkpoint with the lowest validation loss, or with the highest accuracy, becomes the student.
"""

import datetime
import functools
import json
import os
import posixpath
from collections.abc import Mapping
from typing import Any

from stillery.config import AttentionConfig, Config, SftConfig, VerifyConfig, settings_of
from stillery.config.reporters import reporters_of
from stillery.io.storage import Folder
from stillery.records import Split
from stillery.registry.live import live_run
from stillery.sampling.chat.checkpoint import open_student, stops_of, write_format
from stillery.sampling.chat.conversation import student_format
from stillery.sampling.models import model_id
from stillery.sampling.neutral import SFT_CONFIG, output_settings
from stillery.sampling.stored_logprobs import TOP_LOGPROBS
from stillery.stages.fingerprints import chat_settings, grading_limits, own_grading
from stillery.stages.stage import TRAINED, Stage, StageContext
from stillery.telemetry import logs
from stillery.telemetry import metrics as observe
from stillery.training.accuracy import ACCURACY, LOSS, SCORE, best_metric, write_problems
from stillery.training.attention.checks import is_on, layer_of
from stillery.training.checkpoints import (
    ADAPTER,
    RAY_TRAIN,
    count_parameters,
    publish_adapted,
    publish_checkpoint,
    remove_unfinished,
    storage_of,
)
from stillery.training.data import prepare_data
from stillery.training.distillation.checks import is_on as distils
from stillery.training.loop import train_loop


def fine_tune(
    config: SftConfig,
    *,
    seed: int,
    now: datetime.datetime,
    samples: Folder,
    out: Folder,
    reporting: Mapping[str, Any] | None = None,
    attention: AttentionConfig | None = None,
    targets: Folder | None = None,
    scores: Folder | None = None,
    prompts: Folder | None = None,
    verify: VerifyConfig | None = None,
) -> dict[str, Any]:
    """Train the student and write its checkpoint. Returns counts, the losses and what was dropped.

    `prompts` are the problems for `config.accuracy`, which the run's verifier grades within its limits (`verify`).

    `now` is the time that a chat template may print, `reporting` the destination of live curves (`training.reporting`).
    With `targets` the student learns attention targets, as set in `attention`; with `scores`, the teacher's stored
    log-probabilities, it is distilled as set in `config.distill`. Raises UserError if too few rows can be trained on,
    and Ray Train's TrainingFailedError if the workers failed more than `config.max_failures` times.
    """
    chat = student_format(config, now=now)
    conversation, end = open_student(chat)
    counts = prepare_data(config, chat, samples=samples, data=out / "data", targets=targets, scores=scores)
    has_validation = counts[Split.VALIDATION] > 0
    accuracy, verify = None, verify or VerifyConfig()
    if config.accuracy.num_problems and prompts is not None:
        num_problems = write_problems(config, conversation, prompts=prompts, out=out, verify_function=verify.function)
        counts["validation_problems"] = num_problems
        stops = sorted({end.token_id, *stops_of(config.student, conversation.tokenizer)})
        accuracy = {**settings_of(config.accuracy), "stops": stops, "grading": grading_limits(verify)}
    remove_unfinished(out / RAY_TRAIN)
    transfer = None
    if attention is not None and targets is not None:
        transfer = {
            "weight": attention.weight,
            "anneal_until": attention.anneal_until,
            "layer": layer_of(attention, config.student),
            "scale": counts["attention"]["scale"],
        }
    told = {
        "has_validation": has_validation,
        "mean_weight": counts.get("mean_weight"),
        "attention": transfer,
        "distill": None if scores is None else settings_of(config.distill),
        "accuracy": accuracy,
        "early_stopping": _early_stopping(config),
        **(reporting or {}),
    }
    result = _fit(config, seed=seed, out=out, told=told)
    best = _best_checkpoint(result, by=best_metric(config) if has_validation else None)
    checkpoint = out / "checkpoint"
    describe = functools.partial(write_format, conversation=conversation, end=end)
    source = out / RAY_TRAIN / posixpath.basename(best[0].path)
    if config.peft is None:
        publish_checkpoint(source, checkpoint, describe=describe)
    else:
        quantized = config.quantize is not None
        publish_adapted(
            config.student, source, checkpoint, adapter=out / ADAPTER, describe=describe, is_quantized=quantized
        )
    history = result.return_value
    out.write_bytes("history.json", json.dumps(history, indent=1).encode())
    model = model_id(checkpoint.uri)
    made = {"model": model, "num_parameters": count_parameters(checkpoint), "parts": {"checkpoint": model}}
    if config.peft is not None:
        made["num_adapter_parameters"] = count_parameters(out / ADAPTER)
    return {**counts, **_outcome(history), "kept_step": best[1]["step"], **made}


def _fit(config: SftConfig, *, seed: int, out: Folder, told: Mapping[str, Any]) -> Any:
    from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    kept_by = (LOSS, "min") if best_metric(config) == LOSS else (SCORE, "max")
    attribute, order = kept_by if told["has_validation"] else (None, "max")
    # On a crowded machine workers import torch and TRL slowly; Ray's default limit is 60 s.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "300")
    # Otherwise Ray Train sends every printed line to the driver twice.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    trainer = TorchTrainer(
        train_loop,
        train_loop_config={
            "student": config.student,
            "out": out.uri,
            "scratch": config.scratch,
            **told,
            "seed": seed,
            "use_gpu": config.use_gpu,
            "threads": config.threads or max(1, int(config.num_cpus)),
            "trl": dict(config.trl),
            "num_workers": config.num_workers,
            "peft": config.peft,
            "quantize": config.quantize,
            "where": logs.current_fields(),
            "observed": observe.here(),
        },
        scaling_config=ScalingConfig(
            num_workers=config.num_workers if config.max_workers is None else (config.num_workers, config.max_workers),
            use_gpu=config.use_gpu,
            resources_per_worker={"CPU": config.num_cpus, **({"GPU": 1} if config.use_gpu else {}), **config.resources},
            label_selector=config.labels or None,
        ),
        # With the same name and storage, a run whose driver was killed resumes from its last checkpoint.
        run_config=RunConfig(
            name=RAY_TRAIN,
            **storage_of(out),
            logging_config=LoggingConfig("WARNING"),
            failure_config=FailureConfig(max_failures=config.max_failures),
            checkpoint_config=CheckpointConfig(
                num_to_keep=2, checkpoint_score_attribute=attribute, checkpoint_score_order=order
            ),
        ),
    )
    return trainer.fit()


def _best_checkpoint(result: Any, *, by: str | None) -> tuple[Any, dict[str, Any]]:
    """The best checkpoint by a metric, or the last one where there are no validation rows, with its metrics."""
    if by is None:
        return result.checkpoint, result.metrics
    kept: list[tuple[Any, dict[str, Any]]] = result.best_checkpoints
    if by == LOSS:
        return min(kept, key=lambda pair: pair[1][LOSS])
    return max(kept, key=lambda pair: pair[1][SCORE])


def _outcome(history: list[Mapping[str, Any]]) -> dict[str, float]:
    """The first and the last loss, and the best of the validation results."""
    train = [float(row["loss"]) for row in history if "loss" in row]
    losses = {"first_loss": train[0], "last_loss": train[-1]} if train else {}
    validation = [float(row[LOSS]) for row in history if LOSS in row]
    losses |= {"best_eval_loss": min(validation)} if validation else {}
    answered = [float(row[ACCURACY]) for row in history if ACCURACY in row]
    return losses | ({"best_eval_accuracy": max(answered)} if answered else {})


def _early_stopping(config: SftConfig) -> dict[str, Any] | None:
    if config.early_stopping_patience is None:
        return None
    return {"patience": config.early_stopping_patience, "threshold": config.early_stopping_threshold}


def _settings(config: Config) -> dict[str, Any]:
    """The number of workers is part of the global batch, and a GPU sets its own precision."""
    placed = {"num_workers": config.sft.num_workers, "use_gpu": config.sft.use_gpu}
    trl = output_settings(config.sft.trl, neutral=SFT_CONFIG)
    student = {"student": model_id(config.sft.student), "chat": chat_settings(config.sft)}
    adapter = {} if config.sft.peft is None else {"peft": config.sft.peft, "quantize": config.sft.quantize}
    # Defaults are left out, so that older fingerprints stay valid.
    part: dict[str, Any] = {} if config.sft.completion == "whole" else {"completion": config.sft.completion}
    part |= {"answer_only_tasks": sorted(tasks)} if (tasks := config.sft.answer_only_tasks) else {}
    part |= {} if config.sft.answer_weight == 1 else {"answer_weight": config.sft.answer_weight}
    transfer = {}
    if is_on(config):
        keys = ("weight", "anneal_until", "student_layer")
        transfer = {"attention": {key: getattr(config.attention, key) for key in keys}}
    stopping = {} if (given := _early_stopping(config.sft)) is None else {"early_stopping": given}
    accuracy = {}
    if config.sft.accuracy.num_problems:
        answered = {key: getattr(config.sft.accuracy, key) for key in ("num_problems", "max_tokens")}
        accuracy = {"accuracy": {**answered, "verifier": None, **own_grading(config.verify)}}
    validated = {**stopping, **accuracy}
    distill = {"distill": settings_of(config.sft.distill)} if distils(config) else {}
    shaped = {**student, **adapter, **part, **transfer, **distill, **validated}
    return {**placed, "trl": trl, "seed": config.run.seed, **shaped}


def _run(context: StageContext) -> dict[str, Any]:
    config, name = context.config, f"{context.config.run.name} sft"
    shown = {"sft": settings_of(config.sft), "seed": config.run.seed}
    if is_on(config):
        shown["attention"] = settings_of(config.attention)
    with live_run(config.register, trl=config.sft.trl, name=name, out=context.out.uri, settings=shown) as live:
        return fine_tune(
            config.sft,
            seed=config.run.seed,
            now=context.run.started,
            samples=context.folder("curate"),
            out=context.out,
            reporting={"live": live, "reporters": reporters_of(config.sft.trl), "run_name": name},
            attention=config.attention,
            targets=context.folder("attention") if is_on(config) else None,
            scores=context.folder("generate") / TOP_LOGPROBS if distils(config) else None,
            prompts=context.folder("prompts") if config.sft.accuracy.num_problems else None,
            verify=config.verify,
        )


def _also_needs(config: Config) -> tuple[str, ...]:
    problems = (TRAINED,) if config.sft.accuracy.num_problems else ()
    return (*problems, *(("attention",) if is_on(config) else ()), *(("generate",) if distils(config) else ()))


STAGE = Stage(
    "sft",
    version=2,
    needs=("curate",),
    also_needs=_also_needs,
    settings=_settings,
    run=_run,
)
