"""The stage `sft` against plain TRL: the same rows, settings and batches, the sides in turn. Losses and time.

    PYTHONPATH=platform:tests python tests/benchmarks/speed/sft_overhead.py --rounds 4

Ours is the whole stage, with one worker of Ray Train; plain is a process that passes the same tokens to TRL's trainer.
Both save a checkpoint and validate after each epoch. The compared time is transformers' own `train_runtime`: steps,
validations, checkpoints and callbacks. Everything before and after it (Ray's workers, imports, preparation, publishing)
is in the second ratio. On a shared machine single ratios mean little: take the medians.
"""

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.gpu_check.data import training_samples
from stillery.config import ClusterConfig, SftConfig
from stillery.io.storage import Folder
from stillery.records import Sample
from stillery.sampling.models import resolve_model
from stillery.training.loop import trl_arguments

History = list[dict[str, Any]]


def config_of(parsed: argparse.Namespace) -> SftConfig:
    trl = {"per_device_train_batch_size": 8, "num_train_epochs": parsed.epochs, "learning_rate": 3e-3,
           "adam_beta2": 0.95, "max_length": 768, "logging_steps": 1, "report_to": "none"}  # fmt: skip
    return SftConfig(student=parsed.student, threads=parsed.threads, trl=trl)


def ours(config: SftConfig, samples: Folder, out: Folder) -> History:
    from stillery.stages.sft import fine_tune

    fine_tune(config, seed=0, now=datetime.datetime.now(), samples=samples, out=out)
    return json.loads(out.read_bytes("history.json"))


def plain(config: SftConfig, data: Path, out: Path) -> History:
    """TRL's trainer on the tokens of `data`, as a script of one's own would call it."""
    import pyarrow.parquet as pq
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig as TrlConfig
    from trl import SFTTrainer

    torch.set_num_threads(config.threads or 1)
    table = trl_arguments({"use_gpu": False, "seed": 0, "trl": config.trl}, has_validation=True)
    student = resolve_model(config.student)
    train, validation = (
        Dataset.from_list(pq.read_table(data / f"{split}-samples-00000.parquet").to_pylist())
        for split in ("train", "validation")
    )
    trainer: Any = SFTTrainer(
        model=student,
        args=TrlConfig(output_dir=str(out), save_total_limit=2, **table),
        train_dataset=train,
        eval_dataset=validation,
        processing_class=AutoTokenizer.from_pretrained(student),
    )
    trainer.train()
    return trainer.state.log_history


def losses(history: History) -> list[float]:
    return [row[key] for row in history for key in ("loss", "eval_loss") if key in row]


def runtime(history: History) -> float:
    return next(row["train_runtime"] for row in history if "train_runtime" in row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", default="embedded:student")
    parser.add_argument("--rows", type=int, default=40, help="of each of the six tasks")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plain", type=Path, nargs=2, metavar=("DATA", "OUT"), help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    config = config_of(parsed)
    if parsed.plain:
        data, out = parsed.plain
        history = plain(config, data, out)
        (out / "history.json").write_text(json.dumps(history))
        return
    from stillery.cluster.connect import connect

    connect(ClusterConfig(address="local"))
    ratios: list[float] = []
    whole: list[float] = []
    print("| round | ours, s | plain, s | ratio | whole, ratio | losses apart |\n|---|---|---|---|---|---|")
    for number in range(1, parsed.rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            root = Folder(folder)
            rows = training_samples(parsed.rows, validated=4)
            (root / "samples").write_rows("samples-00000.parquet", rows, Sample)
            started = time.monotonic()
            mine = ours(config, root / "samples", root / "ours")
            between = time.monotonic()
            out = Path(folder) / "plain"
            out.mkdir()
            command = [sys.executable, *sys.argv, "--plain", str(root.local / "ours" / "data"), str(out)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            ended = time.monotonic()
            theirs: History = json.loads((out / "history.json").read_text())
        apart = max(abs(a - b) for a, b in zip(losses(mine), losses(theirs), strict=True))
        ratios.append(runtime(mine) / runtime(theirs))
        whole.append((between - started) / (ended - between))
        figures = f"{runtime(mine):.1f} | {runtime(theirs):.1f} | {ratios[-1]:.3f} | {whole[-1]:.2f} | {apart:.2g}"
        print(f"| {number} | {figures} |", flush=True)
    print(f"median ratio {median(ratios):.3f}, whole {median(whole):.2f}, of {len(losses(mine))} losses")


if __name__ == "__main__":
    main()
