import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

import stillery
from stillery.bonds.measure.attention import attention_energy, energies_of_mass, steps_of_tokens, with_energies
from stillery.records import Bond, BondKind, Molecule

TEACHER = Path(stillery.__file__).parent / "tiny_models" / "models" / "teacher"
PROMPT = "Question: how many apples are left?\n"
TEXT = "Tom has 12 apples. He eats 5 of them.\n12 - 5 = 7\nWait, let me check: 7 + 5 = 12.\nSo 7 are left.\n"

TINY = {
    "vocab_size": 1024,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.4,
}
# Weights this large give attention far from uniform, where a wrong mask, scale or head order would show.
CONFIGS: dict[str, Any] = {
    "llama": tf.LlamaConfig(**TINY),
    "llama, multi-head": tf.LlamaConfig(**{**TINY, "num_key_value_heads": 4}),
    "qwen2": tf.Qwen2Config(**TINY),
    "qwen2, window in one layer": tf.Qwen2Config(
        **TINY, use_sliding_window=True, sliding_window=9, layer_types=["full_attention", "sliding_attention"]
    ),
    "qwen3": tf.Qwen3Config(**TINY),
    "mistral": tf.MistralConfig(**TINY, sliding_window=None),
    "mistral, window": tf.MistralConfig(**TINY, sliding_window=11),
    "gemma2, soft cap and windows": tf.Gemma2Config(
        **TINY, sliding_window=9, attn_logit_softcapping=2.0, query_pre_attn_scalar=8
    ),
    "gemma3": tf.Gemma3TextConfig(**TINY, sliding_window=9),
    "phi3": tf.Phi3Config(**TINY, pad_token_id=0),
    "gpt-oss, sinks": tf.GptOssConfig(**TINY, sliding_window=9, num_local_experts=2, num_experts_per_tok=1),
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tf.AutoTokenizer.from_pretrained(TEACHER)


@pytest.fixture(scope="module")
def teacher() -> Any:
    return tf.AutoModelForCausalLM.from_pretrained(TEACHER, dtype=torch.float32)


def make_model(config: Any) -> Any:
    torch.manual_seed(0)
    return tf.AutoModelForCausalLM.from_config(config)


def lines(text: str) -> list[tuple[int, int]]:
    """The spans of the lines, newlines included."""
    ends = [0, *(i + 1 for i, c in enumerate(text) if c == "\n")]
    return list(pairwise(ends))


def pooled_eagerly(
    model: Any,
    tokenizer: Any,
    prompt: str,
    spans: Sequence[tuple[int, int]],
    *,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
) -> np.ndarray:
    """The same from `output_attentions=True`, token pair by token pair."""
    encoded = tokenizer(prompt + TEXT, add_special_tokens=not prompt, return_offsets_mapping=True)
    steps = steps_of_tokens([(a - len(prompt), b - len(prompt)) for a, b in encoded["offset_mapping"]], spans)
    model.set_attn_implementation("eager")
    model.eval()
    with torch.no_grad():
        attentions = model(torch.tensor([encoded["input_ids"]]), output_attentions=True).attentions
    layers = range(len(attentions)) if layers is None else layers
    heads = range(attentions[0].shape[1]) if heads is None else heads
    mean = torch.stack([attentions[layer][0, head] for layer in layers for head in heads]).double().mean(0).numpy()
    expected = np.zeros((len(spans), len(spans)))
    for target in range(len(spans)):
        queries = [i for i, step in enumerate(steps) if step == target]
        for source in range(len(spans)):
            keys = [i for i, step in enumerate(steps) if step == source]
            expected[source, target] = mean[np.ix_(queries, keys)].sum() / len(queries)
    return expected


@pytest.mark.slow
@pytest.mark.parametrize("prompt", ["", PROMPT])
@pytest.mark.parametrize("name", CONFIGS)
def test_equals_the_pooled_eager_attention(name: str, prompt: str, tokenizer: Any) -> None:
    model, spans = make_model(CONFIGS[name]), lines(TEXT)
    expected = pooled_eagerly(model, tokenizer, prompt, spans)
    found = attention_energy(model, tokenizer, TEXT, spans, prompt=prompt, block_size=7)
    np.testing.assert_allclose(found.attention, expected, rtol=2e-5, atol=2e-7)
    assert expected[0, 1] > 0


@pytest.mark.slow
@pytest.mark.parametrize("block_size", [1, 16, 4096])
def test_equals_it_on_the_embedded_teacher_whatever_the_block(block_size: int, teacher: Any, tokenizer: Any) -> None:
    spans = lines(TEXT)
    expected = pooled_eagerly(teacher, tokenizer, PROMPT, spans)
    found = attention_energy(teacher, tokenizer, TEXT, spans, prompt=PROMPT, block_size=block_size)
    np.testing.assert_allclose(found.attention, expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize(("layers", "heads"), [([1], None), (None, [3]), ([0, 1], [0, 2])])
def test_only_the_chosen_layers_and_heads_are_pooled(layers: Any, heads: Any, tokenizer: Any) -> None:
    model, spans = make_model(CONFIGS["qwen3"]), lines(TEXT)
    expected = pooled_eagerly(model, tokenizer, "", spans, layers=layers, heads=heads)
    found = attention_energy(model, tokenizer, TEXT, spans, layers=layers, heads=heads, block_size=16)
    np.testing.assert_allclose(found.attention, expected, rtol=2e-5, atol=2e-7)
    assert not np.allclose(expected, pooled_eagerly(model, tokenizer, "", spans), rtol=1e-2)


def test_in_bfloat16_it_stays_near_eager(tokenizer: Any) -> None:
    model, spans = make_model(CONFIGS["qwen3"]).to(torch.bfloat16), lines(TEXT)
    expected = pooled_eagerly(model, tokenizer, "", spans)
    found = attention_energy(model, tokenizer, TEXT, spans)
    np.testing.assert_allclose(found.attention, expected, rtol=0.03, atol=1e-3)


@pytest.mark.slow
def test_no_tensor_of_the_size_of_the_attention_matrix_is_made(tokenizer: Any) -> None:
    model, text = make_model(CONFIGS["llama"]), TEXT * 12
    length = len(tokenizer(text)["input_ids"])
    assert length > 500
    with _LargestTensor() as largest:
        attention_energy(model, tokenizer, text, lines(text), block_size=8)
    # The feed-forward layer's activations, and the scores of a block for the two heads of one key head.
    assert largest.elements <= max(length * 48, 2 * 8 * length)
    assert largest.elements < length * length / 4


class _LargestTensor(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.untyped_storage().nbytes() // tensor.element_size())
        return made


def test_the_model_is_left_as_it_was(tokenizer: Any) -> None:
    model = make_model(CONFIGS["llama"])
    model.train()
    model.model.layers[1].eval()
    model.set_attn_implementation("sdpa")
    before = model(torch.tensor([[1, 2, 3]])).logits
    attention_energy(model, tokenizer, TEXT, lines(TEXT))
    assert model.config._attn_implementation == "sdpa"
    assert model.training
    assert not model.model.layers[1].training
    assert all(parameter.grad is None for parameter in model.parameters())
    torch.testing.assert_close(model(torch.tensor([[1, 2, 3]])).logits, before)


def test_the_model_is_left_as_it_was_after_an_error(tokenizer: Any) -> None:
    model = make_model(CONFIGS["llama"])
    before = model.config._attn_implementation
    with pytest.raises(IndexError):
        attention_energy(model, _Shifted(tokenizer), TEXT, lines(TEXT))
    assert model.config._attn_implementation == before


class _Shifted:
    """A tokenizer whose ids the model does not have."""

    is_fast = True

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, text: str, **options: Any) -> Any:
        encoded = self.tokenizer(text, **options)
        return {**encoded, "input_ids": [i + 10_000 for i in encoded["input_ids"]]}


@pytest.mark.slow
def test_energy_is_minus_log_attention_and_only_looks_back(teacher: Any, tokenizer: Any) -> None:
    found = attention_energy(teacher, tokenizer, TEXT, lines(TEXT), prompt=PROMPT)
    upper = np.triu(np.ones((4, 4), dtype=bool))
    np.testing.assert_allclose(np.exp(-found.energy[upper]), found.attention[upper])
    assert np.isinf(found.energy[~upper]).all()
    assert np.isnan(found.strength[np.tril(np.ones((4, 4), dtype=bool))]).all()
    assert (found.attention.sum(axis=0) <= 1 + 1e-6).all()
    assert found.num_tokens.sum() == len(tokenizer(TEXT, add_special_tokens=False)["input_ids"])


def test_strength_is_what_distance_does_not_predict() -> None:
    sizes = np.array([3.0, 11, 7, 5, 2, 9] * 6)
    steps = np.repeat(np.arange(len(sizes)), sizes.astype(int))
    middles = np.cumsum(sizes) - (sizes + 1) / 2
    distance = np.abs(middles[None, :] - middles[:, None]) + np.eye(len(sizes))
    attention = 0.01 * sizes[:, None] * distance**-1.5
    attention[3, 20] *= math.e**2

    mass = np.tril((attention * sizes[None, :]).T)
    found = energies_of_mass(mass, steps, num_steps=len(sizes))
    assert found.decay == pytest.approx(1.5, abs=1e-3)
    assert found.strength[3, 20] == pytest.approx(2.0, abs=1e-2)
    others = found.strength[np.isfinite(found.strength)]
    assert np.median(np.abs(others)) < 1e-3
    # Without the correction the planted pair is far from the strongest.
    assert (found.energy < found.energy[3, 20]).sum() > 100


@pytest.mark.slow
def test_one_and_two_steps_have_energies_too(teacher: Any, tokenizer: Any) -> None:
    one = attention_energy(teacher, tokenizer, TEXT, [(0, len(TEXT))])
    assert one.attention.shape == (1, 1)
    two = attention_energy(teacher, tokenizer, TEXT, [(0, 38), (38, len(TEXT))])
    assert math.isfinite(two.energy[0, 1])
    assert two.strength[0, 1] == pytest.approx(0.0, abs=1e-9)


def test_each_bond_of_a_molecule_gets_its_energy(teacher: Any, tokenizer: Any) -> None:
    found = attention_energy(teacher, tokenizer, TEXT, lines(TEXT))
    bonds = [Bond(s, t, BondKind.STRONG_LOGIC, 0.9, "claims", "") for s, t in [(0, 1), (1, 3)]]
    molecule = with_energies(Molecule("a", [], bonds, 0.0, 0.0, 0.0, []), found)
    assert molecule.energies == [found.energy[0, 1], found.energy[1, 3]]


def test_a_token_belongs_to_the_step_with_most_of_its_characters() -> None:
    spans = [(0, 4), (4, 9), (12, 14)]
    offsets = [(-5, 0), (-1, 2), (2, 5), (3, 6), (4, 4), (3, 5), (9, 12), (8, 13), (13, 20), (14, 15)]
    assert steps_of_tokens(offsets, spans) == [3, 0, 0, 1, 3, 0, 3, 1, 2, 3]


@pytest.mark.parametrize("spans", [[], [(3, 3)], [(0, 5), (4, 6)], [(5, 6), (0, 2)], [(0, 1000)]])
def test_spans_that_are_no_segmentation_are_refused(spans: Any, teacher: Any, tokenizer: Any) -> None:
    with pytest.raises(ValueError, match="span"):
        attention_energy(teacher, tokenizer, TEXT, spans)


def _unsupported() -> Iterator[tuple[Any, str]]:
    small = {"d_model": 16, "d_ff": 16, "num_layers": 1, "num_heads": 2, "d_kv": 8, "vocab_size": 1024}
    yield tf.T5ForConditionalGeneration(tf.T5Config(**small)), "decoder-only"
    yield tf.BloomForCausalLM(tf.BloomConfig(vocab_size=1024, hidden_size=16, n_layer=1, n_head=2)), "Interface"


def test_a_model_whose_attention_cannot_be_read_is_refused(tokenizer: Any) -> None:
    for model, reason in _unsupported():
        with pytest.raises(ValueError, match=reason):
            attention_energy(model, tokenizer, TEXT, lines(TEXT))


@pytest.mark.parametrize("choice", [{"layers": [2]}, {"layers": []}, {"heads": [-1]}, {"heads": [4]}])
def test_a_layer_or_head_that_is_not_there_is_refused(choice: Any, tokenizer: Any) -> None:
    with pytest.raises(ValueError, match=r"(layer|head)"):
        attention_energy(make_model(CONFIGS["llama"]), tokenizer, TEXT, lines(TEXT), **choice)
