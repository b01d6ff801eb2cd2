"""One Ray Train worker: one of TRL's trainers, starting from the student, with validation during training.

It runs off the worker's main thread, so nothing in it may install signal handlers.
"""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stillery.config import EngineConfig, RewardWeights, StopRules
from stillery.io.storage import Folder
from stillery.records import Split
from stillery.sampling.adapters import quiet_peft
from stillery.telemetry import logs
from stillery.telemetry import metrics as observe
from stillery.training.adapters import lora_config
from stillery.training.generation import CompletionSampler, Sampling, TransformersSampler
from stillery.training.loop import wait_for_uploads
from stillery.training.problems import StudentProblem, first_of
from stillery.training.refine.arguments import distill_arguments, dpo_arguments, grpo_arguments
from stillery.training.refine.data import PreferencePair
from stillery.training.refine.rollouts import TrlSampler, VllmSampler
from stillery.training.refine.stopping import STOPPED, validation_row
from stillery.training.reporting import live_callbacks
from stillery.training.scratch import bring_checkpoint, node_scratch
from stillery.verify.grading import set_limits

# The number of completions that transformers samples at once.
BATCH_SIZE = 64


def refine_loop(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Refine from the latest checkpoint that Ray holds, else from the student. Returns the history."""
    # TRL imports peft.
    quiet_peft()
    import datasets
    import ray.train
    import torch
    import transformers
    from transformers import PrinterCallback

    from stillery.sampling.models import resolve_model

    logs.add_fields(config["where"])
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    logging.getLogger("ray.train").setLevel(logging.WARNING)
    if not config["use_gpu"]:
        torch.set_num_threads(config["threads"])
    set_limits(**config["grading"])
    student = resolve_model(config["student"])
    checkpoint = ray.train.get_checkpoint()
    with observe.working_for(config["observed"]), node_scratch(config["scratch"]) as scratch:
        resumed = None if checkpoint is None else bring_checkpoint(checkpoint, scratch)
        if resumed is not None and (history := ended(resumed, steps=config["steps"])) is not None:
            return history
        trainer, sampler = TRAINERS[config["method"]](config, student, scratch)
        trainer.add_callback(_watch(config, trainer, sampler))
        trainer.remove_callback(PrinterCallback)
        for callback in live_callbacks(config):
            trainer.add_callback(callback)
        trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
        # Uploads read from the scratch folder, which is removed when the block ends.
        wait_for_uploads()
        return trainer.state.log_history


def ended(checkpoint: Path, *, steps: int) -> list[dict[str, Any]] | None:
    """The history of a checkpoint after which no step is left: the last step's, or one of an early stop; None if there
    are more steps."""
    state: dict[str, Any] = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    history: list[dict[str, Any]] = state["log_history"]
    is_over = state["global_step"] >= steps or any(STOPPED in row for row in history)
    return history if is_over else None


def _grpo_trainer(config: dict[str, Any], student: str, scratch: Path) -> tuple[Any, CompletionSampler]:
    from datasets import Dataset
    from trl import GRPOConfig

    from stillery.training.refine.grpo import RefinementTrainer, SummedReward
    from stillery.training.refine.rewards import load_parts

    tokenizer = _tokenizer(student)
    stops = _stops(student, tokenizer)
    trainer = RefinementTrainer(
        model=student,
        reward_funcs=SummedReward(
            load_parts(config["rewards"], RewardWeights(**config["reward_weights"])), stops=stops
        ),
        args=GRPOConfig(output_dir=str(scratch), **grpo_arguments(config)),
        train_dataset=Dataset.from_list(_problem_rows(config)),
        processing_class=tokenizer,
        peft_config=_peft(config),
    )
    return trainer, _attached(config, student, trainer)


def _distill_trainer(config: dict[str, Any], student: str, scratch: Path) -> tuple[Any, CompletionSampler]:
    from datasets import Dataset
    from trl import DistillationConfig

    from stillery.sampling.models import resolve_model
    from stillery.training.refine.distill import OnPolicyTrainer

    trainer = OnPolicyTrainer(
        model=student,
        teacher_model=resolve_model(config["teacher"]),
        args=DistillationConfig(output_dir=str(scratch), **distill_arguments(config)),
        train_dataset=Dataset.from_list([{"prompt": row["prompt"]} for row in _problem_rows(config)]),
        processing_class=_tokenizer(student),
        peft_config=_peft(config),
    )
    return trainer, _attached(config, student, trainer)


def _problem_rows(config: dict[str, Any]) -> list[dict[str, Any]]:
    problems = (Folder(config["out"]) / "data").read_rows(f"{Split.TRAIN}.parquet", StudentProblem)
    names = StudentProblem.__dataclass_fields__
    return [{name: getattr(p, name) for name in names} | {"prompt": p.rendered} for p in problems]


def _attached(config: dict[str, Any], student: str, trainer: Any) -> CompletionSampler:
    """The sampler of a trainer that makes completions, which it uses unless it is set to sample by transformers, or has
    started vLLM itself."""
    if config["use_gpu"] and config["rollouts"] == "vllm":
        return TrlSampler(trainer)
    sampler = _sampler(config, student, trainer, stops=_stops(student, trainer.processing_class))
    if config["rollouts"] == "vllm":
        trainer.sample_with(sampler)
    return sampler


def _dpo_trainer(config: dict[str, Any], student: str, scratch: Path) -> tuple[Any, CompletionSampler]:
    from datasets import Dataset
    from trl import DPOConfig

    from stillery.training.refine.dpo import PairTrainer

    tokenizer = _tokenizer(student)
    pairs = (Folder(config["out"]) / "data").read_rows("pairs.parquet", PreferencePair)
    ids = ("prompt_ids", "chosen_ids", "rejected_ids")
    trainer = PairTrainer(
        model=student,
        args=DPOConfig(output_dir=str(scratch), **dpo_arguments(config)),
        train_dataset=Dataset.from_list([{name: getattr(pair, name) for name in ids} for pair in pairs]),
        processing_class=tokenizer,
        peft_config=_peft(config),
    )
    return trainer, _sampler(config, student, trainer, stops=_stops(student, tokenizer))


# The trainer of a method and its sampler, from a worker's config, the student's path and a scratch folder.
TRAINERS = {"grpo": _grpo_trainer, "dpo": _dpo_trainer, "distill": _distill_trainer}


def _watch(config: dict[str, Any], trainer: Any, sampler: CompletionSampler) -> Any:
    from accelerate.utils import gather_object

    from stillery.training.refine.callback import Watch
    from stillery.training.validation import Validation

    out, tokenizer = Folder(config["out"]), trainer.processing_class
    problems = (out / "data").read_rows(f"{Split.VALIDATION}.parquet", StudentProblem)
    validation = Validation(
        first_of(problems, config["validation_problems"]),
        num_samples=config["validation_samples"],
        sampler=sampler,
        tokenizer=tokenizer,
        stops=_stops(config["student"], tokenizer),
    )
    gather: Callable[[list[Any]], list[Any]] = gather_object
    place = {"rank": trainer.accelerator.process_index, "world_size": trainer.accelerator.num_processes}
    return Watch(
        measure=lambda step: validation_row(validation.measure(f"{step}", **place, gather=gather)),
        take_rollouts=trainer.take_rollouts if config["method"] == "grpo" else list,
        every=config["validate_every"],
        rules=StopRules(**config["stop"]),
        out=out,
    )


def _peft(config: dict[str, Any]) -> Any:
    return None if config["peft"] is None else lora_config(config["peft"])


def _tokenizer(student: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(student)


def _stops(student: str, tokenizer: Any) -> tuple[int, ...]:
    from stillery.sampling.chat.checkpoint import stops_of

    return stops_of(student, tokenizer)


def _sampler(config: dict[str, Any], student: str, trainer: Any, *, stops: Sequence[int]) -> CompletionSampler:
    sampling = Sampling(
        temperature=config["temperature"],
        max_tokens=config["max_completion_length"],
        stop_token_ids=tuple(stops),
        seed=config["seed"],
    )

    def model() -> Any:
        return trainer.accelerator.unwrap_model(trainer.model)

    if config["rollouts"] == "transformers" or config["use_gpu"]:
        pad = trainer.processing_class.pad_token_id
        return TransformersSampler(sampling=sampling, model=model, pad_token_id=pad, batch_size=BATCH_SIZE)
    engine = EngineConfig(
        engine={"logprobs_mode": "processed_logprobs", **config["engine"]},
        threads=config["threads"],
        cpu_kv_cache_gb=config["cpu_kv_cache_gb"],
    )
    return VllmSampler(student, engine, sampling=sampling, model=model)
