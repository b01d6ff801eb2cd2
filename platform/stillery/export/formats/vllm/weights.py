"""The weights of a checkpoint, quantized in compressed-tensors' layout; no texts are needed.

In: the files of a checkpoint. Out: the same files with the matrices of attention and feed-forward layers rounded to
nearest, by the functions of compressed-tensors itself, and the matching `quantization_config`. From a few candidate
scales each row or group gets the one with the least squared error. Embedding, output projection and norms are
unchanged.
"""

from pathlib import Path
from typing import Any

from stillery.errors import UserError
from stillery.export.checkpoint import Checkpoint

INT8, INT4 = "int8-w8a8", "int4-w4a16"
# The number of weights that share a scale in four bits, along a row.
_GROUP_SIZE = 32
# The fractions tried of the scale that just holds the largest weight.
_SHRUNK = (1.0, 0.95, 0.9, 0.85, 0.8)
_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# The limits of vLLM's kernels on a CPU; those on a GPU are wider.
_MULTIPLE = 32
_LAYOUTS = {8: "int-quantized", 4: "pack-quantized"}


def quantization_config(checkpoint: Checkpoint, quantization: str) -> dict[str, Any]:
    """The entry of config.json. Raises UserError for matrices that the kernels don't support."""
    from compressed_tensors.quantization import QuantizationConfig, QuantizationStatus

    scheme, layout = _scheme(checkpoint, quantization)
    config = QuantizationConfig(
        config_groups={"group_0": scheme},
        format=layout,
        quantization_status=QuantizationStatus.COMPRESSED,
        ignore=["lm_head"],
    )
    return config.model_dump(mode="json")


def write_weights(checkpoint: Checkpoint, out: Path, *, quantization: str) -> None:
    """Rewrite each file of weights, a file in memory at a time, and the index where there are several."""
    import json

    from safetensors import safe_open
    from safetensors.torch import save_file

    scheme, _ = _scheme(checkpoint, quantization)
    where: dict[str, str] = {}
    files = sorted({tensor.file for tensor in checkpoint.tensors.values()})
    for file in files:
        written: dict[str, Any] = {}
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                tensor = tensors.get_tensor(name)
                module = name.removesuffix(".weight")
                if module.endswith(_PROJECTIONS) and name.endswith(".weight"):
                    found = _quantized(tensor, scheme)
                    written |= {f"{module}.{part}": value.contiguous() for part, value in found.items()}
                else:
                    written[name] = tensor
        save_file(written, out / file.name, metadata={"format": "pt"})
        where |= dict.fromkeys(written, file.name)
    if len(files) > 1:
        size = sum(path.stat().st_size for path in out.glob("*.safetensors"))
        index = {"metadata": {"total_size": size}, "weight_map": where}
        (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")


def _scheme(checkpoint: Checkpoint, quantization: str) -> tuple[Any, str]:
    """The scheme of compressed-tensors, and the name of its layout."""
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme, QuantizationStrategy

    matrices = {n: t for n, t in checkpoint.tensors.items() if n.removesuffix(".weight").endswith(_PROJECTIONS)}
    odd = next((n for n, t in matrices.items() if any(size % _MULTIPLE for size in t.shape)), None)
    if odd is not None:
        raise UserError(
            f"{checkpoint.folder}: {odd} has the shape {list(matrices[odd].shape)}, and vLLM's kernels take multiples "
            f"of {_MULTIPLE}; export it as gguf or onnx"
        )
    if quantization == INT8:
        weights = QuantizationArgs(num_bits=8, strategy=QuantizationStrategy.CHANNEL)
        inputs = QuantizationArgs(num_bits=8, strategy=QuantizationStrategy.TOKEN, dynamic=True)
        return QuantizationScheme(targets=["Linear"], weights=weights, input_activations=inputs), _LAYOUTS[8]
    weights = QuantizationArgs(num_bits=4, strategy=QuantizationStrategy.GROUP, group_size=_GROUP_SIZE)
    return QuantizationScheme(targets=["Linear"], weights=weights), _LAYOUTS[4]


def _quantized(weight: Any, scheme: Any) -> dict[str, Any]:
    """The tensors that replace a matrix. The scales are first rounded to the checkpoint's dtype, in which they are
    stored."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization.lifecycle.forward import fake_quantize
    from compressed_tensors.quantization.utils import calculate_qparams

    args, wide = scheme.weights, weight.float()
    groups = wide.reshape(weight.shape[0], -1, args.group_size or weight.shape[1])
    whole, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), args)
    best, least = whole, None
    for share in _SHRUNK:
        scale = (whole * share).to(weight.dtype).float()
        error = (fake_quantize(wide, scale, zero, args) - wide).reshape(groups.shape).square().sum(-1)
        best = scale if least is None else best.where(least <= error, scale)
        least = error if least is None else least.minimum(error)
    compressor: Any = BaseCompressor.get_value_from_registry(_LAYOUTS[args.num_bits])
    return compressor.compress({"weight": wide, "weight_scale": best}, scheme) | {"weight_scale": best.to(weight.dtype)}
