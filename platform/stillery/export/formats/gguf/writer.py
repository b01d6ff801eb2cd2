"""A checkpoint as one GGUF file, streamed: no more than one slice of one tensor is in memory at a time.

In: a checked checkpoint and a mixture. Out: the file. Names come from gguf-py's tensor map; only the parts that shape
the result are ours: rotary settings, the order of Llama's Q and K rows, and the type of every tensor.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, GGUFWriter, RopeScalingType, TensorNameMap, get_tensor_name_map
from numpy.typing import NDArray

from stillery.errors import UserError
from stillery.export.checkpoint import Checkpoint, Tensor
from stillery.export.formats.gguf.types import MIXTURES, Mixture, Type, encode_rows, num_bytes, type_of
from stillery.export.formats.gguf.vocabulary import read_vocabulary, write_vocabulary

_ARCHITECTURES = {"qwen2": MODEL_ARCH.QWEN2, "qwen3": MODEL_ARCH.QWEN3, "llama": MODEL_ARCH.LLAMA}
_SLICE_ELEMENTS = 1 << 22

Importance = Mapping[str, NDArray[np.float32]]


def write_gguf(checkpoint: Checkpoint, path: Path, *, quantization: str, importance: Importance | None = None) -> None:
    """Write the file. `importance` holds a weight for each column of a matrix, by its Hugging Face name.

    Raises UserError for features that llama.cpp can't express: the tokenizer, or a kind of rotary scaling.
    """
    mixture = MIXTURES[quantization]
    layers = checkpoint.config["num_hidden_layers"]
    names = get_tensor_name_map(_ARCHITECTURES[checkpoint.architecture], layers)
    writer = GGUFWriter(path, MODEL_ARCH_NAMES[_ARCHITECTURES[checkpoint.architecture]])
    try:
        _add_metadata(writer, checkpoint, mixture)
        write_vocabulary(writer, read_vocabulary(checkpoint))
        plan = [
            (name, gguf_name, tensor, _type(gguf_name, tensor, checkpoint, mixture))
            for name, tensor in checkpoint.tensors.items()
            if (gguf_name := _gguf_name(name, names, checkpoint)) is not None
        ]
        factors = _rope_factors(checkpoint)
        if factors is not None:
            writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
        for _, gguf_name, tensor, dtype in plan:
            size = num_bytes(tensor.shape, dtype)
            writer.add_tensor_info(gguf_name, tensor.shape, np.dtype(np.float32), size, raw_dtype=dtype)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if factors is not None:
            _append(writer, iter([factors.tobytes()]))
        for name, _, tensor, dtype in plan:
            weights = (importance or {}).get(name)
            slices = _slices(name, tensor, checkpoint)
            _append(writer, (encode_rows(rows, dtype, importance=weights) for rows in slices))
    finally:
        writer.close()


def _append(writer: GGUFWriter, parts: Iterator[bytes]) -> None:
    """One tensor's data, padded as in gguf-py's own writer."""
    assert writer.fout is not None
    (file,) = writer.fout
    writer.write_padding(file, file.tell())
    for part in parts:
        file.write(part)
    writer.write_padding(file, file.tell())


def _add_metadata(writer: GGUFWriter, checkpoint: Checkpoint, mixture: Mixture) -> None:
    config = checkpoint.config
    writer.add_file_type(mixture.file_type)
    writer.add_quantization_version(2)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(checkpoint.head_size)
    writer.add_value_length(checkpoint.head_size)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(checkpoint.vocabulary_size)
    writer.add_rope_dimension_count(checkpoint.head_size)
    writer.add_rope_freq_base(checkpoint.rope["rope_theta"])
    kind = checkpoint.rope["rope_type"]
    if kind == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(checkpoint.rope["factor"])
    elif kind == "yarn":
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(checkpoint.rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(checkpoint.rope["original_max_position_embeddings"])
    elif kind not in ("default", "llama3"):
        raise UserError(f"{checkpoint.folder}: rope_type {kind!r} can't be expressed in GGUF; use another format")


def _rope_factors(checkpoint: Checkpoint) -> NDArray[np.float32] | None:
    """Llama 3's divisors of the rotary frequencies, which llama.cpp reads as a tensor; None for other kinds.

    Wavelengths above the original context are stretched by `factor`, short ones unchanged, those between blended
    (transformers' `_compute_llama3_parameters`).
    """
    rope = checkpoint.rope
    if rope["rope_type"] != "llama3":
        return None
    size = checkpoint.head_size
    frequencies = rope["rope_theta"] ** -(np.arange(0, size, 2, dtype=np.float64) / size)
    turns = rope["original_max_position_embeddings"] * frequencies / (2 * math.pi)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / rope["factor"] + smooth)).astype(np.float32)


def _gguf_name(name: str, names: TensorNameMap, checkpoint: Checkpoint) -> str | None:
    """The tensor's name in the file; None for tensors that the file leaves out: a tied output, derived rotary
    tables."""
    if name.endswith("rotary_emb.inv_freq"):
        return None
    if name == "lm_head.weight" and checkpoint.config.get("tie_word_embeddings", False):
        return None
    found = names.get_name(name, try_suffixes=(".weight", ".bias"))
    if found is None:
        raise UserError(f"{checkpoint.folder}: tensor {name} has no place in a {checkpoint.architecture} model")
    return found


def _type(gguf_name: str, tensor: Tensor, checkpoint: Checkpoint, mixture: Mixture) -> Type:
    tied = checkpoint.config.get("tie_word_embeddings", False)
    is_output = gguf_name == ("token_embd.weight" if tied else "output.weight")
    layers = checkpoint.config["num_hidden_layers"]
    return type_of(gguf_name, tensor.shape, mixture, num_layers=layers, is_output=is_output)


def _slices(name: str, tensor: Tensor, checkpoint: Checkpoint) -> Iterator[NDArray[np.float32]]:
    """A tensor's rows in float32, in slices.

    Llama's rotary layer in llama.cpp rotates neighbouring pairs where transformers rotates halves of a head, so the
    rows of Q and K are interleaved within each head.
    """
    permuted = checkpoint.architecture == "llama" and name.endswith(
        ("q_proj.weight", "k_proj.weight", "q_proj.bias", "k_proj.bias")
    )
    step = max(1, _SLICE_ELEMENTS // math.prod(tensor.shape[1:]))
    step = max(1, step // checkpoint.head_size) * checkpoint.head_size
    for start in range(0, tensor.shape[0], step):
        rows = tensor.read_rows(start, start + step)
        if not np.isfinite(rows).all():
            raise UserError(f"{tensor.file}: tensor {name} holds a value that isn't finite; train again")
        yield _interleave(rows, head_size=checkpoint.head_size) if permuted else rows


def _interleave(rows: NDArray[np.float32], *, head_size: int) -> NDArray[np.float32]:
    """Rows of whole heads, taken alternately from each head's first and second half."""
    halves = rows.reshape(-1, 2, head_size // 2, *rows.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))
