"""An engine or a training worker killed in the middle: the work goes on, nothing is lost and nothing made twice."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from small_run import small_config
from stillery.engines.asking import ask
from stillery.engines.log import logged_ids
from stillery.engines.sources import vllm_source
from stillery.records import Generation, Message, Prompt, Sample, digest
from stillery.runs import open_run
from stillery.storage import Folder
from stillery.train.sft import fine_tune

pytestmark = pytest.mark.usefixtures("ray_cluster")


def kill_when(condition: Callable[[], bool], actor_class: str) -> threading.Thread:
    """Kill -9 the first process of a Ray actor class as soon as the condition holds."""

    def watch() -> None:
        while not condition():
            time.sleep(0.02)
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and actor_class in _title(entry):
                os.kill(int(entry.name), signal.SIGKILL)
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def _title(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def test_a_killed_engine_loses_no_sample_and_makes_none_twice(tmp_path: Path) -> None:
    config = small_config(tmp_path / "run", "teacher.flush_every=4", "teacher.engine.max_num_seqs=4")
    prompts = [
        Prompt(f"p{i}", "t", f"Solve for x: {i} + x = 40", "1", "number", [], "test", "train", 1, None)
        for i in range(16)
    ]
    sampling = {"temperature": 1.0, "max_tokens": 96, "seed": 0}
    with open_run(config) as run:
        log = Folder(str(tmp_path / "run" / "log"))

        def some_are_logged() -> bool:
            return any((log / key).names(".parquet") for key in log.names())

        killer = kill_when(some_are_logged, "MapBatches(Sampler)")
        asked = ask(
            prompts, [[Message("user", p.question)] for p in prompts], engine=config.teacher,
            source=vllm_source("embedded:student", config.teacher),
            sampling=sampling, num_samples=4, run=run, label="fault",
        )  # fmt: skip
        rows = [row for part in asked.read(rows=1000) for row in part]
        killer.join(timeout=1)
        assert not killer.is_alive(), "the engine was never killed"
        (key,) = log.names()
        logged = [(log / key).read_table(name, Generation).num_rows for name in (log / key).names(".parquet")]
    assert len({row.sample_id for row in rows}) == 64
    assert sum(logged) == len(logged_ids(log / key)) == 64


def test_one_of_two_training_workers_killed_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    config = small_config(
        tmp_path / "run", "sft.trl.num_train_epochs=4", "sft.trl.save_strategy=steps", "sft.trl.save_steps=5",
        "sft.trl.logging_steps=1", "sft.trl.per_device_train_batch_size=4", "sft.num_workers=2", "sft.threads=1",
    )  # fmt: skip
    out, source = Folder(str(tmp_path / "sft")), Folder(str(tmp_path / "curate"))
    rows = [
        Sample(
            digest(i), f"p{i}", "t", "train" if i % 8 else "validation", [Message("user", f"Solve for x: x + 1 = {i}")],
            [Message("assistant", f"<think>\nx = {i} - 1 = {i - 1}\n</think>\n<answer>{i - 1}</answer>")], [], "r", "T",
        )
        for i in range(1, 97)
    ]  # fmt: skip
    source.write_rows("samples.parquet", rows, Sample)
    checkpoints = tmp_path / "sft" / "ray_train"
    killer = kill_when(lambda: len(list(checkpoints.glob("checkpoint_*"))) >= 2, "RayTrainWorker")
    summary = fine_tune(config.sft, seed=0, samples=source, out=out)
    killer.join(timeout=1)
    assert not killer.is_alive(), "the worker was never killed"
    history = [row["step"] for row in json.loads(out.read_bytes("history.json")) if "loss" in row]
    assert history == sorted(set(history)), "steps were trained twice"
    assert history[-1] == 44
    assert summary["last_loss"] < summary["first_loss"]
