"""LoRA and full fine-tuning of one student on the same rows, in turn in one process: tokens per second, memory, losses.

    PYTHONPATH=platform:tests python tests/benchmarks/speed/lora_and_full.py --steps 20

The rows are exact traces of generated problems. The first step of each side is not timed. Without Ray: the subject is
TRL's trainer with the stage's arguments.
"""

import argparse
import gc
import random
import tempfile
import time
from typing import Any

import psutil

from stillery.config import SftConfig
from stillery.problems.tasks import TASKS, TRAINED_STEPS
from stillery.records import Message, Sample
from stillery.sampling.adapters import quiet_peft
from stillery.sampling.chat.conversation import open_conversation, student_format
from stillery.sampling.models import resolve_model
from stillery.tiny_models.traces import write_trace
from stillery.training.adapters import lora_config
from stillery.training.loop import trl_arguments

TASK_NAMES = ("equations", "last_letters", "coin_flip", "shuffled_objects")
SIDES: dict[str, tuple[dict[str, Any] | None, float]] = {
    "LoRA r=16": ({"r": 16, "lora_alpha": 32}, 1e-3),
    "full": (None, 1e-4),
}


def make_rows(student: str, count: int) -> list[dict[str, Any]]:
    """Exact traces in the student's tokens, of all tasks in turn."""
    rng = random.Random(0)
    samples: list[Sample] = []
    for number in range(count):
        task = TASK_NAMES[number % len(TASK_NAMES)]
        problem = TASKS[task](rng, rng.choice(TRAINED_STEPS[task]))
        trace = write_trace(problem, seed=number).text
        question, answer = [Message("user", problem.question)], [Message("assistant", trace)]
        samples.append(Sample(str(number), str(number), task, "train", question, answer, [], "reasoning", "exact"))
    conversation = open_conversation(student_format(SftConfig(student=student)), key="sft.student")
    return [{"input_ids": row.input_ids, "labels": row.labels()} for row in conversation.rows(samples)]


def measure(student: str, rows: list[dict[str, Any]], side: str, *, steps: int, batch: int, threads: int) -> str:
    """One side's line of the table."""
    quiet_peft()
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(threads)
    table, rate = SIDES[side]
    ends: list[float] = []
    peak = 0.0

    class Clock(TrainerCallback):
        def on_step_end(self, *given: Any, **named: Any) -> None:  # noqa: ARG002
            nonlocal peak
            ends.append(time.perf_counter())
            peak = max(peak, psutil.Process().memory_info().rss / 2**30)

    settings = {
        "max_steps": steps, "per_device_train_batch_size": batch, "learning_rate": rate, "logging_steps": 1,
        "bf16": True, "save_strategy": "no", "shuffle_dataset": False,
    }  # fmt: skip
    trl = trl_arguments({"trl": settings, "use_gpu": False, "seed": 0}, has_validation=False)
    folder = resolve_model(student)
    with tempfile.TemporaryDirectory() as out:
        trainer = SFTTrainer(
            model=folder,
            args=SFTConfig(output_dir=out, **trl),
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(folder),
            peft_config=None if table is None else lora_config(table),
            callbacks=[Clock()],
        )
        trainer.train()
    history: list[dict[str, Any]] = trainer.state.log_history
    losses = [row["loss"] for row in history if "loss" in row]
    tokens = [row["num_tokens"] for row in history if "num_tokens" in row]
    speed = (tokens[len(ends) - 1] - tokens[0]) / (ends[-1] - ends[0])
    trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    del trainer
    gc.collect()
    edge = max(1, steps // 5)
    first, last = sum(losses[:edge]) / edge, sum(losses[-edge:]) / edge
    return f"| {side} | {trained:,} | {speed:.0f} | {peak:.1f} | {first:.3f} | {last:.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", default="pretrained:smollm2-135m")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    rows = make_rows(given.student, given.steps * given.batch)
    mean = sum(len(row["input_ids"]) for row in rows) / len(rows)
    print(f"{given.student}: {given.steps} steps of {given.batch} rows, {mean:.0f} tokens a row", flush=True)
    print("| what | parameters trained | tokens/s | RSS, GiB | first losses | last losses |\n|---|---|---|---|---|---|")
    for _ in range(given.rounds):
        for side in SIDES:
            how = {"steps": given.steps, "batch": given.batch, "threads": given.threads}
            print(measure(given.student, rows, side, **how), flush=True)


if __name__ == "__main__":
    main()
