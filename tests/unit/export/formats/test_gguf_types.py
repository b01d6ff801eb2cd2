"""Types of tensors and the bytes of rows, against gguf-py's own encoder and decoder."""

import numpy as np
import pytest

gguf = pytest.importorskip("gguf", reason="the extra `edge` is not installed")

from gguf import GGMLQuantizationType as Type  # noqa: E402
from gguf import quants  # noqa: E402

from stillery.errors import UserError  # noqa: E402
from stillery.export.formats.gguf.types import MIXTURES, encode_rows, k_quants_available, num_bytes, type_of  # noqa: E402

ROWS = np.random.default_rng(0).normal(size=(8, 512)).astype(np.float32)
needs_ggml = pytest.mark.skipif(not k_quants_available(), reason="no ggml_quantize_chunk in the installed xllamacpp")


@pytest.mark.parametrize("name", ["F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_0"])
def test_rows_are_encoded_as_gguf_py_does(name: str) -> None:
    dtype = Type[name]
    encoded = encode_rows(ROWS, dtype)
    assert encoded == quants.quantize(ROWS, dtype).tobytes()
    assert len(encoded) == num_bytes(ROWS.shape, dtype)


@needs_ggml
@pytest.mark.parametrize(("name", "error"), [("Q6_K", 0.025), ("Q5_K", 0.05), ("Q4_K", 0.1)])
def test_k_quants_decode_to_nearly_the_same(name: str, error: float) -> None:
    encoded = np.frombuffer(encode_rows(ROWS, Type[name]), np.uint8).reshape(len(ROWS), -1)
    assert np.sqrt(np.mean((quants.dequantize(encoded, Type[name]) - ROWS) ** 2)) < error


@needs_ggml
@pytest.mark.parametrize("name", ["Q5_0", "Q4_0", "Q5_K", "Q4_K"])
def test_importance_spares_the_columns_that_are_used(name: str) -> None:
    importance = np.where(np.arange(512) % 8 == 0, 100.0, 0.01).astype(np.float32)

    def weighted_error(weights: np.ndarray | None) -> float:
        encoded = np.frombuffer(encode_rows(ROWS, Type[name], importance=weights), np.uint8).reshape(len(ROWS), -1)
        return float(np.mean(importance * (quants.dequantize(encoded, Type[name]) - ROWS) ** 2))

    assert weighted_error(importance) < 0.8 * weighted_error(None)


@needs_ggml
def test_importance_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="512 columns"):
        encode_rows(ROWS, Type.Q4_0, importance=np.ones(256, np.float32))


def test_a_weight_beyond_float16_is_refused() -> None:
    with pytest.raises(UserError, match="float16's range"):
        encode_rows(np.full((1, 32), 1e5, np.float32), Type.F16)


@needs_ggml
def test_k_quants_fall_back_where_256_does_not_divide_a_row() -> None:
    mixture = MIXTURES["Q4_K_M"]
    kinds = {
        columns: type_of("blk.3.attn_q.weight", (64, columns), mixture, num_layers=8, is_output=False)
        for columns in (512, 128, 100)
    }
    assert kinds == {512: Type.Q4_K, 128: Type.Q5_0, 100: Type.F16}


@needs_ggml
def test_the_output_and_half_of_the_sensitive_matrices_get_more_bits() -> None:
    mixture = MIXTURES["Q4_K_M"]
    assert type_of("output.weight", (1024, 512), mixture, num_layers=16, is_output=True) == Type.Q6_K
    down = [type_of(f"blk.{n}.ffn_down.weight", (64, 512), mixture, num_layers=16, is_output=False) for n in range(16)]
    more = [n for n, kind in enumerate(down) if kind == Type.Q6_K]
    assert more == [0, 1, 4, 7, 10, 13, 14, 15]


def test_vectors_stay_in_float32() -> None:
    assert type_of("output_norm.weight", (512,), MIXTURES["Q4_0"], num_layers=4, is_output=False) == Type.F32


@pytest.mark.parametrize("name", ["F32", "F16", "BF16", "Q8_0"])
def test_the_output_of_what_is_not_mixed_has_the_same_type(name: str) -> None:
    kind = type_of("token_embd.weight", (1024, 512), MIXTURES[name], num_layers=4, is_output=True)
    assert kind == Type[name]
