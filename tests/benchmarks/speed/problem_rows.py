#!/usr/bin/env python3
"""Time and memory of reading problems, one of them broken and one duplicated, in every format.

    python tests/benchmarks/speed/problem_rows.py [--rows 200000] [FILE ...]

Each format is read in its own process. Seconds are CPU seconds, and memory is the peak above the level before reading.
The problems that are read stay in memory, as in the prompts stage.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform")]
NAMES = ("train.jsonl", "train.jsonl.gz", "train.jsonl.zst", "train.json", "train.csv", "train.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", default=list(NAMES))
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read is not None:
        measure(options.read)
        return
    if options.write is not None:
        write(options.write, options.rows)
        return
    with tempfile.TemporaryDirectory(prefix="stillery-rows-") as folder:
        # A child's peak of memory begins with its parent's, which therefore holds nothing.
        command = [sys.executable, __file__, "--write", folder, "--rows", str(options.rows)]
        subprocess.run(command, check=True)
        print(f"{'file':<18}{'MiB':>8}{'CPU s':>8}{'us a row':>10}{'MiB held':>10}  left out")
        for name in options.files:
            path = Path(folder) / name
            done = subprocess.run([sys.executable, __file__, "--read", str(path)], capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr[-2000:])
            said = json.loads(done.stdout)
            size, each = path.stat().st_size / 2**20, said["seconds"] / options.rows * 1e6
            counts = ", ".join(f"{reason} {count}" for reason, count in said["left_out"].items())
            print(
                f"{name:<18}{size:>8.1f}{said['seconds']:>8.1f}{each:>10.0f}{said['mib']:>10.0f}  {counts}", flush=True
            )


def write(folder: Path, count: int) -> None:
    """The same problems in every format; Parquet has no row that cannot be read, but one without an answer."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    rows = [
        {
            "question": f"A crate holds {n} jars, and each jar holds {n % 97} sweets. {n % 31} jars break and all that "
            f"is in them is thrown away. How many sweets are left in crate {n}?",
            "answer": str((n - n % 31) * (n % 97)),
        }
        for n in range(count - 1)
    ]
    rows.append(rows[count // 3])
    lines = [json.dumps(row) for row in rows]
    lines[count // 2] = '{"question": "What is'
    text = "\n".join(lines).encode()
    (folder / "train.jsonl").write_bytes(text)
    for suffix, codec in ((".gz", "gzip"), (".zst", "zstd")):
        with pa.CompressedOutputStream(str(folder / f"train.jsonl{suffix}"), codec) as stream:
            stream.write(text)
    rows[count // 2] = {"question": "", "answer": "1"}
    (folder / "train.json").write_text(json.dumps(rows))
    table = pa.Table.from_pylist(rows)
    pyarrow.csv.write_csv(table, folder / "train.csv")
    pq.write_table(table, folder / "train.parquet")
    (folder / "test.jsonl").write_text(json.dumps({"question": "What is 1 + 1?", "answer": "2"}) + "\n")


def measure(path: Path) -> None:
    from stillery.config import PromptsConfig
    from stillery.problems.files import load_prompts
    from stillery.records import Split

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    loaded = load_prompts(PromptsConfig(source="file", train=str(path), test=str(path.with_name("test.jsonl"))))
    seconds = time.process_time() - started
    left_out = loaded.left_out[Split.TRAIN]
    assert left_out.total == 2, str(left_out)
    mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps({"seconds": seconds, "mib": mib, "left_out": left_out.counts}))


if __name__ == "__main__":
    main()
