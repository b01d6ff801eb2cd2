#!/usr/bin/env python3
"""Tokens a second of our pipeline against vLLM's own offline generation and against ray.data.llm's processor.

    python tests/trials/generation_speed.py [--prompts 100] [--samples 8] [--rounds 2]

The same prompts, samples a prompt and settings of the embedded teacher; the sides run in turn, `rounds` times each, in
a process of their own under one Ray. Starting an engine is not counted: each side first makes a few samples. The
stock processor returns one output a row, so it is handed one row a sample.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]
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
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is not None:
        texts = prompts(options.prompts)
        side = {"vllm": run_vllm, "stillery": run_stillery, "ray.data.llm": run_ray_data_llm}[options.side]
        print(json.dumps(side(texts, options.samples)))
        return
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    for round_ in range(options.rounds):
        for side in SIDES:
            command = [sys.executable, __file__, "--side", side]
            command += ["--prompts", str(options.prompts), "--samples", str(options.samples)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                print(f"{side} failed: {done.stderr[-1500:]}")
                continue
            tokens, seconds = json.loads(done.stdout.strip().splitlines()[-1])
            rates[side].append(tokens / seconds)
            print(f"round {round_}: {side:<14}{tokens:>9,} tokens in {seconds:6.1f} s", flush=True)
    print(f"\n{'':<14}{'tokens/s':>10}{'to vllm':>9}")
    for side, values in rates.items():
        if values and rates["vllm"]:
            rate = statistics.mean(values)
            print(f"{side:<14}{rate:>10,.0f}{rate / statistics.mean(rates['vllm']):>9.2f}")


def prompts(count: int) -> list[str]:
    """Problems of the demo, as the chat template writes them."""
    from stillery.embedded.evaluate import problems_for
    from stillery.embedded.tokenizer import render_prompt
    from stillery.prompts.buckets import Bucket

    problems = problems_for(Bucket.CALIBRATION, per_task=-(-count // 6), seed=0)
    return [render_prompt(problem.question) for problem in problems][:count]


def run_vllm(texts: list[str], samples: int) -> tuple[int, float]:
    """`LLM.generate` in this process, set up as our engine is."""
    from vllm import SamplingParams

    from stillery.config import EngineConfig
    from stillery.engines.models import resolve_model
    from stillery.engines.vllm_engine import load_engine

    llm = load_engine(resolve_model("embedded:teacher"), EngineConfig(threads=2, engine=ENGINE))
    llm.generate(texts[:8], SamplingParams(**SAMPLING, seed=1), use_tqdm=False)
    started = time.monotonic()
    outputs = llm.generate(texts, SamplingParams(**SAMPLING, n=samples, seed=0), use_tqdm=False)
    seconds = time.monotonic() - started
    return sum(len(c.token_ids) for output in outputs for c in output.outputs), seconds


def run_stillery(texts: list[str], samples: int) -> tuple[int, float]:
    """Our Ray Data pipeline with its durable log; the clock is the one that its own progress lines go by."""
    import dataclasses
    import functools

    import ray

    from stillery.config import EngineConfig
    from stillery.engines import log, sampling
    from stillery.engines.block import Plan
    from stillery.engines.models import model_id
    from stillery.engines.sources import vllm_source
    from stillery.records import Ask
    from stillery.storage import Folder

    ray.init(num_cpus=4, log_to_driver=False, include_dashboard=False)
    folder = Folder(tempfile.mkdtemp(prefix="stillery-trial-"))
    engine = EngineConfig(threads=2, engine=ENGINE)
    identity = model_id("embedded:teacher")
    plan = Plan(identity, {**SAMPLING, "seed": 0}, samples, folder, engine.flush_every)
    source = vllm_source("embedded:teacher", engine, template_kwargs={})
    source = dataclasses.replace(source, start=functools.partial(start_warm, source.start))
    clock: dict[str, Any] = {}

    class Clock(sampling.Progress):
        def add(self, tally: Any) -> None:
            super().add(tally)
            clock["seconds"] = time.monotonic() - (self.started or 0.0)

    sampling.Progress = Clock
    asks = [Ask(str(i), text, []) for i, text in enumerate(texts)]
    sampling.sample(asks, plan=plan, source=source, engine=engine, label="trial")
    rows = log.read_files(folder, log.log_files(folder))
    assert len(rows) == len(texts) * samples, "samples are missing"
    return sum(row.num_tokens for row in rows.values()), clock["seconds"]


def start_warm(start: Any) -> Any:
    """An engine that has made a few samples, so that its kernels are compiled."""
    import threading

    from stillery.records import Request

    engine = start()
    done = threading.Semaphore(0)
    for i in range(8):
        engine.submit(Request(f"warm{i}", "w", i, i, "3 + 4 ="), sampling=SAMPLING, done=lambda _: done.release())
    for _ in range(8):
        done.acquire()
    return engine


def run_ray_data_llm(texts: list[str], samples: int) -> tuple[int, float]:
    """The stock processor on one row a sample; timed from its first output to its last, less the first batch."""
    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    from stillery.engines.models import resolve_model

    ray.init(num_cpus=8, log_to_driver=False, include_dashboard=False)
    env = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "2"}
    cpu = {"dtype": "float32", "enforce_eager": True, "distributed_executor_backend": "uni"}
    config = vLLMEngineProcessorConfig(
        model_source=resolve_model("embedded:teacher"),
        engine_kwargs={**ENGINE, **cpu, "enable_chunked_prefill": False},
        placement_group_config={"bundles": [{"CPU": 1}]},
        accelerator_type=None,
        concurrency=1,
        batch_size=64,
        apply_chat_template=False,
        runtime_env={"env_vars": env},
    )
    processor = build_processor(
        config,
        preprocess=lambda row: {"prompt": row["prompt"], "sampling_params": {**SAMPLING, "seed": int(row["seed"])}},
        postprocess=lambda row: {"tokens": row["num_generated_tokens"]},
    )
    warm = 64
    rows = [{"prompt": texts[i % len(texts)], "seed": i} for i in range(warm + len(texts) * samples)]
    tokens, started = 0, 0.0
    for seen, row in enumerate(processor(ray.data.from_items(rows)).iter_rows(), start=1):
        if seen == warm:
            started = time.monotonic()
        tokens += row["tokens"] if seen > warm else 0
    return tokens, time.monotonic() - started


if __name__ == "__main__":
    main()
