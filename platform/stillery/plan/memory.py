"""Memory of one GPU, in bytes: of an engine that samples, and of a worker that trains.

Weights, key-value cache, gradients, optimizer states and saved activations follow from the architecture; the engine's
working memory is estimated, and CUDA's own memory is `plan.reserve_gib`.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stillery.config import PlanConfig, SftConfig
from stillery.plan.architecture import DTYPE_BYTES, Architecture

GIB = 2**30

# Defaults of vLLM 0.29 (CacheConfig, EngineArgs) and of TRL 1.16 and transformers 5 (SFTConfig).
GPU_MEMORY_UTILIZATION = 0.92
LARGE_GPU_GIB = 70
TRAIN_BATCH = 8
OPTIMIZER = "adamw_torch"
# peft's default.
LORA_RANK = 8
# Bytes per value in vLLM's formats: the number and its share of the scales. Embeddings are not quantized.
QUANTIZED_BYTES = {"fp8": 1.0, "awq": 0.56, "gptq": 0.56, "awq_marlin": 0.56, "gptq_marlin": 0.56, "bitsandbytes": 0.56}
# TRL's loss projects this many tokens onto this much of the vocabulary at once (trl.kernels.chunked_logprob).
LOSS_TILE_TOKENS, LOSS_TILE_VOCABULARY = 4096, 32768


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """One GPU of an engine, in bytes. `kv_tokens` is the capacity of the cache in tokens, `sequence_tokens` the maximum
    of one sequence; with less capacity than that vLLM does not start."""

    weights: float
    working: float
    reserve: float
    kv_bytes_per_token: float
    kv_cache: float
    sequence_tokens: int

    @property
    def kv_tokens(self) -> int:
        return max(0, int(self.kv_cache / self.kv_bytes_per_token))

    @property
    def fits(self) -> bool:
        return self.kv_tokens >= self.sequence_tokens


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """One training worker, in bytes."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    loss: float
    reserve: float

    @property
    def total(self) -> float:
        return sum(dataclasses.astuple(self))


def engine_memory(model: Architecture, engine: Mapping[str, Any], plan: PlanConfig) -> EngineMemory:
    """One GPU of a replica with the EngineArgs `engine`. Needs plan.gpu_memory_gib."""
    assert plan.gpu_memory_gib is not None
    tensor, pipeline = (int(engine.get(f"{kind}_parallel_size", 1)) for kind in ("tensor", "pipeline"))
    weights = engine_weights(model, engine) / tensor / pipeline
    is_large = plan.gpu_memory_gib >= LARGE_GPU_GIB
    batched = int(engine.get("max_num_batched_tokens") or (16384 if is_large else 8192))
    sequences = int(engine.get("max_num_seqs") or (1024 if is_large else 256))
    # The widest layer's input and its two halves, then logits and their sorted copy, in float32, of one step.
    hidden = batched * (2 * model.hidden_size + 2 * model.intermediate_size / tensor) * 2
    working = hidden + sequences * model.vocab_size * 4 * 2
    reserve = plan.reserve_gib * GIB
    usable = float(engine.get("gpu_memory_utilization", GPU_MEMORY_UTILIZATION)) * plan.gpu_memory_gib * GIB
    return EngineMemory(
        weights=weights,
        working=working,
        reserve=reserve,
        kv_bytes_per_token=kv_bytes_per_token(model, engine),
        kv_cache=max(0.0, usable - weights - working - reserve),
        sequence_tokens=int(engine.get("max_model_len") or model.max_positions),
    )


def engine_weights(model: Architecture, engine: Mapping[str, Any]) -> float:
    """The weights of a whole replica as vLLM loads them."""
    size = engine_dtype_bytes(model, engine)
    inner = QUANTIZED_BYTES.get(str(engine.get("quantization")), float(size))
    return model.num_embedding_parameters * size + (model.num_parameters - model.num_embedding_parameters) * inner


def engine_dtype_bytes(model: Architecture, engine: Mapping[str, Any]) -> int:
    """Bytes per weight: `auto` runs float32 weights in half precision."""
    return DTYPE_BYTES.get(str(engine.get("dtype", "auto")), 2 if model.dtype == "float32" else model.dtype_bytes)


def kv_bytes_per_token(model: Architecture, engine: Mapping[str, Any]) -> float:
    """The size of one token in the cache of one GPU: a GPU holds at least one key-value head of its layers."""
    kind = str(engine.get("kv_cache_dtype", "auto"))
    size = 1 if kind.startswith("fp8") else engine_dtype_bytes(model, engine)
    layers = math.ceil(model.num_layers / int(engine.get("pipeline_parallel_size", 1)))
    heads = max(1, model.kv_heads // int(engine.get("tensor_parallel_size", 1)))
    return layers * model.kv_values_per_token / model.kv_heads * heads * size


def training_memory(model: Architecture, sft: SftConfig, plan: PlanConfig) -> TrainingMemory:
    """One worker of fine-tuning with sft's settings; on a CPU, of host memory. With an adapter, gradients and optimizer
    states are the adapter's alone."""
    trl = sft.trl
    size = weight_bytes(model, trl)
    shards = sft.num_workers if trl.get("fsdp") else 1
    computes_in_half = sft.use_gpu and bool(trl.get("bf16", not trl.get("fp16", False)) or trl.get("fp16"))
    has_copies = computes_in_half and size == 4
    parameters = model.num_parameters / shards
    # Automatic mixed precision keeps a half-precision copy of each weight for the backward pass. Data parallelism
    # reduces gradients in buckets of their own, next to them.
    copies = 2 * parameters if has_copies and shards == 1 else gathered_bytes(model, size) if shards > 1 else 0.0
    # peft keeps an adapter in float32.
    adapter = None if sft.peft is None else adapter_parameters(model, rank=int(sft.peft.get("r", LORA_RANK)))
    trained, width = (parameters, size) if adapter is None else (adapter, 4)
    buckets = width * trained if sft.num_workers > 1 and shards == 1 else 0.0
    weights = size * parameters + copies
    if sft.quantize is not None:
        inner = model.num_parameters - model.num_embedding_parameters
        weights = 2.0 * model.num_embedding_parameters + QUANTIZED_BYTES["bitsandbytes"] * inner
    tokens = int(trl.get("per_device_train_batch_size", TRAIN_BATCH)) * max_length(model, trl)
    return TrainingMemory(
        weights=weights + (0.0 if adapter is None else 4.0 * adapter),
        gradients=width * trained + buckets,
        optimizer=optimizer_bytes_per_parameter(str(trl.get("optim", OPTIMIZER)), width) * trained,
        activations=activation_bytes(
            model,
            tokens=tokens,
            computes_in_half=computes_in_half,
            is_checkpointed=bool(trl.get("gradient_checkpointing", sft.use_gpu)),
        ),
        loss=loss_bytes(model, tokens=tokens),
        reserve=plan.reserve_gib * GIB if sft.use_gpu else 0.0,
    )


def adapter_parameters(model: Architecture, *, rank: int) -> int:
    """The parameters of low-rank adapters on all linear layers except the head: for each, a matrix of inputs x rank and
    one of rank x outputs."""
    queries, keys = model.num_heads * model.head_dim, model.kv_heads * model.head_dim
    attention = 2 * (model.hidden_size + queries) + 2 * (model.hidden_size + keys)
    return model.num_layers * rank * (attention + 3 * (model.hidden_size + model.intermediate_size))


def gathered_bytes(model: Architecture, weight_size: int) -> float:
    """The temporarily gathered parameters of a sharded worker: the embeddings, and one layer while the next is
    fetched."""
    layers = model.num_parameters - model.num_embedding_parameters
    return weight_size * (model.num_embedding_parameters + 2 * layers / model.num_layers)


def weight_bytes(model: Architecture, trl: Mapping[str, Any]) -> int:
    """Bytes per weight in training: TRL loads in float32 by default."""
    dtype = str((trl.get("model_init_kwargs") or {}).get("dtype", "float32"))
    return DTYPE_BYTES.get(dtype, model.dtype_bytes)


def max_length(model: Architecture, trl: Mapping[str, Any]) -> int:
    """The maximum length of a training row."""
    limit = trl.get("max_length", 1024)
    return model.max_positions if limit is None else int(limit)


def optimizer_bytes_per_parameter(optimizer: str, weight_size: int) -> float:
    """AdamW keeps two moments in the dtype of the weights; the 8-bit ones one byte each; SGD and Adafactor hardly
    any."""
    if "8bit" in optimizer:
        return 2.0
    if optimizer.startswith(("sgd", "adafactor")):
        return 0.0
    return 2.0 * weight_size


def activation_bytes(model: Architecture, *, tokens: int, computes_in_half: bool, is_checkpointed: bool) -> float:
    """The activations kept for the backward pass, and the gradients of one layer's largest values.

    With gradient checkpointing that is the input of every layer, and the whole of one layer at a time.
    """
    layer = saved_bytes_of_layer(model, tokens=tokens, computes_in_half=computes_in_half)
    inputs = tokens * model.hidden_size * 4.0
    saved = model.num_layers * inputs + layer if is_checkpointed else model.num_layers * layer
    last_norm = 2 * inputs
    widest = 3.0 * tokens * model.intermediate_size * (2 if computes_in_half else 4)
    return saved + last_norm + widest


def saved_bytes_of_layer(model: Architecture, *, tokens: int, computes_in_half: bool) -> float:
    """What one layer of transformers' Qwen or Llama saves for the backward pass, with fused attention.

    Norms keep their input and its normed form in float32; attention keeps queries, keys, values and its output; the
    feed-forward network keeps its gate before and after the activation, the other branch, and their product. Mixed
    precision adds the input of each linear layer, cast for every one of them, and halves the rest.
    """
    hidden, inner = model.hidden_size, model.intermediate_size
    queries, keys = model.num_heads * model.head_dim, model.kv_heads * model.head_dim
    normed = queries + keys if model.has_qk_norm else 0
    if computes_in_half:
        return tokens * (26.0 * hidden + 4 * queries + 4 * keys + 6 * normed + 8 * inner)
    return tokens * 4.0 * (6 * hidden + 2 * queries + 2 * keys + 2 * normed + 4 * inner)


def loss_bytes(model: Architecture, *, tokens: int) -> float:
    """TRL's loss: gradients of the last hidden states and of the output projection, and two tiles of logits."""
    tile = min(tokens, LOSS_TILE_TOKENS) * min(model.vocab_size, LOSS_TILE_VOCABULARY)
    return 4.0 * (tokens * model.hidden_size + model.vocab_size * model.hidden_size + 2 * tile)
