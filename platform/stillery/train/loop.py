"""What one Ray Train worker does: TRL's SFTTrainer on the rows in data/, reporting each checkpoint to Ray.

It runs off the worker's main thread, so nothing in it may install signal handlers.
"""

import logging
import tempfile
from pathlib import Path
from typing import Any

from stillery import logs, observe
from stillery.engines.chat.conversation import Conversation, open_conversation
from stillery.records import Sample, from_table
from stillery.storage import Folder


def train_loop(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Train from the latest checkpoint that Ray holds, else from the student. Returns the loss history."""
    import datasets
    import ray.train
    import torch
    import transformers
    from transformers import AutoTokenizer, PrinterCallback
    from trl import SFTConfig, SFTTrainer

    from stillery.engines.models import resolve_model

    logs.carry(config["where"])
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    logging.getLogger("ray.train").setLevel(logging.WARNING)
    if not config["use_gpu"]:
        torch.set_num_threads(config["threads"])
    student = resolve_model(config["student"])
    data = Folder(config["data"])
    conversation = open_conversation(config["chat"], key="sft.student")
    of_prompt = config["trl"].get("completion_only_loss") is False
    validation = dataset_of(data, "validation.parquet", conversation, of_prompt=of_prompt)
    with observe.working_for(config["observed"]), tempfile.TemporaryDirectory() as scratch:
        arguments = SFTConfig(output_dir=scratch, **trl_arguments(config, has_validation=len(validation) > 0))
        trainer = SFTTrainer(
            model=student,
            args=arguments,
            train_dataset=dataset_of(data, "train.parquet", conversation, of_prompt=of_prompt),
            eval_dataset=validation if len(validation) > 0 else None,
            processing_class=AutoTokenizer.from_pretrained(student),
            callbacks=[_report_callback()],
        )
        trainer.remove_callback(PrinterCallback)
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            trainer.train()
        else:
            with checkpoint.as_directory() as folder:
                trainer.train(resume_from_checkpoint=folder)
        return trainer.state.log_history


def trl_arguments(config: dict[str, Any], *, has_validation: bool) -> dict[str, Any]:
    """Our defaults, overlaid with the config's table. Checkpoints and validation fall together, so that each
    checkpoint has the loss that it is chosen by."""
    defaults: dict[str, Any] = {
        "save_strategy": "epoch",
        "eval_strategy": "epoch" if has_validation else "no",
        "save_total_limit": 1,
        "logging_steps": 10,
        "max_length": 1024,
        "disable_tqdm": True,
    }
    if not config["use_gpu"]:
        defaults |= {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "dataloader_pin_memory": False}
    merged = defaults | dict(config["trl"])
    if str(merged.get("chat_template_path", "")).endswith((".jinja", ".j2")):
        # The rows are in tokens already, and a file of the driver's need not be here.
        del merged["chat_template_path"]
    # A Hub repository that has pickled weights alone is refused.
    loading = {"use_safetensors": True, **({} if config["use_gpu"] else {"dtype": "float32"})}
    merged["model_init_kwargs"] = loading | (merged.get("model_init_kwargs") or {})
    if has_validation:
        merged["eval_strategy"] = merged["save_strategy"]
        if "save_steps" in merged:
            merged["eval_steps"] = merged["save_steps"]
    return merged | {"seed": config["seed"], "report_to": "none"}


def dataset_of(data: Folder, name: str, conversation: Conversation, *, of_prompt: bool = False) -> Any:
    """Rows in tokens, as TRL takes them unchanged: the loss falls on the completion, and with `of_prompt` on all."""
    from datasets import Dataset

    rows = conversation.rows(from_table(data.read_table(name, Sample), Sample))
    return Dataset.from_list([{"input_ids": r.input_ids, "labels": r.labels(of_prompt=of_prompt)} for r in rows])


def _report_callback() -> Any:
    """A Trainer callback that tells of progress and hands each saved checkpoint to Ray Train.

    Ray's own copies all of a checkpoint on every rank. Here one worker of each node reports the node's files, once,
    and every rank reports equally often, which Ray waits for.
    """
    import ray.train
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

    class ReportCheckpoint(TrainerCallback):
        def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
            metrics: dict[str, Any] = {"step": state.global_step}
            for row in state.log_history:
                metrics |= {key: row[key] for key in ("loss", "eval_loss", "epoch") if key in row}
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            first_of_node = ray.train.get_context().get_local_rank() == 0
            checkpoint = ray.train.Checkpoint.from_directory(folder) if first_of_node else None
            ray.train.report(metrics=metrics, checkpoint=checkpoint)

        def on_step_end(
            self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
        ) -> None:
            if state.is_world_process_zero:
                observe.progressed(state.global_step, of=state.max_steps)

        def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
            row = state.log_history[-1]
            shown = [f"{key} {row[key]:.4f}" for key in ("loss", "eval_loss", "learning_rate") if key in row]
            if shown and state.is_world_process_zero:
                logs.say(f"sft: step {state.global_step}/{state.max_steps}, {', '.join(shown)}")

    return ReportCheckpoint()
