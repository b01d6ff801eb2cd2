#!/usr/bin/env python3
"""Time and memory of attention energy against pooling `output_attentions=True`, by length of the trace.

    python tests/benchmarks/speed/attention_cost.py
        [--model DIR] [--tokens 2048 8192 16384] [--block-size 128] [--threads 1]

Each measurement runs in its own process, on the CPU in float32, after a warm-up pass over a short text. Time is CPU
time, summed over threads, so that other work on the machine does not count. Memory is the increase of the process's
peak over that of loading the model and the warm-up pass. If the attention matrices of all layers would not fit into 60%
of the free memory, `output_attentions=True` is not run. If both ran, the last column is the largest difference between
the two pooled results.
"""

import argparse
import multiprocessing
import os
import platform
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform")]

from stillery.bonds.measure.attention import BLOCK_SIZE, attention_energy, steps_of_tokens  # noqa: E402

TEACHER = ROOT / "platform" / "stillery" / "tiny_models" / "models" / "teacher"
LINE = "Tom has {0} apples and buys {1} more, so he has {0} + {1} = {2} apples.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=TEACHER, help="a checkpoint (default: the embedded teacher)")
    parser.add_argument("--tokens", type=int, nargs="+", default=[2048, 4096, 8192, 16384])
    parser.add_argument("--block-size", type=int, default=BLOCK_SIZE)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {options.threads} threads, {options.model.name}")
    print(f"{'tokens':>7}{'steps':>7}{'blocks s':>10}{'MiB':>8}{'matrices s':>12}{'MiB':>8}{'difference':>12}")
    for tokens in options.tokens:
        settings = (options.model, tokens, options.block_size, options.threads)
        ours = in_a_process(by_blocks, settings)
        theirs = in_a_process(by_matrices, settings) if matrices_bytes(options.model, tokens) < free_bytes() else None
        line = f"{tokens:>7}{len(ours[2]):>7}{ours[0]:>10.1f}{ours[1]:>8.0f}"
        if theirs is None:
            needed = matrices_bytes(options.model, tokens) / 2**30
            print(f"{line}{f'not run: {needed:.0f} GiB':>20}", flush=True)
        else:
            difference = np.abs(ours[2] - theirs[2]).max()
            print(f"{line}{theirs[0]:>12.1f}{theirs[1]:>8.0f}{difference:>12.1e}", flush=True)


def in_a_process(measure: Any, settings: Any) -> tuple[float, float, np.ndarray]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured, measure, *settings).result()


def measured(measure: Any, path: Path, tokens: int, block_size: int, threads: int) -> tuple[float, float, np.ndarray]:
    """Processor seconds, the growth of peak memory in MiB, and the pooled attention."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    measure(model, tokenizer, *trace(tokenizer, 256), block_size)
    text, spans = trace(tokenizer, tokens)
    before, start = peak_mib(), time.process_time()
    attention = measure(model, tokenizer, text, spans, block_size)
    return time.process_time() - start, peak_mib() - before, attention


def by_blocks(model: Any, tokenizer: Any, text: str, spans: list[tuple[int, int]], block_size: int) -> np.ndarray:
    return attention_energy(model, tokenizer, text, spans, block_size=block_size).attention


def by_matrices(model: Any, tokenizer: Any, text: str, spans: list[tuple[int, int]], _: int) -> np.ndarray:
    """The same from every layer's attention matrix, as `output_attentions=True` returns them."""
    import torch

    encoded = tokenizer(text, return_offsets_mapping=True, verbose=False)
    steps = torch.tensor(steps_of_tokens(encoded["offset_mapping"], spans))
    member = torch.nn.functional.one_hot(steps, len(spans) + 1)[:, : len(spans)].float()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        attentions = model.base_model(torch.tensor([encoded["input_ids"]]), output_attentions=True).attentions
    pooled = sum((layer[0] @ member).mean(0).T @ member for layer in attentions) / len(attentions)
    return (pooled / member.sum(0)).numpy().astype(np.float64)


def trace(tokenizer: Any, tokens: int) -> tuple[str, list[tuple[int, int]]]:
    """A text of exactly that many tokens, and the spans of its lines."""
    lines = (LINE.format(i % 90, i % 7, i % 90 + i % 7) for i in range(tokens))
    text = "".join(lines)[: 20 * tokens]
    text = text[: tokenizer(text, return_offsets_mapping=True, verbose=False)["offset_mapping"][tokens - 1][1]]
    ends = [i + 1 for i, character in enumerate(text) if character == "\n"]
    bounds = sorted({0, *ends, len(text)})
    return text, list(pairwise(bounds))


def matrices_bytes(path: Path, tokens: int) -> int:
    """What the attention matrices of all layers take in float32."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(path)
    return 4 * config.num_hidden_layers * config.num_attention_heads * tokens**2


def free_bytes() -> float:
    return 0.6 * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def peak_mib() -> float:
    """The peak resident memory of this process; Linux counts in KiB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
