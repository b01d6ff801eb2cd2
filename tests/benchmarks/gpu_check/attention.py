"""Attention energies on the GPU: equal to those on the CPU and to pooled attention matrices, in little memory."""

from typing import Any

import numpy as np

from benchmarks.gpu_check.evidence import Figures, demand
from benchmarks.speed.attention_cost import TEACHER, by_matrices, trace
from stillery.bonds.measure.attention import BLOCK_SIZE, attention_energy

SHORT, LONG = 600, 8192

# Float32 on both sides, where sums run in another order on each device: a share of the value, and of all attention.
RTOL, ATOL = 1e-3, 1e-6
# Peak memory beside what one layer's matrices, of all heads, would take.
MOST_OF_ONE_LAYER = 0.25


def attention(device: str) -> Figures:
    """Both references on the CPU over a short trace; then a long one on the device, for its memory."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(TEACHER)
    model: Any = AutoModelForCausalLM.from_pretrained(TEACHER, dtype=torch.float32)
    text, spans = trace(tokenizer, SHORT)
    expected = {
        "the CPU": attention_energy(model, tokenizer, text, spans).attention,
        "matrices": by_matrices(model, tokenizer, text, spans, BLOCK_SIZE),
    }
    model = AutoModelForCausalLM.from_pretrained(TEACHER, dtype=torch.float32).to(device)
    found = attention_energy(model, tokenizer, text, spans)
    figures: Figures = {"steps": len(spans)}
    for name, reference in expected.items():
        excess = np.abs(found.attention - reference) - RTOL * np.abs(reference)
        figures[f"largest difference from {name}"] = float(np.abs(found.attention - reference).max())
        demand(float(excess.max()) <= ATOL, f"differs from {name} by more than {RTOL:g} of the value + {ATOL:g}")
    # Zeros would agree with zeros.
    demand(float(found.attention.sum(axis=0).max()) > 0.1, "there is hardly any attention between the steps")
    return figures | _memory(model, tokenizer, device)


def _memory(model: Any, tokenizer: Any, device: str) -> Figures:
    """Peak memory over a long trace, beyond what the model takes."""
    import torch

    text, spans = trace(tokenizer, LONG)
    if device != "cuda":
        return {"steps of the long trace": len(spans)}
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    energies = attention_energy(model, tokenizer, text, spans)
    peak = torch.cuda.max_memory_allocated() - before
    one_layer = 4 * model.config.num_attention_heads * LONG**2
    demand(int(energies.num_tokens.sum()) == LONG, f"the long trace has {energies.num_tokens.sum()} tokens, not {LONG}")
    share = peak / one_layer
    demand(share <= MOST_OF_ONE_LAYER, f"{LONG} tokens took {share:.2f} of what one layer's matrices would")
    mib = 2**20
    return {
        f"peak MiB at {LONG} tokens": peak / mib,
        "MiB of one layer's matrices": one_layer / mib,
        "of all layers'": one_layer * model.config.num_hidden_layers / mib,
    }
