"""The problems of a plan, each with changes that would make it fit, found by trying them."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stillery.config import Config, EngineConfig, PlanConfig, SftConfig
from stillery.plan.architecture import Architecture
from stillery.plan.memory import GIB, TRAIN_BATCH, EngineMemory, engine_memory, max_length, training_memory

# Shorter contexts than this are not worth suggesting.
SHORTEST_CONTEXT = 1024


def engine_problem(section: str, model: Architecture, engine: EngineConfig, plan: PlanConfig) -> str | None:
    """Why a replica does not start on its GPUs and the changes that would make it start, or None."""
    if engine.num_gpus == 0:
        return None
    size = int(engine.engine.get("tensor_parallel_size", 1))
    if not splits(model, size):
        return (
            f"{section}: {model.name} cannot be split over {size} GPUs: vLLM shares out its {model.num_heads} heads of "
            f"attention, {model.kv_heads} key-value heads and layers of {model.intermediate_size:,} values evenly. "
            f"{_would_fit(_other_sizes(section, model, engine, plan, size))}"
        )
    if plan.gpu_memory_gib is None:
        return None
    memory = engine_memory(model, engine.engine, plan)
    if memory.fits:
        return None
    need = memory.sequence_tokens * memory.kv_bytes_per_token
    head = (
        f"{section}: {model.name} does not fit: a GPU of {plan.gpu_memory_gib:g} GiB holds "
        f"{_gib(memory.weights)} of weights, {_gib(memory.working + memory.reserve)} of working memory and "
        f"{_gib(memory.kv_cache)} of KV cache, and one sequence of {memory.sequence_tokens:,} tokens takes {_gib(need)}"
    )
    return f"{head}. {_would_fit(_engine_remedies(section, model, engine, plan, memory))}"


def splits(model: Architecture, size: int) -> bool:
    """Whether vLLM can split the model over this many GPUs. If there are too few key-value heads they are replicated
    evenly."""
    shares_heads = model.num_heads % size == 0 and (model.kv_heads % size == 0 or size % model.kv_heads == 0)
    # In a mixture of experts it distributes the experts, whose size differs.
    return shares_heads and (model.is_mixture or model.intermediate_size % size == 0)


def training_problem(model: Architecture, sft: SftConfig, plan: PlanConfig) -> str | None:
    """Why a training worker does not fit onto its GPU and the changes that would make it fit, or None."""
    if not sft.use_gpu or plan.gpu_memory_gib is None:
        return None
    if model.is_mixture:
        return f"sft: {model.name} is a mixture of experts, whose training this plan cannot size"
    memory = training_memory(model, sft, plan)
    limit = plan.gpu_memory_gib * GIB
    if memory.total <= limit:
        return None

    def fits(changed: SftConfig) -> bool:
        return training_memory(model, changed, plan).total <= limit

    head = (
        f"sft: {model.name} does not fit: a worker takes {_gib(memory.total)} of a GPU's {plan.gpu_memory_gib:g} GiB "
        f"({_gib(memory.weights)} weights, {_gib(memory.gradients)} gradients, {_gib(memory.optimizer)} optimizer, "
        f"{_gib(memory.activations)} activations, {_gib(memory.loss)} loss, {_gib(memory.reserve)} kept back)"
    )
    return f"{head}. {_would_fit(_training_remedies(model, sft, plan, fits))}"


def refinement_problem(model: Architecture, config: Config, memory: Mapping[str, float]) -> str | None:
    """Why a worker of the stage refine does not fit onto its GPU, or None; `memory` is in GiB by purpose."""
    refine, limit = config.refine, config.plan.gpu_memory_gib
    if not refine.use_gpu or limit is None or sum(memory.values()) <= limit:
        return None
    told = ", ".join(f"{size:.1f} {part}" for part, size in memory.items() if size)
    return (
        f"refine: {model.name} does not fit: a worker takes {sum(memory.values()):.1f} GiB of a GPU's {limit:g} GiB "
        f"({told}). What may: a smaller refine.trl.per_device_train_batch_size, a shorter "
        "refine.max_completion_length, refine.trl.gradient_checkpointing=true, refine.peft={}, a lower "
        "refine.trl.vllm_gpu_memory_utilization"
    )


def cluster_problems(config: Config, gpus: Mapping[str, float]) -> Iterator[str]:
    """Stages that take more GPUs than the plan has, and replicas that are larger than a node."""
    plan = config.plan
    for stage, count in gpus.items():
        if plan.num_gpus is not None and count > plan.num_gpus:
            yield f"{stage}: takes {count:g} GPUs, and plan.num_gpus is {plan.num_gpus}; lower its replicas or workers"
    engines: dict[str, EngineConfig] = {"evaluate": config.evaluate}
    if config.teacher.kind == "vllm":
        engines["teacher"] = config.teacher
    for section, engine in engines.items():
        if engine.num_gpus > plan.gpus_per_node:
            yield (
                f"{section}: one replica takes {engine.num_gpus:g} GPUs of one node, and plan.gpus_per_node is "
                f"{plan.gpus_per_node}; lower {section}.engine.tensor_parallel_size and {section}.num_gpus"
            )


def _other_sizes(section: str, model: Architecture, engine: EngineConfig, plan: PlanConfig, size: int) -> Iterator[str]:
    """The nearest tensor parallel size into which the model can be split and fits, where known."""
    pipeline = int(engine.engine.get("pipeline_parallel_size", 1))
    for other in sorted(range(1, plan.gpus_per_node // pipeline + 1), key=lambda other: abs(other - size)):
        table = {**engine.engine, "tensor_parallel_size": other}
        if splits(model, other) and (plan.gpu_memory_gib is None or engine_memory(model, table, plan).fits):
            yield f"{section}.engine.tensor_parallel_size={other} with {section}.num_gpus={other * pipeline}"
            return


def _engine_remedies(
    section: str, model: Architecture, engine: EngineConfig, plan: PlanConfig, memory: EngineMemory
) -> Iterator[str]:
    def fits(**changes: Any) -> bool:
        return engine_memory(model, {**engine.engine, **changes}, plan).fits

    pipeline = int(engine.engine.get("pipeline_parallel_size", 1))
    now = int(engine.engine.get("tensor_parallel_size", 1))
    for size in range(now + 1, plan.gpus_per_node // pipeline + 1):
        if splits(model, size) and fits(tensor_parallel_size=size):
            yield f"{section}.engine.tensor_parallel_size={size} with {section}.num_gpus={size * pipeline}"
            break
    shorter = memory.kv_tokens // 256 * 256
    if shorter >= SHORTEST_CONTEXT:
        yield f"{section}.engine.max_model_len={shorter}"
    fewer = {"max_num_seqs": 64, "max_num_batched_tokens": 2048}
    if fits(**fewer):
        yield " with ".join(f"{section}.engine.{key}={value}" for key, value in fewer.items())
    for key, value in (("kv_cache_dtype", "fp8"), ("quantization", "fp8")):
        if fits(**{key: value}):
            yield f"{section}.engine.{key}={value}"


def _training_remedies(
    model: Architecture, sft: SftConfig, plan: PlanConfig, fits: Callable[[SftConfig], bool]
) -> Iterator[str]:
    """Single changes that suffice; if none does, the largest set of them."""
    changes = [c for c in _training_changes(model, sft, plan, fits) if fits(_changed(sft, c))]
    yield from (_said(change) for change in changes)
    if changes:
        return
    together: dict[str, Any] = {"trl.gradient_checkpointing": True, "trl.per_device_train_batch_size": 1}
    for more in ({}, {"trl.model_init_kwargs.dtype": "bfloat16"}, {"trl.max_length": SHORTEST_CONTEXT}):
        together |= more
        for num_workers in _shardings(sft, plan):
            change = together | ({"trl.fsdp": True, "num_workers": num_workers} if num_workers > 1 else {})
            if fits(_changed(sft, change)):
                yield _said(change)
                return


def _training_changes(
    model: Architecture, sft: SftConfig, plan: PlanConfig, fits: Callable[[SftConfig], bool]
) -> Iterator[dict[str, Any]]:
    trl = sft.trl
    yield {"trl.gradient_checkpointing": True}
    batch = int(trl.get("per_device_train_batch_size", TRAIN_BATCH))
    steps = int(trl.get("gradient_accumulation_steps", 1))
    smaller = (batch // 2**halvings for halvings in range(1, batch.bit_length()))
    for size in smaller:
        change = {"trl.per_device_train_batch_size": size, "trl.gradient_accumulation_steps": steps * (batch // size)}
        if fits(_changed(sft, change)):
            yield change
            break
    for length in range(max_length(model, trl) // 512 * 512 - 512, SHORTEST_CONTEXT - 1, -512):
        if fits(_changed(sft, {"trl.max_length": length})):
            yield {"trl.max_length": length}
            break
    for num_workers in _shardings(sft, plan):
        change = {"trl.fsdp": True, "num_workers": num_workers}
        if num_workers > 1 and fits(_changed(sft, change)):
            yield change
            break
    yield {"trl.model_init_kwargs.dtype": "bfloat16"}


def _shardings(sft: SftConfig, plan: PlanConfig) -> list[int]:
    most = plan.num_gpus or 8 * plan.gpus_per_node
    return [n for n in range(sft.num_workers, most + 1) if n == sft.num_workers or n & (n - 1) == 0]


def _changed(sft: SftConfig, change: Mapping[str, Any]) -> SftConfig:
    """The section with dotted settings changed."""
    trl = dict(sft.trl)
    own: dict[str, Any] = {}
    for key, value in change.items():
        if key == "trl.model_init_kwargs.dtype":
            trl["model_init_kwargs"] = {**(trl.get("model_init_kwargs") or {}), "dtype": value}
        elif key.startswith("trl."):
            trl[key.removeprefix("trl.")] = value
        else:
            own[key] = value
    return dataclasses.replace(sft, trl=trl, **own)


def _said(change: Mapping[str, Any]) -> str:
    return " with ".join(f"sft.{key}={str(value).lower()}" for key, value in change.items())


def _would_fit(remedies: Iterator[str] | Sequence[str]) -> str:
    found = list(remedies)
    return f"What would: {'; or '.join(found)}" if found else "Nothing that this plan knows of would: take larger GPUs"


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
