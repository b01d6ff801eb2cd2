"""Supervised fine-tuning: the student learns the kept traces.

In: samples. Out: checkpoint/ (a Hugging Face folder, the student), data/ (exactly what it was trained on) and
history.json (the loss curve).

Ray Train places the workers and restarts them from the last checkpoint if one dies; TRL's SFTTrainer does the
training; the checkpoint with the lowest validation loss becomes the student.
"""

import datetime
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillery import logs, observe
from stillery.config import SftConfig
from stillery.engines.chat.checkpoint import open_student, write_format
from stillery.engines.chat.conversation import ChatFormat, Conversation, student_format
from stillery.engines.chat.lengths import LONG, check_dropped
from stillery.engines.models import model_id
from stillery.errors import UserError
from stillery.records import Sample, Split, from_table
from stillery.storage import Folder
from stillery.train.loop import train_loop

VERSION = 2

# What serving, evaluation and export need of a training checkpoint; optimizer and random states stay behind.
MODEL_FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json",
               "tokenizer*", "special_tokens_map.json", "vocab.json", "merges.txt", "chat_template*")  # fmt: skip


def fine_tune(config: SftConfig, *, seed: int, now: datetime.datetime, samples: Folder, out: Folder) -> dict[str, Any]:
    """Train the student and write its checkpoint. Returns counts, the losses and what was dropped.

    `now` is the time that a chat template may print. Raises UserError if too few rows can be learnt, and Ray Train's
    TrainingFailedError if the workers failed more than `config.max_failures` times.
    """
    rows = from_table(samples.read_all(Sample), Sample)
    chat = student_format(config, now=now)
    conversation, end = open_student(chat)
    counts = write_data(config, rows, conversation, out)
    has_validation = counts["validation"] > 0
    result = _fit(config, seed=seed, out=out, has_validation=has_validation, chat=chat)
    best = _best_checkpoint(result, has_validation=has_validation)
    checkpoint = out.local / "checkpoint"
    with best.as_directory() as folder:
        copy_model(Path(folder), checkpoint)
    write_format(checkpoint, conversation, end)
    history = result.return_value
    out.write_bytes("history.json", json.dumps(history, indent=1).encode())
    model = model_id(str(checkpoint))
    made = {"model": model, "num_parameters": count_parameters(checkpoint), "parts": {"checkpoint": model}}
    return {**counts, **_losses(history), **made}


def write_data(config: SftConfig, rows: list[Sample], conversation: Conversation, out: Folder) -> dict[str, Any]:
    """Write the rows that can be learnt as data/train.parquet and data/validation.parquet; return the counts.

    TRL would cut a row at `max_length`, in the middle of its thinking: longer ones are left out whole, as is a row of
    which the chat template leaves something out. Raises UserError if that is all of them, or more are too long than
    `config.max_long_share` allows.
    """
    limit = config.trl.get("max_length", 1024)
    usable: list[Sample] = []
    dropped: Counter[str] = Counter()
    for row, tokens in zip(rows, conversation.rows(rows), strict=True):
        fault = tokens.fault or (LONG if limit is not None and len(tokens.input_ids) > limit else None)
        if fault is None:
            usable.append(row)
        else:
            dropped[fault] += 1
    check_dropped(config, dropped, num_rows=len(rows))
    train = [row for row in usable if row.split == Split.TRAIN]
    validation = [row for row in usable if row.split == Split.VALIDATION]
    if not train:
        raise UserError("sft: no sample to train on is left; see what was left out above")
    data = out / "data"
    data.write_rows("train.parquet", train, Sample)
    data.write_rows("validation.parquet", validation, Sample)
    return {"train": len(train), "validation": len(validation), "dropped": dict(dropped)}


def _fit(config: SftConfig, *, seed: int, out: Folder, has_validation: bool, chat: ChatFormat) -> Any:
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    # Workers of a crowded machine import torch and TRL slowly; Ray's own limit is 60 s.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "300")
    # Otherwise Ray Train sends every printed line to the driver twice.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    trainer = TorchTrainer(
        train_loop,
        train_loop_config={
            "student": config.student,
            "chat": chat,
            "data": (out / "data").uri,
            "seed": seed,
            "use_gpu": config.use_gpu,
            "threads": config.threads or max(1, int(config.num_cpus)),
            "trl": dict(config.trl),
            "where": logs.here(),
            "observed": observe.here(),
        },
        scaling_config=ScalingConfig(
            num_workers=config.num_workers,
            use_gpu=config.use_gpu,
            resources_per_worker={"CPU": config.num_cpus, **({"GPU": 1} if config.use_gpu else {}), **config.resources},
            label_selector=config.labels or None,
        ),
        # The same name and storage: a run whose driver was killed goes on from its last checkpoint.
        run_config=RunConfig(
            name="ray_train",
            storage_path=out.uri,
            failure_config=FailureConfig(max_failures=config.max_failures),
            checkpoint_config=CheckpointConfig(
                num_to_keep=2,
                checkpoint_score_attribute="eval_loss" if has_validation else None,
                checkpoint_score_order="min" if has_validation else "max",
            ),
        ),
    )
    return trainer.fit()


def _best_checkpoint(result: Any, *, has_validation: bool) -> Any:
    """The checkpoint with the lowest validation loss, or the last one where there is nothing to validate on."""
    if not has_validation:
        return result.checkpoint
    return min(result.best_checkpoints, key=lambda pair: pair[1]["eval_loss"])[0]


def copy_model(source: Path, target: Path) -> None:
    """Copy a checkpoint's model and tokenizer files. The folder appears whole or not at all."""
    temporary = target.with_name(f".{target.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for pattern in MODEL_FILES:
        for file in source.glob(pattern):
            shutil.copy2(file, temporary / file.name)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)


def count_parameters(checkpoint: Path) -> int:
    """The number of parameters in a folder's safetensors, read from their headers."""
    from safetensors import safe_open

    total = 0
    for file in checkpoint.glob("*.safetensors"):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - safe_open is no mapping
                size = 1
                for length in tensors.get_slice(name).get_shape():
                    size *= length
                total += size
    return total


def _losses(history: list[Mapping[str, Any]]) -> dict[str, float]:
    train = [float(row["loss"]) for row in history if "loss" in row]
    validation = [float(row["eval_loss"]) for row in history if "eval_loss" in row]
    losses = {"first_loss": train[0], "last_loss": train[-1]} if train else {}
    return losses | ({"best_eval_loss": min(validation)} if validation else {})
