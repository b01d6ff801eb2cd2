#!/usr/bin/env python3
"""Peak memory of each process that prepares training data: 2 million short rows, then 60,000 rows of 50 kB.

    python tests/benchmarks/speed/training_memory.py [--short 2000000] [--long 60000] [--folder DIR]

Samples are written in curation's format, in files of at most 20,000 rows. Ray Data tokenizes them into shards; then a
separate process does what a training worker does before its first step: copies the shards to its disk, maps them into
memory, makes TRL's trainer and takes a batch. The peak is the kernel's high-water mark of resident memory (VmHWM),
which for the last process includes pages of the mapped file. Exits with 1 if any is above 4 GiB.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform")]

from stillery.cluster import connect as cluster  # noqa: E402
from stillery.config import ClusterConfig, SftConfig  # noqa: E402
from stillery.io.storage import Folder  # noqa: E402
from stillery.records import Message, Sample, schema_of, to_table  # noqa: E402
from stillery.sampling.chat.conversation import student_format  # noqa: E402
from stillery.training.data import keep_shards, open_shards, prepare_data  # noqa: E402

LIMIT_GIB = 4.0
ROWS_PER_FILE = 20_000
SHORT, LONG_CHARACTERS = "<think>\n2 + 3 = 5\n</think>\n<answer>5</answer>", 50_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", type=int, default=2_000_000)
    parser.add_argument("--long", type=int, default=60_000)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--worker", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        return train_nothing(options.worker)
    folder: Path = options.folder or Path(tempfile.mkdtemp(prefix="stillery-memory-"))
    cluster.connect(ClusterConfig(address="local"))
    peaks: list[float] = []
    for name, count, completion in (("short", options.short, SHORT), ("long", options.long, long_completion())):
        write_samples(Folder(str(folder / name / "samples")), count, completion)
        peaks += measure(folder / name, name, count)
    return int(max(peaks) > LIMIT_GIB)


def long_completion() -> str:
    lines = "\n".join(f"{i} + {i} = {2 * i}" for i in range(LONG_CHARACTERS))
    return f"<think>\n{lines[:LONG_CHARACTERS]}\n</think>\n<answer>5</answer>"


def write_samples(out: Folder, count: int, completion: str) -> None:
    """Files of samples, at least three, a thousand rows at a time; one row in a thousand is for validation."""
    per_file = min(ROWS_PER_FILE, -(-count // 3))
    for file, first in enumerate(range(0, count, per_file)):
        with out.create(f"samples-{file:05d}.parquet") as sink, pq.ParquetWriter(sink, schema_of(Sample)) as writer:
            for start in range(first, min(first + per_file, count), 1000):
                rows = [sample(i, completion) for i in range(start, min(start + 1000, first + per_file, count))]
                writer.write_table(to_table(rows, Sample))


def sample(number: int, completion: str) -> Sample:
    split = "validation" if number % 1000 == 0 else "train"
    prompt, answer = [Message("user", f"What is 2 + 3? ({number})")], [Message("assistant", completion)]
    return Sample(f"s{number}", f"p{number}", "t", split, prompt, answer, [], "reasoning", "T")


def measure(folder: Path, name: str, count: int) -> list[float]:
    """Prepare the data and print the peaks of the driver, of the largest Ray worker, and of a training worker."""
    peaks: dict[int, float] = {}
    done = threading.Event()
    watcher = threading.Thread(target=watch, args=(peaks, done))
    watcher.start()
    started = time.monotonic()
    config = SftConfig(trl={"max_length": None})
    samples, data = Folder(str(folder / "samples")), Folder(str(folder / "data"))
    counts = prepare_data(config, student_format(config), samples=samples, data=data)
    prepared_s = time.monotonic() - started
    done.set()
    watcher.join()
    driver = high_water_gib(psutil.Process().pid)
    command = [sys.executable, __file__, "--worker", str(folder)]
    trainer = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
    print(f"{name}: {count} rows, {counts}, prepared in {prepared_s:.0f} s")
    print(
        f"  peak GiB: driver {driver:.2f}, largest Ray worker {max(peaks.values()):.2f}, trainer {trainer:.2f}",
        flush=True,
    )
    return [driver, trainer, *peaks.values()]


def watch(peaks: dict[int, float], done: threading.Event) -> None:
    """Follow the high-water mark of every Ray worker until done; some end before."""
    while not done.wait(0.2):
        for process in psutil.Process().children(recursive=True):
            try:
                if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::"):
                    peaks[process.pid] = max(peaks.get(process.pid, 0.0), high_water_gib(process.pid))
            except (psutil.Error, OSError):
                continue


def high_water_gib(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 2**20 if found else 0.0


def train_nothing(folder: Path) -> int:
    """What a training worker does before its first step; prints its peak."""
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from stillery.sampling.models import resolve_model
    from stillery.training.loop import trl_arguments

    keep_shards(Folder(str(folder / "data")), "train", folder / "train.arrow")
    student = resolve_model("embedded:student")
    settings = {"use_gpu": False, "seed": 0, "trl": {"max_length": None, "per_device_train_batch_size": 2}}
    trainer = SFTTrainer(
        model=student,
        args=SFTConfig(output_dir=str(folder / "scratch"), **trl_arguments(settings, has_validation=False)),
        train_dataset=open_shards(folder / "train.arrow"),
        processing_class=AutoTokenizer.from_pretrained(student),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    print(f"batch of {tuple(batch['input_ids'].shape)}")
    print(high_water_gib(psutil.Process().pid))
    return 0


if __name__ == "__main__":
    sys.exit(main())
