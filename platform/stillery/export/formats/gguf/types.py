"""Tensor types of a GGUF file: which type each tensor gets, and the bytes of its rows.

Quantization is ggml's own `ggml_quantize_chunk`, called in the library inside the xllamacpp wheel, whose Python API
doesn't offer it; where that symbol is missing, gguf-py makes the types that it supports and there are no K-quants. The
mixtures follow llama.cpp's `llama_tensor_get_type`.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType, quants
from numpy.typing import NDArray

from stillery.errors import UserError

Type = GGMLQuantizationType

_K_BLOCK = 256
# The replacement for a type whose block of 256 doesn't divide a row; blocks of 32 divide nearly every row.
_FALLBACK = {Type.Q4_K: Type.Q5_0, Type.Q5_K: Type.Q5_1, Type.Q6_K: Type.Q8_0}


@dataclass(frozen=True, slots=True)
class Mixture:
    """A quantization by name: the type of most matrices, and of the sensitive ones (`more`: half of attn_v and
    ffn_down). The output projection is Q6_K unless `output` says otherwise."""

    base: GGMLQuantizationType
    file_type: LlamaFileType
    more: GGMLQuantizationType | None = None
    output: GGMLQuantizationType | None = None


MIXTURES = {
    "F32": Mixture(Type.F32, LlamaFileType.ALL_F32, output=Type.F32),
    "F16": Mixture(Type.F16, LlamaFileType.MOSTLY_F16, output=Type.F16),
    "BF16": Mixture(Type.BF16, LlamaFileType.MOSTLY_BF16, output=Type.BF16),
    "Q8_0": Mixture(Type.Q8_0, LlamaFileType.MOSTLY_Q8_0, output=Type.Q8_0),
    "Q6_K": Mixture(Type.Q6_K, LlamaFileType.MOSTLY_Q6_K),
    "Q5_K_M": Mixture(Type.Q5_K, LlamaFileType.MOSTLY_Q5_K_M, more=Type.Q6_K),
    "Q5_1": Mixture(Type.Q5_1, LlamaFileType.MOSTLY_Q5_1),
    "Q5_0": Mixture(Type.Q5_0, LlamaFileType.MOSTLY_Q5_0),
    "Q4_K_M": Mixture(Type.Q4_K, LlamaFileType.MOSTLY_Q4_K_M, more=Type.Q6_K),
    "Q4_0": Mixture(Type.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}


def type_of(name: str, shape: tuple[int, ...], mixture: Mixture, *, num_layers: int, is_output: bool) -> Type:
    """The type of a tensor, by its GGUF name; `is_output` for the output projection (or the embedding tied to it)."""
    if len(shape) == 1:
        return Type.F32
    if is_output:
        # F32 is 0, so `or` would not do.
        usual = Type.Q6_K if k_quants_available() else Type.Q8_0
        wanted = usual if mixture.output is None else mixture.output
    elif mixture.more is not None and _is_sensitive(name, num_layers=num_layers):
        wanted = mixture.more
    else:
        wanted = mixture.base
    columns = shape[-1]
    if wanted in _FALLBACK and columns % _K_BLOCK:
        wanted = _FALLBACK[wanted]
    return wanted if columns % GGML_QUANT_SIZES[wanted][0] == 0 else Type.F16


def _is_sensitive(name: str, *, num_layers: int) -> bool:
    """Value and down projections of the first and last eighth of the layers, and of every third in between."""
    if not name.endswith(("attn_v.weight", "ffn_down.weight")):
        return False
    layer = int(name.split(".")[1])
    eighth = num_layers // 8
    return layer < eighth or layer >= 7 * num_layers // 8 or (layer - eighth) % 3 == 2


def num_bytes(shape: tuple[int, ...], dtype: Type) -> int:
    """The size of a tensor in the file."""
    block, size = GGML_QUANT_SIZES[dtype]
    return int(np.prod(shape)) // block * size


def encode_rows(rows: NDArray[np.float32], dtype: Type, *, importance: NDArray[np.float32] | None = None) -> bytes:
    """The bytes of whole rows (any number of rows of a matrix, or one vector) in a type.

    `importance` weights the columns by how much they are used, where ggml's algorithm for the type takes weights.
    """
    if dtype is Type.F32:
        return rows.tobytes()
    if dtype is Type.F16:
        # Beyond float16's range a weight would silently become infinite.
        if np.abs(rows).max(initial=0) > np.finfo(np.float16).max:
            raise UserError("a weight lies outside float16's range: choose --quantization BF16 or F32")
        return rows.astype(np.float16).tobytes()
    quantize = _ggml_quantize()
    if dtype is Type.BF16 or quantize is None:
        return quants.quantize(rows, dtype).tobytes()
    rows = np.ascontiguousarray(rows, np.float32)
    num_rows, num_columns = rows.shape
    out = np.empty(num_bytes(rows.shape, dtype), np.uint8)
    weights = None if importance is None else np.ascontiguousarray(importance, np.float32)
    if weights is not None and weights.shape != (num_columns,):
        raise ValueError(f"importance has shape {weights.shape}, but rows have {num_columns} columns")
    pointer = None if weights is None else weights.ctypes.data
    written = quantize(int(dtype), rows.ctypes.data, out.ctypes.data, 0, num_rows, num_columns, pointer)
    assert written == out.nbytes, f"ggml wrote {written} bytes of {out.nbytes}"
    return out.tobytes()


def k_quants_available() -> bool:
    """Whether the installed ggml can make K-quants."""
    return _ggml_quantize() is not None


@cache
def _ggml_quantize() -> Callable[..., int] | None:
    """size_t ggml_quantize_chunk(type, const float * src, void * dst, start, nrows, n_per_row, const float * imatrix),
    from ggml.h; None where no library has it."""
    spec = find_spec("xllamacpp")
    if spec is None or spec.origin is None:
        return None
    for library in Path(spec.origin).parent.glob("xllamacpp*.so"):
        function = getattr(ctypes.CDLL(str(library)), "ggml_quantize_chunk", None)
        if function is not None:
            function.restype = ctypes.c_size_t
            function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]
            return function
    return None
