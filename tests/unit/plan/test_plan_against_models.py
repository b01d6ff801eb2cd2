"""Figures that the plan computes from config.json, against real models: files, caches, optimizers and what autograd
saves."""

import json
from pathlib import Path
from typing import Any

import pytest

from stillery.config import PlanConfig, SftConfig
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.plan.architecture import Architecture, read_architecture
from stillery.plan.memory import (
    LORA_RANK,
    adapter_parameters,
    kv_bytes_per_token,
    saved_bytes_of_layer,
    training_memory,
)
from stillery.plan.published import NUM_PARAMETERS
from stillery.sampling.models import resolve_model
from stillery.training.checkpoints import count_parameters

NAMES = ("embedded:student", "embedded:teacher")


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def read(name: str) -> Architecture:
    return read_architecture(name, key="sft.student")


def load(name: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(resolve_model(name), dtype=torch.float32)


def test_parameters_and_bytes_are_those_of_the_files(name: str) -> None:
    folder = Path(resolve_model(name))
    model = read(name)
    assert model.num_parameters == count_parameters(Folder(str(folder)))
    with (folder / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
    assert model.num_parameters * model.dtype_bytes == max(ends)


def test_an_adapter_has_the_parameters_that_peft_gives_it(name: str) -> None:
    from peft import get_peft_model

    from stillery.training.adapters import lora_config

    for table in ({}, {"r": 16}):
        trained, _ = get_peft_model(load(name), lora_config(table)).get_nb_trainable_parameters()
        assert adapter_parameters(read(name), rank=table.get("r", LORA_RANK)) == trained


def test_an_adapter_takes_less_than_all_weights(name: str) -> None:
    whole = training_memory(read(name), SftConfig(), PlanConfig())
    adapted = training_memory(read(name), SftConfig(peft={}), PlanConfig())
    assert adapted.gradients < whole.gradients / 5
    assert adapted.optimizer < whole.optimizer / 5
    assert adapted.activations == whole.activations


@pytest.mark.parametrize("published", sorted(NUM_PARAMETERS))
def test_published_shapes_have_the_parameters_that_their_cards_state(published: str) -> None:
    model = read_architecture(published, key="teacher.model")
    assert model.num_parameters / 1e9 == pytest.approx(NUM_PARAMETERS[published], rel=0.015)


def test_the_cache_is_what_vllm_calculates_for_a_layer(name: str) -> None:
    import torch
    from vllm.v1.kv_cache_interface import FullAttentionSpec

    model = read(name)
    for dtype, size in ((torch.bfloat16, "bfloat16"), (torch.float32, "float32")):
        spec = FullAttentionSpec(block_size=16, num_kv_heads=model.kv_heads, head_size=model.head_dim, dtype=dtype)
        expected = spec.page_size_bytes / 16 * model.num_layers
        assert kv_bytes_per_token(model, {"dtype": size}) == expected


@pytest.mark.slow
def test_optimizer_and_gradients_are_what_adamw_holds(name: str) -> None:
    import torch

    loaded = load(name)
    optimizer = torch.optim.AdamW(loaded.parameters())
    loaded(input_ids=torch.arange(8)[None], labels=torch.arange(8)[None]).loss.backward()
    optimizer.step()
    moments = [v for state in optimizer.state.values() for v in state.values() if v.dim() > 0]
    planned = training_memory(read(name), SftConfig(student=name), PlanConfig(reserve_gib=0.0))
    assert planned.optimizer == sum(v.numel() * v.element_size() for v in moments)
    assert planned.gradients == sum(p.grad.numel() * p.grad.element_size() for p in loaded.parameters())
    assert planned.weights == sum(p.numel() * p.element_size() for p in loaded.parameters())


@pytest.mark.parametrize("in_half", [False, True])
def test_a_layer_saves_for_the_backward_pass_what_the_plan_says(name: str, in_half: bool) -> None:
    """The difference that one layer more makes, so that embedding and last norm do not count."""
    # A number that is no side of a weight: weights are told from activations by their shape.
    tokens = 48
    measured = _saved(name, 3, tokens, in_half=in_half) - _saved(name, 2, tokens, in_half=in_half)
    assert saved_bytes_of_layer(read(name), tokens=tokens, computes_in_half=in_half) == pytest.approx(
        measured, rel=0.02
    )


def _saved(name: str, num_layers: int, tokens: int, *, in_half: bool) -> int:
    """Bytes that autograd keeps after a forward pass of the first layers, weights and their casts left out."""
    import torch

    model = load(name).train()
    model.model.layers = model.model.layers[:num_layers]
    weights = {tuple(p.shape) for p in model.parameters()} | {tuple(p.shape)[::-1] for p in model.parameters()}
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=in_half),
    ):
        # The result is held until the sum is taken, or the graph and what it keeps would be gone.
        result = model.model(input_ids=torch.arange(tokens)[None], use_cache=False)
    storages = {tensor.untyped_storage() for tensor in kept if tuple(tensor.shape) not in weights}
    assert result is not None
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def test_a_given_config_file_wins_and_bad_ones_are_named(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text((Path(resolve_model("embedded:student")) / "config.json").read_text())
    assert read_architecture("some/model", key="k", model_config=file).num_parameters == read(NAMES[0]).num_parameters
    with pytest.raises(UserError, match="does not exist"):
        read_architecture("some/model", key="k", model_config=tmp_path / "none.json")
    file.write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        read_architecture("some/model", key="k", model_config=file)
    file.write_text('{"hidden_size": 3}')
    with pytest.raises(UserError, match="has no model_type"):
        read_architecture("some/model", key="k", model_config=file)
    file.write_text('{"model_type": "no_such_model"}')
    with pytest.raises(UserError, match="no causal language model of type 'no_such_model'"):
        read_architecture("some/model", key="k", model_config=file)


def test_a_hub_name_that_cannot_be_had_says_how_to_give_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"--model-config nobody/nothing=FILE"):
        read_architecture("nobody/nothing", key="teacher.model")
