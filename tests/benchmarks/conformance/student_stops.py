#!/usr/bin/env python3
"""Does a trained student stop by itself if its end of sequence is not its template's end of turn?

    python tests/benchmarks/conformance/student_stops.py [--steps 60]

A copy of the embedded student gets <|endoftext|> as its only end of sequence and Qwen2.5's chat template, which ends a
turn with <|im_end|>, like Qwen2.5's base models. The sft stage trains it for a few steps under Ray Train. vLLM then
samples it twice: from the folder as TRL saves it, with the end of sequence set back to <|endoftext|>, and from the
folder as the stage leaves it.
"""

import argparse
import datetime
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]
os.environ.update({"RAY_AUTH_MODE": "disabled", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})

from stillery.config import ClusterConfig, EngineConfig, SftConfig  # noqa: E402
from stillery.io.storage import Folder  # noqa: E402
from stillery.records import Message, Sample  # noqa: E402
from support.chat_models import edit, make_student, published_template  # noqa: E402

LIMIT = 200


def sample_of(number: int) -> Sample:
    completion = f"<think>\n{number} + {number} = {2 * number}.\n</think>\n<answer>{2 * number}</answer>"
    prompt = [Message("user", f"What is {number} + {number}?")]
    answer = [Message("assistant", completion)]
    return Sample(f"s{number}", f"p{number}", "sums", "train", prompt, answer, [], "reasoning", "trial")


def train(student: Path, folder: Path, *, steps: int) -> dict[str, Any]:
    from stillery.cluster.connect import connect
    from stillery.stages.sft import fine_tune

    trl = {"max_steps": steps, "per_device_train_batch_size": 8, "learning_rate": 3e-3, "save_strategy": "steps",
           "save_steps": steps, "max_length": 256}  # fmt: skip
    (Folder(str(folder)) / "samples").write_rows("samples-00000.parquet", [sample_of(n) for n in range(48)], Sample)
    connect(ClusterConfig(address="local"))
    import ray

    made = fine_tune(
        SftConfig(student=str(student), trl=trl), seed=0, now=datetime.datetime.now(),
        samples=Folder(str(folder)) / "samples", out=Folder(str(folder)) / "out",
    )  # fmt: skip
    ray.shutdown()
    return made


def stopped(model: Path) -> tuple[int, int, float]:
    """How many of the samples ended by themselves, of how many, and their mean number of tokens."""
    from vllm import SamplingParams

    from stillery.sampling.backends.vllm import load_engine

    llm = load_engine(str(model), EngineConfig(engine={"max_model_len": 512}, cpu_kv_cache_gb=1))
    asked = [[{"role": "user", "content": f"What is {n} + {n}?"}] for n in range(20)]
    outputs = llm.chat(asked, SamplingParams(temperature=1.0, seed=0, max_tokens=LIMIT), use_tqdm=False)
    lengths = [len(output.outputs[0].token_ids) for output in outputs]
    return sum(o.outputs[0].finish_reason == "stop" for o in outputs), len(outputs), sum(lengths) / len(lengths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--sample", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sample is not None:
        print(json.dumps(stopped(arguments.sample)), flush=True)
        return
    import subprocess

    with tempfile.TemporaryDirectory(prefix="stillery-stops-") as name:
        folder = Path(name)
        student = make_student(
            folder / "student", template=published_template("qwen2_5"), eos="<|endoftext|>", stops=0, weights=True
        )
        made = train(student, folder, steps=arguments.steps)
        print(f"trained: {made['train']} samples, loss {made['first_loss']:.2f} to {made['last_loss']:.2f}", flush=True)
        after = folder / "out" / "checkpoint"
        before = folder / "before"
        shutil.copytree(after, before)
        edit(before / "tokenizer_config.json", eos_token="<|endoftext|>")
        edit(before / "generation_config.json", eos_token_id=None)
        edit(before / "config.json", eos_token_id=None)
        print("| checkpoint | stopped by itself | of | tokens a sample |\n|---|---|---|---|")
        for what, model in (("as TRL saves it", before), ("as the stage leaves it", after)):
            # An engine a process: vLLM does not give its memory back.
            command = [sys.executable, __file__, "--sample", str(model)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            num, total, length = json.loads(done.stdout.strip().splitlines()[-1])
            print(f"| {what} | {num} | {total} | {length:.0f} |", flush=True)


if __name__ == "__main__":
    main()
