"""Plans that cannot fit are refused, and each remedy named in a refusal is sufficient."""

import dataclasses
import re
from typing import Any

import pytest
import yaml
from plan_shapes import LARGE, MIDDLE, TINY

from stillery.config import Config, EngineConfig, PlanConfig, SftConfig
from stillery.plan.architecture import Architecture
from stillery.plan.fitting import cluster_problems, engine_problem, splits, training_problem
from stillery.plan.memory import GIB, engine_memory, kv_bytes_per_token, training_memory

H100 = PlanConfig(gpu_memory_gib=79.6)
RTX_4090 = PlanConfig(gpu_memory_gib=24)


def remedies(problem: str) -> list[dict[str, Any]]:
    """The settings of each remedy, as a user would copy them."""
    said = problem.partition("What would: ")[2]
    found: list[dict[str, Any]] = []
    for remedy in said.split("; or "):
        pairs = re.findall(r"(?:teacher|sft)\.([\w.]+)=(\S+)", remedy)
        found.append({key: yaml.safe_load(value) for key, value in pairs})
    return found


def with_engine(engine: EngineConfig, settings: dict[str, Any]) -> EngineConfig:
    table = {key.removeprefix("engine."): v for key, v in settings.items() if key.startswith("engine.")}
    own = {key: v for key, v in settings.items() if "." not in key}
    return dataclasses.replace(engine, engine={**engine.engine, **table}, **own)


def with_sft(sft: SftConfig, settings: dict[str, Any]) -> SftConfig:
    trl = {key.removeprefix("trl."): v for key, v in settings.items() if key.startswith("trl.")}
    if "model_init_kwargs.dtype" in trl:
        trl["model_init_kwargs"] = {"dtype": trl.pop("model_init_kwargs.dtype")}
    own = {key: v for key, v in settings.items() if "." not in key}
    return dataclasses.replace(sft, trl={**sft.trl, **trl}, **own)


def test_a_32b_model_needs_two_80_gb_gpus_for_its_whole_context() -> None:
    one = EngineConfig(num_gpus=1, engine={"max_num_seqs": 64})
    problem = engine_problem("teacher", LARGE, one, H100)
    assert problem is not None
    assert "61.0 GiB of weights" in problem
    found = remedies(problem)
    assert {"engine.tensor_parallel_size": 2, "num_gpus": 2} in found
    for remedy in found:
        assert engine_problem("teacher", LARGE, with_engine(one, remedy), H100) is None, remedy


@pytest.mark.parametrize(("model", "size"), [(LARGE, 5), (MIDDLE, 7), (LARGE, 3), (MIDDLE, 8)])
def test_a_model_that_does_not_split_evenly_is_refused_and_no_such_size_is_offered(
    model: Architecture, size: int
) -> None:
    """vLLM's own assertions: query heads and layers are shared out, key-value heads shared out or copied."""
    engine = EngineConfig(num_gpus=size, engine={"tensor_parallel_size": size, "max_num_seqs": 64})
    for plan in (H100, PlanConfig()):
        problem = engine_problem("teacher", model, engine, plan)
        assert problem is not None
        assert f"cannot be split over {size} GPUs" in problem
        (remedy,) = remedies(problem)
        assert engine_problem("teacher", model, with_engine(engine, remedy), plan) is None
    assert [s for s in range(1, 9) if splits(LARGE, s)] == [1, 2, 4, 8]
    assert [s for s in range(1, 9) if splits(MIDDLE, s)] == [1, 2, 4]


def test_more_gpus_are_offered_only_where_they_share_the_model_evenly() -> None:
    """On 20 GiB, five GPUs would hold what four cannot, but 40 heads and 8 key-value heads do not go by five."""
    four = EngineConfig(num_gpus=4, engine={"tensor_parallel_size": 4, "max_num_seqs": 64, "max_model_len": 20_000})
    small = PlanConfig(gpu_memory_gib=20)
    five = {**four.engine, "tensor_parallel_size": 5}
    assert engine_memory(LARGE, five, small).fits
    problem = engine_problem("teacher", LARGE, four, small)
    assert problem is not None
    assert {"engine.tensor_parallel_size": 8, "num_gpus": 8} in remedies(problem)


def test_a_32b_model_on_a_consumer_gpu_is_offered_nothing_that_does_not_work() -> None:
    one = EngineConfig(num_gpus=1)
    alone = dataclasses.replace(RTX_4090, gpus_per_node=1)
    problem = engine_problem("teacher", LARGE, one, alone)
    assert problem is not None
    assert problem.endswith("take larger GPUs")


def test_a_7b_model_fits_a_24_gb_gpu_once_few_sequences_share_it() -> None:
    one = EngineConfig(num_gpus=1, engine={"max_model_len": 8192})
    problem = engine_problem("teacher", MIDDLE, one, RTX_4090)
    assert problem is None or all(
        engine_problem("teacher", MIDDLE, with_engine(one, remedy), RTX_4090) is None for remedy in remedies(problem)
    )
    few = with_engine(one, {"engine.max_num_seqs": 64, "engine.max_num_batched_tokens": 4096})
    assert engine_problem("teacher", MIDDLE, few, RTX_4090) is None


def test_what_runs_on_a_cpu_or_on_unknown_gpus_is_not_refused() -> None:
    assert engine_problem("teacher", LARGE, EngineConfig(), H100) is None
    assert engine_problem("teacher", LARGE, EngineConfig(num_gpus=1), PlanConfig()) is None
    assert training_problem(LARGE, SftConfig(), H100) is None


def test_training_7b_in_float32_on_one_gpu_is_refused_and_every_remedy_is_enough() -> None:
    sft = SftConfig(use_gpu=True, trl={"max_length": 4096, "per_device_train_batch_size": 1})
    problem = training_problem(MIDDLE, sft, H100)
    assert problem is not None
    found = remedies(problem)
    assert any(remedy.keys() == {"trl.fsdp", "num_workers"} for remedy in found)
    for remedy in found:
        assert training_problem(MIDDLE, with_sft(sft, remedy), H100) is None, remedy


def test_too_large_a_batch_is_halved_and_its_steps_accumulated() -> None:
    sft = SftConfig(use_gpu=True, trl={"max_length": 8192, "per_device_train_batch_size": 64})
    problem = training_problem(TINY, sft, PlanConfig(gpu_memory_gib=8))
    assert problem is not None
    (batch,) = [r for r in remedies(problem) if "trl.per_device_train_batch_size" in r]
    assert batch["trl.per_device_train_batch_size"] * batch["trl.gradient_accumulation_steps"] == 64
    assert training_problem(TINY, with_sft(sft, batch), PlanConfig(gpu_memory_gib=8)) is None


def test_where_no_single_change_is_enough_they_are_combined() -> None:
    sft = SftConfig(use_gpu=True, trl={"max_length": 16384, "gradient_checkpointing": False})
    problem = training_problem(MIDDLE, sft, H100)
    assert problem is not None
    (remedy,) = remedies(problem)
    assert len(remedy) > 2
    assert training_problem(MIDDLE, with_sft(sft, remedy), H100) is None


def test_a_mixture_of_experts_cannot_be_sized_for_training() -> None:
    mixture = dataclasses.replace(TINY, is_mixture=True)
    assert "mixture of experts" in str(training_problem(mixture, SftConfig(use_gpu=True), H100))


def test_a_gpu_holds_at_least_one_head_however_many_share_the_model() -> None:
    sizes = {tp: kv_bytes_per_token(LARGE, {"tensor_parallel_size": tp}) for tp in (1, 8, 16)}
    assert sizes[1] == 64 * 2 * 8 * 128 * 2
    assert sizes[8] == sizes[1] / 8
    assert sizes[16] == sizes[8]
    assert kv_bytes_per_token(LARGE, {"kv_cache_dtype": "fp8"}) == sizes[1] / 2
    assert kv_bytes_per_token(LARGE, {"pipeline_parallel_size": 4}) == sizes[1] / 4


def test_quantized_weights_leave_the_embeddings_alone() -> None:
    whole = engine_memory(TINY, {}, H100).weights
    assert whole == 2 * TINY.num_parameters
    assert engine_memory(TINY, {"quantization": "fp8"}, H100).weights == 2 * 200_000 + 800_000


def test_sharding_divides_the_states_and_data_parallelism_adds_buckets() -> None:
    def memory(**settings: Any) -> tuple[float, float, float]:
        trl = settings.pop("trl", {})
        found = training_memory(TINY, SftConfig(use_gpu=True, trl=trl, **settings), H100)
        return found.weights, found.gradients, found.optimizer

    millions = TINY.num_parameters
    # The embeddings and two of the four layers.
    gathered = 4 * (200_000 + 2 * 800_000 / 4)
    assert memory() == (6 * millions, 4 * millions, 8 * millions)
    assert memory(num_workers=4) == (6 * millions, 8 * millions, 8 * millions)
    assert memory(num_workers=4, trl={"fsdp": True}) == (millions + gathered, millions, 2 * millions)
    half = {"model_init_kwargs": {"dtype": "bfloat16"}}
    assert memory(trl=half) == (2 * millions, 2 * millions, 4 * millions)
    assert memory(trl={"optim": "adamw_bnb_8bit"})[2] == 2 * millions
    assert training_memory(TINY, SftConfig(use_gpu=True), H100).reserve == 2 * GIB


def test_stages_beyond_the_cluster_and_replicas_beyond_a_node_are_named() -> None:
    config = Config()
    config.plan = PlanConfig(num_gpus=8, gpus_per_node=4)
    config.teacher.num_gpus = 8
    problems = list(cluster_problems(config, {"generate": 16, "sft": 8}))
    assert len(problems) == 2
    assert problems[0].startswith("generate: takes 16 GPUs, and plan.num_gpus is 8")
    assert "teacher: one replica takes 8 GPUs of one node, and plan.gpus_per_node is 4" in problems[1]


@pytest.mark.parametrize("tp", [3, 5])
def test_tensor_parallel_sizes_divide_the_heads(tp: int) -> None:
    """40 heads are divided by 5 and not by 3."""
    small = PlanConfig(gpu_memory_gib=79.6 * 2 / tp)
    problem = engine_problem("teacher", LARGE, EngineConfig(num_gpus=1), small)
    assert problem is not None
    sizes = [r["engine.tensor_parallel_size"] for r in remedies(problem) if "engine.tensor_parallel_size" in r]
    assert sizes
    assert all(40 % size == 0 for size in sizes)
