"""One Ray Train worker: TRL's SFTTrainer on the rows in data/, reporting each checkpoint to Ray.

All workers of a node write their part of a checkpoint (random states, shards of model and optimizer) into one folder,
and the first of them reports it. The loop runs off the worker's main thread, so nothing in it may install signal
handlers.
"""

import logging
import time
from pathlib import Path
from typing import Any

from stillery.io.storage import Folder
from stillery.records import Split
from stillery.sampling.adapters import quiet_peft
from stillery.sampling.chat.lengths import max_length
from stillery.telemetry import logs
from stillery.telemetry import metrics as observe
from stillery.telemetry.bars import ProgressBar
from stillery.training.accuracy import (
    ACCURACY,
    LOSS,
    SCORE,
    accuracy_trainer,
    early_stopping,
    score_of,
    stopped_history,
)
from stillery.training.adapters import lora_config, quantization_config
from stillery.training.attention.transfer import MASSES, SOURCES, Transfer, transfer_trainer
from stillery.training.counts import BATCH
from stillery.training.data import keep_shards, open_shards
from stillery.training.distillation.columns import TOP_IDS, TOP_LOGPROBS
from stillery.training.distillation.loss import Distillation, distilling
from stillery.training.precision import cpu_precision
from stillery.training.reporting import live_callbacks, prompts_of, reporting_arguments
from stillery.training.scratch import bring_checkpoint, node_scratch, upload
from stillery.training.weights import weighted_rows, weighted_trainer

# transformers' default.
SAVE_STEPS = 500
# The metrics of a history row that a log line carries as numbers, and those that it shows.
_NUMBERS = ("loss", LOSS, ACCURACY, "learning_rate")
_SHOWN = ("loss", LOSS, ACCURACY, "attention_kl", "distill_kl", "learning_rate")


def train_loop(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Train from the latest checkpoint that Ray holds, else from the student. Returns the loss history."""
    # TRL imports peft.
    quiet_peft()
    import datasets
    import ray.train
    import torch
    import transformers
    from transformers import AutoTokenizer, PrinterCallback
    from trl import SFTConfig, SFTTrainer

    from stillery.sampling.models import resolve_model

    logs.add_fields(config["where"])
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    logging.getLogger("ray.train").setLevel(logging.WARNING)
    if not config["use_gpu"]:
        torch.set_num_threads(config["threads"])
    student = resolve_model(config["student"])
    with observe.working_for(config["observed"]), node_scratch(config["scratch"]) as scratch:
        table = trl_arguments(config, has_validation=config["has_validation"]) | reporting_arguments(config)
        # Whatever the number of workers under elastic training, a step takes the same number of rows.
        batch = table.get("per_device_train_batch_size", BATCH) * config["num_workers"]
        table["per_device_train_batch_size"] = batch // ray.train.get_context().get_world_size()
        arguments = SFTConfig(output_dir=str(scratch), **table)
        train, validation = _datasets(config, scratch)
        weight, attention, distill = config["mean_weight"], config["attention"], config["distill"]
        kind: type[Any] = SFTTrainer
        if weight is not None:
            arguments.dataset_kwargs = {"skip_prepare_dataset": True}
            packed = bool(arguments.packing if arguments.eval_packing is None else arguments.eval_packing)
            beside = [*([] if attention is None else (SOURCES, MASSES))]
            beside += [] if distill is None else (TOP_IDS, TOP_LOGPROBS)
            train = weighted_rows(train, arguments, packing=bool(arguments.packing), beside=beside)
            if validation is not None:
                validation = weighted_rows(validation, arguments, packing=packed, beside=beside)
            kind = weighted_trainer(mean_weight=weight)
            if attention is not None:
                kind = transfer_trainer(Transfer(**attention), mean_weight=weight)
            if distill is not None:
                kind = distilling(kind, Distillation(**distill))
        if config["accuracy"] is not None:
            kind = accuracy_trainer(kind, config)
        trainer: Any = kind(
            model=student,
            args=arguments,
            train_dataset=train,
            eval_dataset=validation,
            processing_class=AutoTokenizer.from_pretrained(student),
            callbacks=[_report_callback()],
            peft_config=None if config["peft"] is None else lora_config(config["peft"]),
            quantization_config=quantization_config(config["quantize"]),
        )
        trainer.remove_callback(PrinterCallback)
        for callback in live_callbacks(config, shown=prompts_of(validation)):
            trainer.add_callback(callback)
        if config["early_stopping"] is not None:
            trainer.add_callback(early_stopping(**config["early_stopping"]))
        checkpoint = ray.train.get_checkpoint()
        resumed = None if checkpoint is None else bring_checkpoint(checkpoint, scratch)
        if resumed is not None and config["early_stopping"] is not None and (ended := stopped_history(resumed)):
            return ended
        trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
        # Uploads read from the scratch folder, which is removed when the block ends.
        wait_for_uploads()
        return trainer.state.log_history


def _datasets(config: dict[str, Any], scratch: Path) -> tuple[Any, Any]:
    """The training rows and, if there are any, the validation rows, memory-mapped from the node's disk."""
    import ray.train
    from ray.train.collective import barrier

    splits = (Split.TRAIN, Split.VALIDATION) if config["has_validation"] else (Split.TRAIN,)
    if ray.train.get_context().get_local_rank() == 0:
        for split in splits:
            keep_shards(Folder(config["out"]) / "data", split, scratch / f"{split}.arrow")
    barrier()
    rows = [open_shards(scratch / f"{split}.arrow") for split in splits]
    return rows[0], rows[1] if config["has_validation"] else None


def wait_for_uploads() -> None:
    """Wait until every checkpoint that was reported is on storage."""
    import ray.train
    from ray.train import CheckpointConsistencyMode

    ray.train.get_all_reported_checkpoints(consistency_mode=CheckpointConsistencyMode.COMMITTED)


def trl_arguments(config: dict[str, Any], *, has_validation: bool) -> dict[str, Any]:
    """Our defaults, overlaid with the config's table. Checkpoints and validation coincide, so that each checkpoint has
    the loss that it is chosen by."""
    defaults: dict[str, Any] = {
        "save_strategy": "epoch",
        "eval_strategy": "epoch" if has_validation else "no",
        "logging_steps": 10,
        "max_length": max_length(config["trl"]),
        "disable_tqdm": True,
    }
    if not config["use_gpu"]:
        defaults |= {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "dataloader_pin_memory": False}
    merged = defaults | dict(config["trl"])
    if not config["use_gpu"]:
        merged = cpu_precision(merged)
    if str(merged.get("chat_template_path", "")).endswith((".jinja", ".j2")):
        # The rows are tokenized already, and a file of the driver's may be missing here.
        del merged["chat_template_path"]
    # A Hub repository with pickled weights alone is refused.
    loading = {"use_safetensors": True, **({} if config["use_gpu"] else {"dtype": "float32"})}
    merged["model_init_kwargs"] = loading | (merged.get("model_init_kwargs") or {})
    if has_validation:
        merged["eval_strategy"] = merged["save_strategy"]
        merged["eval_steps"] = merged.setdefault("save_steps", SAVE_STEPS)
    if config.get("early_stopping") is not None:
        merged = {"metric_for_best_model": "loss", **merged, "restore_callback_states_from_checkpoint": True}
    if not (merged.get("packing") or (has_validation and merged.get("eval_packing"))):
        # Every row fits: TRL need not scan them for truncation.
        merged["max_length"] = None
    return merged | {"seed": config["seed"], "report_to": "none"}


def complete_checkpoint(folder: Path, *, model: Any, processing_class: Any, **_: Any) -> None:
    """Write the config and tokenizer files into a saved checkpoint: FSDP's shards and adapters are saved without."""
    if not (folder / "config.json").exists():
        for described in (model.config, model.generation_config, processing_class):
            described.save_pretrained(folder)


def report_checkpoint(folder: Path, metrics: dict[str, Any]) -> None:
    """Report a checkpoint to Ray Train once all workers have saved their part.

    Ray's own callback copies all of a checkpoint on every rank. Here one worker of each node uploads the node's files,
    once, while training goes on, and every rank reports equally often, which Ray waits for.
    """
    import ray.train
    from ray.train import CheckpointUploadMode

    first_of_node = ray.train.get_context().get_local_rank() == 0
    checkpoint = ray.train.Checkpoint.from_directory(folder) if first_of_node else None
    # The node's disk holds at most two checkpoints: the previous one is deleted once this one is uploaded.
    wait_for_uploads()
    ray.train.report(
        metrics=metrics,
        checkpoint=checkpoint,
        checkpoint_upload_mode=CheckpointUploadMode.ASYNC,
        checkpoint_upload_fn=upload,
        delete_local_checkpoint_after_upload=True,
    )


def _report_callback() -> Any:
    """A Trainer callback that logs progress and reports each saved checkpoint to Ray Train."""
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

    class ReportCheckpoint(TrainerCallback):
        def on_train_begin(
            self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
        ) -> None:
            self._started, self._first = time.monotonic(), state.global_step

        def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
            metrics: dict[str, Any] = {"step": state.global_step}
            for row in state.log_history:
                metrics |= {key: row[key] for key in ("loss", LOSS, ACCURACY, "epoch") if key in row}
            if ACCURACY in metrics:
                metrics[SCORE] = score_of(metrics)
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            if state.is_world_process_zero:
                complete_checkpoint(folder, **kwargs)
            report_checkpoint(folder, metrics)

        def on_step_end(
            self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
        ) -> None:
            if state.is_world_process_zero:
                observe.progressed(state.global_step, of=state.max_steps)

        def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
            row = state.log_history[-1]
            shown = [f"{key} {row[key]:.4f}" for key in _SHOWN if key in row]
            if shown and state.is_world_process_zero:
                seconds = time.monotonic() - self._started
                numbers = {key: row[key] for key in _NUMBERS if key in row}
                logs.report(
                    ProgressBar(
                        "sft",
                        state.global_step,
                        state.max_steps,
                        seconds,
                        ", ".join(shown),
                        first=self._first,
                        unit="steps",
                        numbers=numbers,
                    )
                )

    return ReportCheckpoint()
