"""The arguments of TRL's trainers: our defaults, overlaid with the config's table `refine.trl`, and its reporters."""

from collections.abc import Mapping
from typing import Any

from stillery.training.precision import cpu_precision
from stillery.training.reporting import reporting_arguments


def grpo_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """GRPOConfig's arguments. Rewards are not divided by their group's standard deviation: where all of a group are
    right, that would scale a small structural difference up to the size of right against wrong."""
    defaults: dict[str, Any] = {
        "num_generations": config["num_generations"],
        "max_completion_length": config["max_completion_length"],
        "temperature": config["temperature"],
        "scale_rewards": "none",
        # Above 0 the divergence from the initial model is measured, which costs a second model.
        "beta": 0.001,
    }
    return defaults | _colocated(config) | _shared(config)


def _colocated(config: Mapping[str, Any]) -> dict[str, Any]:
    """TRL's own vLLM, on GPUs."""
    if not config["use_gpu"] or config["rollouts"] != "vllm":
        return {}
    limit = config["engine"].get("max_model_len")
    return {"use_vllm": True, "vllm_mode": "colocate", "vllm_max_model_length": limit}


def distill_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """DistillationConfig's arguments. `beta` is its divergence: 1, its default, is the reverse KL."""
    defaults = {name: config[name] for name in ("max_completion_length", "temperature")}
    merged = _colocated(config) | defaults | _shared(config)
    loading = {"use_safetensors": True, "dtype": "bfloat16" if config["use_gpu"] else "float32"}
    return merged | {"teacher_model_init_kwargs": loading | (merged.get("teacher_model_init_kwargs") or {})}


def dpo_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """DPOConfig's arguments. Pairs that are too long are left out beforehand, never truncated."""
    return _shared(config) | {"max_length": None}


def _shared(config: Mapping[str, Any]) -> dict[str, Any]:
    """Checkpoints are saved at validations, which the callback controls."""
    defaults: dict[str, Any] = {"learning_rate": 1e-6, "lr_scheduler_type": "constant_with_warmup"}
    if not config["use_gpu"]:
        defaults |= {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "dataloader_pin_memory": False}
    merged = defaults | dict(config["trl"])
    if not config["use_gpu"]:
        merged = cpu_precision(merged)
    # A Hub repository with pickled weights alone is refused.
    loading = {"use_safetensors": True, **({} if config["use_gpu"] else {"dtype": "float32"})}
    merged["model_init_kwargs"] = loading | (merged.get("model_init_kwargs") or {})
    return merged | {
        "max_steps": config["steps"],
        "seed": config["seed"],
        "logging_steps": 1,
        "save_strategy": "no",
        "eval_strategy": "no",
        "disable_tqdm": True,
        **reporting_arguments(config),
    }


def batch_of(trl: Mapping[str, Any], *, num_workers: int) -> int:
    """The number of completions, or pairs, per step: those of one sampling where `generation_batch_size` is set."""
    if size := trl.get("generation_batch_size"):
        return int(size)
    per_device = int(trl.get("per_device_train_batch_size") or 8)
    times = trl.get("steps_per_generation") or trl.get("gradient_accumulation_steps") or 1
    return per_device * num_workers * int(times)
