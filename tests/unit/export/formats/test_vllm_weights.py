"""Weights for vLLM: rounded to nearest, in the layout of compressed-tensors, with everything else unchanged."""

import json
from pathlib import Path
from typing import Any

import pytest

from stillery.errors import UserError
from stillery.export.formats import format_named

pytest.importorskip("compressed_tensors")

STUDENT = Path(__file__).parents[4] / "platform" / "stillery" / "tiny_models" / "models" / "student"


def written(out: Path, quantization: str) -> Path:
    out.mkdir(exist_ok=True)
    format_named("vllm").write(STUDENT, out, quantization=quantization, calibration=[])
    return out


def tensors_of(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize(("quantization", "bits", "layout"), [("int8-w8a8", 8, "int"), ("int4-w4a16", 4, "pack")])
def test_weights_are_rounded_to_nearest_and_the_rest_stays(
    tmp_path: Path, quantization: str, bits: int, layout: str
) -> None:
    import torch
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationConfig

    folder = written(tmp_path / "out", quantization)
    config = QuantizationConfig.model_validate(json.loads((folder / "config.json").read_text())["quantization_config"])
    assert config.format == f"{layout}-quantized"
    scheme: Any = config.config_groups["group_0"]
    assert (scheme.weights.num_bits, scheme.input_activations is None) == (bits, bits == 4)
    before, after = tensors_of(STUDENT), tensors_of(folder)
    module = "model.layers.1.mlp.down_proj"
    compressor: Any = BaseCompressor.get_value_from_registry(config.format)
    parts = {n.removeprefix(f"{module}."): t for n, t in after.items() if n.startswith(f"{module}.")}
    scale = parts["weight_scale"].float()
    assert parts["weight_scale"].dtype == torch.bfloat16
    back = compressor.decompress(parts | {"weight_scale": scale}, scheme)["weight"].float()
    weight = before[f"{module}.weight"].float()
    steps = scale.repeat_interleave(weight.shape[1] // scale.shape[1], dim=1)
    # Rounded to nearest: within half a step, but for the few that a smaller scale cuts off for the good of the others.
    within = (back - weight).abs() <= 0.502 * steps
    assert within.double().mean() > 0.97
    assert (back - weight).square().mean().sqrt() < 0.35 * steps.mean()
    untouched = {name for name in before if name in after}
    assert {"model.embed_tokens.weight", "model.norm.weight"} <= untouched
    assert all(torch.equal(before[name], after[name]) for name in untouched if "proj" not in name)
    small = sum(t.numel() * t.element_size() for n, t in after.items() if "_proj" in n)
    assert small < {8: 0.52, 4: 0.32}[bits] * sum(t.numel() * 2 for n, t in before.items() if "_proj" in n)


def test_the_checkpoint_itself_is_its_unquantized_form(tmp_path: Path) -> None:
    folder = written(tmp_path / "out", "fp32")
    assert (folder / "model.safetensors").read_bytes() == (STUDENT / "model.safetensors").read_bytes()
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    assert not (folder / "README.md").exists()


def test_what_the_kernels_do_not_take_is_named(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    odd = written(tmp_path / "odd", "fp32")
    tensors = tensors_of(odd)
    tensors["model.layers.0.mlp.up_proj.weight"] = torch.zeros(310, 128)
    save_file(tensors, odd / "model.safetensors")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UserError, match=r"up_proj\.weight has the shape \[310, 128\].*multiples of 32"):
        format_named("vllm").write(odd, out, quantization="int8-w8a8", calibration=[])
    with pytest.raises(UserError, match="vllm has no quantization 'q4'"):
        format_named("vllm").write(STUDENT, out, quantization="q4", calibration=[])
