#!/usr/bin/env python3
"""Time and memory of the GGUF export at a real size, and its converter check.

    python tests/benchmarks/speed/export_real_size.py [--quantizations Q8_0 Q4_0] [--folder DIR] [--skip-check]

A randomly initialised checkpoint with Qwen3-0.6B's config (596,049,920 parameters, bfloat16, two shards) is written,
with the embedded student's tokenizer, which leaves the rest of the 151,936 embedding rows unused. Each export runs in
its own process, whose peak resident size is printed beside the checkpoint's size. The check compares F32 and each
quantization with transformers, using the gate's own code. Needs about 7 GB of disk and, for the check, of memory.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform")]

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "attention_bias": False, "attention_dropout": 0.0,
    "bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0, "head_dim": 128, "hidden_act": "silu",
    "hidden_size": 1024, "initializer_range": 0.02, "intermediate_size": 3072, "max_position_embeddings": 40960,
    "max_window_layers": 28, "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8,
    "rms_norm_eps": 1e-6, "rope_parameters": {"rope_theta": 1_000_000.0, "rope_type": "default"},
    "sliding_window": None, "tie_word_embeddings": True, "dtype": "bfloat16", "use_cache": True,
    "use_sliding_window": False, "vocab_size": 151936,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quantizations", nargs="+", default=["Q8_0", "Q4_0"])
    parser.add_argument("--folder", type=Path, help="where the checkpoint is kept for another run")
    parser.add_argument("--skip-check", action="store_true", help="only the exports")
    parser.add_argument("--positions", type=int, default=16, help="tokens on which logits are compared")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step == "write":
        print(json.dumps(write(options.folder, options.out, options.quantizations[0])))
        return
    if options.step == "check":
        print(json.dumps(check(options.folder, options.out, positions=options.positions)))
        return
    with tempfile.TemporaryDirectory(prefix="stillery-trial-") as scratch:
        folder = options.folder or Path(scratch) / "checkpoint"
        if not (folder / "config.json").is_file():
            make_checkpoint(folder)
        run(folder, Path(scratch), options)


def run(folder: Path, scratch: Path, options: argparse.Namespace) -> None:
    """Every export, then the check of all files; the table as it grows."""
    checkpoint = sum(p.stat().st_size for p in folder.glob("*.safetensors"))
    print(f"checkpoint: {checkpoint / 1e6:.0f} MB in bfloat16")
    print(f"{'quantization':>12}{'MB':>8}{'seconds':>9}{'peak MiB':>10}{'of checkpoint':>15}", flush=True)
    wanted = options.quantizations if options.skip_check else ["F32", *options.quantizations]
    for quantization in wanted:
        out = scratch / quantization
        out.mkdir()
        row = in_child("write", folder, out, ["--quantizations", quantization])
        share = row["peak_mib"] * 2**20 / checkpoint
        print(f"{quantization:>12}{row['mb']:>8.0f}{row['s']:>9.1f}{row['peak_mib']:>10.0f}{share:>14.2f}x", flush=True)
    if not options.skip_check:
        found = in_child("check", folder, scratch, ["--positions", str(options.positions)])
        for quantization, figures in found.items():
            print(f"{quantization:>12}  " + "  ".join(f"{name} {value:.3g}" for name, value in figures.items()))


def in_child(step: str, folder: Path, out: Path, extra: list[str]) -> Any:
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder), "--out", str(out), *extra]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr[-2000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def write(folder: Path, out: Path, quantization: str) -> dict[str, float]:
    """One export in this process: seconds, megabytes, and the process's peak resident size."""
    from stillery.export.formats import format_named

    start = time.perf_counter()
    format_named("gguf").write(folder, out, quantization=quantization, calibration=[])
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text()
    peak_kib = int(status.split("VmHWM:")[1].split()[0])
    return {"s": seconds, "mb": (out / "model.gguf").stat().st_size / 1e6, "peak_mib": peak_kib / 1024}


def check(folder: Path, artifacts: Path, *, positions: int) -> dict[str, dict[str, float]]:
    """The gate's comparison of every artifact with the checkpoint, on two questions."""
    from stillery.export.formats import format_named
    from stillery.export.parity.corpus import build_corpus
    from stillery.export.parity.figures import ask_reference, compare
    from stillery.export.parity.reference import CheckpointRuntime
    from stillery.records import Prompt

    problems = [
        Prompt(str(n), "sum", f"What is {n} + 7?", str(n + 7), "number", [], "test", "test", None, None)
        for n in (12, 30)
    ]
    runtime = CheckpointRuntime(folder)
    reference = ask_reference(
        runtime, problems, build_corpus([])[::20], end_tokens=(2,), decode=runtime.decode, max_new_tokens=4,
        max_positions=positions, context=2000,
    )  # fmt: skip
    runtime.close()
    found: dict[str, dict[str, float]] = {}
    for artifact in sorted(p for p in artifacts.iterdir() if (p / "model.gguf").is_file()):
        loaded = format_named("gguf").load(artifact)
        parity = compare(loaded, reference)
        loaded.close()
        found[artifact.name] = {
            "kl": parity.kl,
            "top_1": parity.top_1_agreement,
            "greedy": parity.greedy_agreement,
            "tokenizer": parity.tokenizer_agreement,
            "positions": parity.num_positions,
        }
    return found


def make_checkpoint(folder: Path) -> None:
    """The config, the student's tokenizer, and random weights in two shards; the last file is the config."""
    student = ROOT / "platform" / "stillery" / "tiny_models" / "models" / "student"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(student / name, folder / name)
    shapes = list(tensor_shapes().items())
    shards = {"model-00001-of-00002.safetensors": shapes[:150], "model-00002-of-00002.safetensors": shapes[150:]}
    rng = np.random.default_rng(0)
    for name, tensors in shards.items():
        write_shard(folder / name, dict(tensors), rng)
    places = {tensor: name for name, tensors in shards.items() for tensor, _ in tensors}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    (folder / "config.json").write_text(json.dumps(CONFIG))


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    hidden, feed, head = CONFIG["hidden_size"], CONFIG["intermediate_size"], CONFIG["head_dim"]
    query, key = CONFIG["num_attention_heads"] * head, CONFIG["num_key_value_heads"] * head
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,), "self_attn.q_norm": (head,),
        "self_attn.k_norm": (head,), "self_attn.q_proj": (query, hidden), "self_attn.k_proj": (key, hidden),
        "self_attn.v_proj": (key, hidden), "self_attn.o_proj": (hidden, query), "mlp.gate_proj": (feed, hidden),
        "mlp.up_proj": (feed, hidden), "mlp.down_proj": (hidden, feed),
    }  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (CONFIG["vocab_size"], hidden)}
    for number in range(CONFIG["num_hidden_layers"]):
        shapes |= {f"model.layers.{number}.{part}.weight": shape for part, shape in layer.items()}
    return shapes | {"model.norm.weight": (hidden,)}


def write_shard(path: Path, shapes: dict[str, tuple[int, ...]], rng: np.random.Generator) -> None:
    """A safetensors file of bfloat16: norms are one, matrices normal with the config's standard deviation."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for shape in shapes.values():
            left = int(np.prod(shape))
            while left:
                count = min(left, 1 << 22)
                values = rng.standard_normal(count, np.float32) * np.float32(CONFIG["initializer_range"])
                values = np.ones(count, np.float32) if len(shape) == 1 else values
                (values.view(np.uint32) >> 16).astype("<u2").tofile(file)
                left -= count


if __name__ == "__main__":
    main()
