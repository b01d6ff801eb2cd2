"""Training on the GPU: the stage `sft` with packing in bf16 under Ray Train, and TRL's trainer sharded with FSDP2."""

import datetime
import functools
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.gpu_check.data import LEAST_FALL, prepared_rows, training_samples
from benchmarks.gpu_check.evidence import Figures, demand, fall_of
from stillery.config import ClusterConfig, SftConfig
from stillery.io.storage import Folder
from stillery.records import Sample
from stillery.sampling.chat.checkpoint import write_format
from stillery.sampling.models import resolve_model
from stillery.stages.sft import fine_tune
from stillery.training.checkpoints import count_parameters, publish_checkpoint
from stillery.training.loop import trl_arguments

STUDENT = "embedded:student"
# In float32, of logits.
MOST_APART = 1e-2
_TRL = {
    "per_device_train_batch_size": 2,
    "learning_rate": 3e-3,
    "adam_beta2": 0.95,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 5,
    "logging_steps": 1,
    "max_length": 768,
}


def sft(device: str) -> Figures:
    """The train stage whole, with Ray Train: loss falls, rows are packed, the checkpoint is the student's size. Before
    that, that packed rows do not see each other."""
    from stillery.cluster.connect import connect

    apart = _packed_difference(device)
    demand(apart <= MOST_APART, f"packed rows see each other: logits differ by {apart:.2g}")
    epochs, batch = 8, _TRL["per_device_train_batch_size"]
    config = _config(device, num_train_epochs=epochs, packing=True)
    connect(ClusterConfig(address="local"))
    with tempfile.TemporaryDirectory() as folder:
        root = Folder(folder)
        samples = training_samples(16, validated=2)
        (root / "samples").write_rows("samples-00000.parquet", samples, Sample)
        summary = fine_tune(config, seed=0, now=datetime.datetime.now(), samples=root / "samples", out=root / "out")
        history = _read_history(root / "out")
    losses = [row["loss"] for row in history if "loss" in row]
    steps = max(row["step"] for row in history)
    unpacked = epochs * -(-summary["train"] // batch)
    demand(steps < unpacked, f"{steps} steps, and {unpacked} without packing: nothing was packed")
    fall = _demand_fall(losses)
    expected = count_parameters(Folder(resolve_model(STUDENT)))
    demand(summary["num_parameters"] == expected, f"the checkpoint has {summary['num_parameters']} parameters")
    return {
        "first loss": losses[0],
        "last loss": losses[-1],
        "fell by": fall,
        "validation loss": summary["best_eval_loss"],
        "steps": steps,
        "without packing": unpacked,
        "packed logits' difference": apart,
    }


def fsdp(device: str) -> Figures:
    """TRL's trainer with `sft.trl.fsdp: true` in a process group of one: parameters are sharded, loss falls, and what
    the train stage copies of the checkpoint is the model that was trained."""
    import torch
    from torch.distributed.tensor import DTensor
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer
    from trl.trainer.utils import ensure_master_addr_port

    # What Ray Train sets for its workers.
    os.environ.update({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"})
    ensure_master_addr_port()
    # Accelerate shards on accelerators only.
    sharded = {"fsdp": True} if device == "cuda" else {}
    config = _config(device, num_train_epochs=4, per_device_train_batch_size=8, **sharded)
    settings = {"use_gpu": config.use_gpu, "seed": 0, "trl": config.trl}
    student = resolve_model(STUDENT)
    with tempfile.TemporaryDirectory() as folder:
        rows, conversation, end = prepared_rows(config, Path(folder), per_task=8)
        arguments = SFTConfig(output_dir=f"{folder}/checkpoints", **trl_arguments(settings, has_validation=False))
        trainer = SFTTrainer(
            model=student,
            args=arguments,
            train_dataset=rows,
            processing_class=AutoTokenizer.from_pretrained(student),
        )
        trainer.train()
        parameters: dict[str, Any] = dict(trainer.model.named_parameters())
        num_sharded = sum(isinstance(parameter, DTensor) for parameter in parameters.values())
        if device == "cuda":
            demand(trainer.accelerator.is_fsdp2, "Accelerate did not take FSDP2")
            demand(num_sharded == len(parameters), f"{num_sharded} of {len(parameters)} parameters are sharded")
        checkpoint = Path(folder) / "student"
        saved_in = Folder(str(arguments.output_dir)) / f"checkpoint-{trainer.state.global_step}"
        describe = functools.partial(write_format, conversation=conversation, end=end)
        publish_checkpoint(saved_in, Folder(str(checkpoint)), describe=describe)
        saved: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
        difference = 0.0
        for name, parameter in saved.named_parameters():
            trained = parameters[name].full_tensor() if num_sharded else parameters[name]
            difference = max(difference, float((trained.detach().cpu().float() - parameter).abs().max()))
    demand(difference == 0, f"the checkpoint differs from the trained model by {difference:.2g}")
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    figures: Figures = {"first loss": losses[0], "last loss": losses[-1], "fell by": _demand_fall(losses)}
    torch.distributed.destroy_process_group()
    return figures | {"sharded parameters": num_sharded, "checkpoint's difference": difference}


def _config(device: str, **trl: Any) -> SftConfig:
    precision = {"bf16": True} if device == "cuda" else {}
    return SftConfig(student=STUDENT, use_gpu=device == "cuda", trl={**_TRL, **precision, **trl})


def _packed_difference(device: str) -> float:
    """The largest difference of a row's logits between a batch that TRL packs and the row alone."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    path = resolve_model(STUDENT)
    tokenizer = AutoTokenizer.from_pretrained(path)
    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).to(device)
    rows = [tokenizer(sample.completion[0].content)["input_ids"] for sample in training_samples(1)]
    pack = DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id, padding_free=True)
    batch = pack([{"input_ids": row, "labels": row} for row in rows])
    on_device = {name: value.to(device) if torch.is_tensor(value) else value for name, value in batch.items()}
    with torch.inference_mode():
        packed = model(**on_device, use_cache=False).logits[0].split([len(row) for row in rows])
        alone = [model(torch.tensor([row], device=device), use_cache=False).logits[0] for row in rows]
    return max(float((one - other).abs().max()) for one, other in zip(packed, alone, strict=True))


def _demand_fall(losses: list[float]) -> float:
    fall = fall_of(losses)
    demand(fall >= LEAST_FALL, f"the loss fell by {fall:.2f} of itself, not by {LEAST_FALL:g}")
    return fall


def _read_history(out: Folder) -> list[dict[str, Any]]:
    return json.loads(out.read_bytes("history.json"))
