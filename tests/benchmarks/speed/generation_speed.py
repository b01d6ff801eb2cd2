#!/usr/bin/env python3
"""Tokens per second of our pipeline against vLLM's own offline generation and ray.data.llm's processor.

    python tests/benchmarks/speed/generation_speed.py [--prompts 100] [--samples 8] [--rounds 2] [--threads 2]

All sides have the same prompts, samples per prompt and settings of the embedded teacher, with every sample seeded; they
run in turn, each time in a new process, in the opposite order every other round. The clock runs from the first request
to a ready engine, without warm-up, to the last sample: returned by `LLM.generate`, durable in our log, handed out by
the processor. So starting Ray and engines is not counted. The processor returns one output per row, so it gets one row
per sample; only ours also requests log-probabilities, since it stores them.
"""

import argparse
import dataclasses
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from support.ratios import Ratio, add_json_option, write_ratios  # noqa: E402

os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ["PYTHONPATH"] = str(ROOT / "platform")

SAMPLING = {"temperature": 1.0, "max_tokens": 512}
ENGINE = {"max_model_len": 1024, "max_num_seqs": 256}
SIDES = ("vllm", "stillery", "ray.data.llm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2, help="threads that the engine computes with, on every side")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    add_json_option(parser)
    options = parser.parse_args()
    if options.side is not None:
        texts = prompts(options.prompts)
        side = {"vllm": run_vllm, "stillery": run_stillery, "ray.data.llm": run_ray_data_llm}[options.side]
        print(json.dumps(side(texts, options.samples, options.threads)))
        return
    rates: dict[str, list[float]] = {side: [] for side in options.sides}
    for round_ in range(options.rounds):
        for side in options.sides if round_ % 2 == 0 else reversed(options.sides):
            command = [sys.executable, __file__, "--side", side]
            command += ["--prompts", str(options.prompts), "--samples", str(options.samples)]
            command += ["--threads", str(options.threads)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                print(f"{side} failed: {done.stderr[-1500:]}")
                continue
            tokens, seconds = json.loads(done.stdout.strip().splitlines()[-1])
            rates[side].append(tokens / seconds)
            print(f"round {round_}: {side:<14}{tokens:>9,} tokens in {seconds:6.1f} s", flush=True)
    print(f"\n{'':<14}{'tokens/s':>10}{'lowest':>10}{'highest':>10}{'to vllm':>9}")
    for side, values in rates.items():
        if values:
            rate = statistics.mean(values)
            ratio = f"{rate / statistics.mean(rates['vllm']):.2f}" if rates.get("vllm") else ""
            print(f"{side:<14}{rate:>10,.0f}{min(values):>10,.0f}{max(values):>10,.0f}{ratio:>9}")
    if any(len(values) < options.rounds for values in rates.values()):
        sys.exit("some sides failed: the table is not whole")
    means = {side: statistics.mean(values) for side, values in rates.items()}
    baselines = {"vllm": ("LLM.generate", 0.95), "ray.data.llm": ("ray.data.llm", 1.0)}
    if "stillery" in means:
        write_ratios(
            options.json,
            [
                Ratio(f"generation, tokens/s to {name}", means["stillery"] / means[side], aim)
                for side, (name, aim) in baselines.items()
                if side in means
            ],
        )


def prompts(count: int) -> list[str]:
    """Problems of the demo, as the chat template writes them."""
    from stillery.problems.buckets import Bucket
    from stillery.tiny_models.evaluate import problems_for
    from stillery.tiny_models.tokenizer import render_prompt

    problems = problems_for(Bucket.CALIBRATION, per_task=-(-count // 6), seed=0)
    return [render_prompt(problem.question) for problem in problems][:count]


def run_vllm(texts: list[str], samples: int, threads: int) -> tuple[int, float]:
    """`LLM.generate` in this process, set up as our engine is."""
    from vllm import SamplingParams

    from stillery.config import EngineConfig
    from stillery.sampling.backends.vllm import load_engine

    llm = load_engine("embedded:teacher", EngineConfig(threads=threads, engine=ENGINE))
    started = time.monotonic()
    outputs = llm.generate(texts, SamplingParams(**SAMPLING, n=samples, seed=0), use_tqdm=False)
    seconds = time.monotonic() - started
    completions = [completion for output in outputs for completion in output.outputs]
    assert len(completions) == len(texts) * samples, "samples are missing"
    return sum(len(completion.token_ids) for completion in completions), seconds


def run_stillery(texts: list[str], samples: int, threads: int) -> tuple[int, float]:
    """Our Ray Data pipeline with its durable log, whose last file ends the time."""
    import ray

    from stillery.config import EngineConfig
    from stillery.io.storage import Folder
    from stillery.records import Generation, RenderedPrompt, from_table
    from stillery.sampling.backend import vllm_backend
    from stillery.sampling.engine_actors import run_batches
    from stillery.sampling.sample_log import SampleLog
    from stillery.sampling.sampling_plan import SamplingPlan

    ray.init(num_cpus=4, log_to_driver=False, include_dashboard=False)
    root = Path(tempfile.mkdtemp(prefix="stillery-trial-"))
    log = SampleLog(Folder(str(root / "log")))
    engine = EngineConfig(threads=threads, engine=ENGINE)
    source = vllm_backend("embedded:teacher", engine)
    plan = SamplingPlan(source.identity, {**SAMPLING, "seed": 0}, samples, log, engine.flush_every)
    ready = root / "ready"
    source = dataclasses.replace(source, start=functools.partial(start_and_tell, source.start, ready))
    prompts = [RenderedPrompt(str(i), text, []) for i, text in enumerate(texts)]
    run_batches(prompts, plan=plan, source=source, engine=engine, label="trial")
    rows = [row for table in log.read(log.files()).tables.values() for row in from_table(table, Generation)]
    assert len(rows) == len(texts) * samples, "samples are missing"
    ended = max((log.folder.local / name).stat().st_mtime for name in log.files())
    return sum(row.num_tokens for row in rows), ended - ready.stat().st_mtime


def start_and_tell(start: Callable[[], Any], ready: Path) -> Any:
    """Start an engine, which the first request starts and then waits for, and leave a file when it is up."""
    engine = start()
    ready.touch()
    return engine


def run_ray_data_llm(texts: list[str], samples: int, threads: int) -> tuple[int, float]:
    """The stock processor on one row a sample. Rows tell when they left it and how long the engine had them, so its
    first request is known but for the way out, which the last row has too."""
    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    from stillery.sampling.models import resolve_model

    ray.init(num_cpus=8, log_to_driver=False, include_dashboard=False)
    env = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(threads)}
    cpu = {"dtype": "float32", "enforce_eager": True, "distributed_executor_backend": "uni"}
    config = vLLMEngineProcessorConfig(
        model_source=resolve_model("embedded:teacher"),
        engine_kwargs={**ENGINE, **cpu, "enable_chunked_prefill": False},
        placement_group_config={"bundles": [{"CPU": 1}]},
        accelerator_type=None,
        concurrency=1,
        batch_size=64,
        chat_template_stage=False,
        runtime_env={"env_vars": env},
    )
    processor = build_processor(
        config,
        preprocess=lambda row: {"prompt": row["prompt"], "sampling_params": {**SAMPLING, "seed": int(row["seed"])}},
        postprocess=lambda row: {
            "tokens": row["num_generated_tokens"],
            "left": time.time(),
            "seconds": row["time_taken_llm"],
        },
    )
    rows = [{"prompt": text, "seed": i} for i, text in enumerate(text for text in texts for _ in range(samples))]
    done = list(processor(ray.data.from_items(rows, override_num_blocks=-(-len(rows) // 64))).iter_rows())
    assert len(done) == len(rows), "samples are missing"
    first, last = min(row["left"] - row["seconds"] for row in done), max(row["left"] for row in done)
    return sum(row["tokens"] for row in done), last - first


if __name__ == "__main__":
    main()
