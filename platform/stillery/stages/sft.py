"""Supervised fine-tuning: the student learns the kept traces.

In: samples. Out: checkpoint/ (a Hugging Face folder, the student, with the sums of its files), data/ (exactly what it
was trained on, over-long rows taken out), history.json (the loss curve) and ray_train/ (the last checkpoints, whole);
with `sft.peft` also adapter/ (what was trained, with the name of its base; checkpoint/ is both merged).

Ray Train places the workers and restarts them from the last checkpoint if one dies; TRL's SFTTrainer does the
training; the checkpoint with the lowest validation loss becomes the student.
"""

import contextlib
import datetime
import functools
import json
import os
import posixpath
from collections.abc import Callable, Generator, Mapping
from fnmatch import fnmatch
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stillery.config import SftConfig
from stillery.io.copies import cache_home
from stillery.io.storage import Folder
from stillery.io.transfer import copy_files, publish_model
from stillery.records import Split
from stillery.sampling.chat.checkpoint import open_student, write_format
from stillery.sampling.chat.conversation import student_format
from stillery.sampling.models import model_id
from stillery.telemetry import logs
from stillery.telemetry import metrics as observe
from stillery.training.adapters import keep_adapter, merge_trained
from stillery.training.data import prepare_data
from stillery.training.loop import train_loop

VERSION = 2

# Where Accelerate puts the shards of a model in a checkpoint.
MODEL_SHARDS = "pytorch_model_fsdp_0"
# The folders, within the output, of Ray Train's checkpoints and of the adapter that was trained.
RAY_TRAIN, ADAPTER = "ray_train", "adapter"
SNAPSHOT = "checkpoint_manager_snapshot.json"

# What serving, evaluation and export need of a training checkpoint.
MODEL_FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json",
               "tokenizer*", "special_tokens_map.json", "vocab.json", "merges.txt", "chat_template*")  # fmt: skip


def fine_tune(config: SftConfig, *, seed: int, now: datetime.datetime, samples: Folder, out: Folder) -> dict[str, Any]:
    """Train the student and write its checkpoint. Returns counts, the losses and what was dropped.

    `now` is the time that a chat template may print. Raises UserError if too few rows can be learnt, and Ray Train's
    TrainingFailedError if the workers failed more than `config.max_failures` times.
    """
    chat = student_format(config, now=now)
    conversation, end = open_student(chat)
    counts = prepare_data(config, chat, samples=samples, data=out / "data")
    has_validation = counts[Split.VALIDATION] > 0
    remove_unfinished(out / RAY_TRAIN)
    result = _fit(config, seed=seed, out=out, has_validation=has_validation, mean_weight=counts.get("mean_weight"))
    best = _best_checkpoint(result, has_validation=has_validation)
    checkpoint = out / "checkpoint"
    describe = functools.partial(write_format, conversation=conversation, end=end)
    source = out / RAY_TRAIN / posixpath.basename(best.path)
    if config.peft is None:
        publish_checkpoint(source, checkpoint, describe=describe)
    else:
        publish_adapted(config, source, checkpoint, adapter=out / ADAPTER, describe=describe)
    history = result.return_value
    out.write_bytes("history.json", json.dumps(history, indent=1).encode())
    model = model_id(checkpoint.uri)
    made = {"model": model, "num_parameters": count_parameters(checkpoint), "parts": {"checkpoint": model}}
    if config.peft is not None:
        made["num_adapter_parameters"] = count_parameters(out / ADAPTER)
    return {**counts, **_losses(history), **made}


def _fit(config: SftConfig, *, seed: int, out: Folder, has_validation: bool, mean_weight: float | None = None) -> Any:
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
            "out": out.uri,
            "scratch": config.scratch,
            "has_validation": has_validation,
            "mean_weight": mean_weight,
            "seed": seed,
            "use_gpu": config.use_gpu,
            "threads": config.threads or max(1, int(config.num_cpus)),
            "trl": dict(config.trl),
            "peft": config.peft,
            "quantize": config.quantize,
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
            name=RAY_TRAIN,
            **_storage_of(out),
            failure_config=FailureConfig(max_failures=config.max_failures),
            checkpoint_config=CheckpointConfig(
                num_to_keep=2,
                checkpoint_score_attribute="eval_loss" if has_validation else None,
                checkpoint_score_order="min" if has_validation else "max",
            ),
        ),
    )
    return trainer.fit()


def remove_unfinished(stored: Folder) -> None:
    """Remove the checkpoints that Ray Train's snapshot does not name: whoever was killed left them half uploaded.

    A snapshot that was cut off goes too, and training begins anew: Ray Train would refuse to start.
    """
    text = stored.read_bytes(SNAPSHOT).decode(errors="replace") if stored.exists(SNAPSHOT) else ""
    try:
        json.loads(text or "null")
    except ValueError:
        logs.say(f"sft: {stored.uri}/{SNAPSHOT} was cut off, so training begins anew")
        text = ""
    fs, path = stored.open_fs()
    unfinished = [name for name in stored.names() if name.startswith("checkpoint_") and name not in text]
    for name in unfinished if text else {*unfinished, *stored.names(SNAPSHOT)}:
        fs.rm(posixpath.join(path, name), recursive=True)


def _best_checkpoint(result: Any, *, has_validation: bool) -> Any:
    """The checkpoint with the lowest validation loss, or the last one where there is nothing to validate on."""
    if not has_validation:
        return result.checkpoint
    return min(result.best_checkpoints, key=lambda pair: pair[1]["eval_loss"])[0]


def _storage_of(out: Folder) -> dict[str, Any]:
    """Where Ray Train keeps its checkpoints: in the stage's folder, by the file system that all of the run uses."""
    if out.is_local:
        return {"storage_path": str(out.local)}
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    fs, path = out.open_fs()
    return {"storage_path": path, "storage_filesystem": PyFileSystem(FSSpecHandler(fs))}


def publish_checkpoint(source: Folder, target: Folder, *, describe: Callable[[Path], None]) -> None:
    """Make a model folder of a training checkpoint; the optimizer's and the random states stay behind.

    `describe` completes a local folder of all its files but the weights. A model that FSDP saved in shards
    (SHARDED_STATE_DICT) is put together on this machine's disk first.
    """
    with _described(source, describe) as (scratch, described, weights):
        whole = source
        if MODEL_SHARDS in source.names():
            whole, weights = _merged(source / MODEL_SHARDS, scratch)
        publish_model(target, [(described, described.names()), (whole, weights)])


def publish_adapted(
    config: SftConfig, source: Folder, target: Folder, *, adapter: Folder, describe: Callable[[Path], None]
) -> None:
    """Make a model folder of a training checkpoint that holds an adapter, merged into the student on this machine, and
    a folder of the `adapter` alone. `describe` is as for `publish_checkpoint`."""
    with _described(source, describe) as (scratch, described, _):
        kept, whole = scratch / "adapter", scratch / "whole"
        trained = json.loads((described.local / "config.json").read_text(encoding="utf-8"))
        keep_adapter(config, source, described, kept.local)
        merge_trained(config, kept.local, whole.local, dtype=trained.get("dtype") or "auto")
        publish_model(adapter, [(kept, kept.names())])
        # What the model is, as it was merged: the trained one may have been quantized.
        model = [n for n in whole.names() if n == "config.json" or ".safetensors" in n]
        publish_model(target, [(described, [n for n in described.names() if n != "config.json"]), (whole, model)])


@contextlib.contextmanager
def _described(source: Folder, describe: Callable[[Path], None]) -> Generator[tuple[Folder, Folder, list[str]]]:
    """A scratch folder, in it one of all model files of a checkpoint but the weights, completed, and the names of the
    weights."""
    names = [name for name in source.names() if any(fnmatch(name, pattern) for pattern in MODEL_FILES)]
    weights = [name for name in names if name.endswith(".safetensors")]
    cache = cache_home() / "scratch"
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="publish-", dir=cache) as folder:
        scratch = Folder(folder)
        described = scratch / "described"
        copy_files(source, described, [name for name in names if name not in weights])
        describe(described.local)
        yield scratch, described, weights


def _merged(shards: Folder, scratch: Folder) -> tuple[Folder, list[str]]:
    """FSDP's shards of a model as one file in a folder of the scratch; the folder and the file's name."""
    from accelerate.utils import merge_fsdp_weights

    copy_files(shards, scratch / "shards", shards.names())
    merge_fsdp_weights(str((scratch / "shards").local), str((scratch / "whole").local))
    return scratch / "whole", (scratch / "whole").names(".safetensors")


def count_parameters(checkpoint: Folder) -> int:
    """The number of parameters in a folder's safetensors, read from their headers."""
    total = 0
    for name in checkpoint.names(".safetensors"):
        with checkpoint.open_file(name) as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        total += sum(prod(tensor["shape"]) for key, tensor in header.items() if key != "__metadata__")
    return total


def _losses(history: list[Mapping[str, Any]]) -> dict[str, float]:
    train = [float(row["loss"]) for row in history if "loss" in row]
    validation = [float(row["eval_loss"]) for row in history if "eval_loss" in row]
    losses = {"first_loss": train[0], "last_loss": train[-1]} if train else {}
    return losses | ({"best_eval_loss": min(validation)} if validation else {})
