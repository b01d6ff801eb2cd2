#!/usr/bin/env python3
"""Fill the disk in the middle of a run, make room, run the same command again, and count losses and repeats.

    python tests/benchmarks/faults/full_disk.py            # needs the right to mount: root, or
    unshare --map-root-user --mount python tests/benchmarks/faults/full_disk.py

The run's folder is a tmpfs. Up to the stage that is to fail it is as large as needed; then it is shrunk to a little
more than its use, so that the stage fills it. The command must end with exit code 2 and a message of one or two lines
that names the disk; with room again, the same command must finish the run, with nothing lost and nothing made twice.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.faults.kill_each_stage import ROOT, all_logged, command, environment, report

# The stage that fills the disk, the command that stops before it, and the KiB that are left for it: more than its first
# file, and less than all.
FILLED = {"generate": ("prompts", 64), "sft": ("curate", 2048)}
ROOMY = "256m"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="+", choices=FILLED, default=list(FILLED), help="where the disk fills up")
    stages: list[str] = parser.parse_args().stages
    folder = Path(tempfile.mkdtemp(prefix="stillery-trial-"))
    disk = folder / "run"
    disk.mkdir()
    mounted = mount(disk, f"size={ROOMY}")
    if mounted.returncode != 0:
        sys.exit(f"cannot mount a tmpfs ({mounted.stderr.strip()}); run it as root, or as the docstring says")
    try:
        faults, durable = 0, set[str]()
        for stage in stages:
            faults += fill(folder, disk, stage)
            durable |= all_logged(folder)
        done = start(folder)
        if done.returncode != 0:
            print(done.stdout[-2000:], done.stderr[-2000:])
            return 1
        lost = durable - all_logged(folder)
        print(f"samples that were durable when the disk was full: {len(durable)}, of these lost: {len(lost)}")
        return report(folder, done.stdout) + faults + len(lost)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def mount(disk: Path, options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], capture_output=True, text=True
    )  # fmt: skip


def start(folder: Path, *, until: str = "run") -> subprocess.CompletedProcess[str]:
    """One start of the job, up to a command's stage."""
    config = ["--config", str(ROOT / "jobs" / "configs" / "demo.yaml")]
    return subprocess.run(
        [sys.executable, "-m", "stillery.cli.main", until, *config, *command(folder)[2:]],
        env={**environment(folder), "PYTHONPATH": str(ROOT / "platform")}, capture_output=True, text=True,
    )  # fmt: skip


def fill(folder: Path, disk: Path, stage: str) -> int:
    """Let the disk fill up in a stage. Prints what happened; returns the number of expectations that did not hold."""
    before, spare_kib = FILLED[stage]
    ready = start(folder, until=before)
    assert ready.returncode == 0, ready.stderr[-2000:]
    used = os.statvfs(disk)
    used_kib = (used.f_blocks - used.f_bfree) * used.f_frsize // 1024
    assert mount(disk, f"remount,size={used_kib + spare_kib}k").returncode == 0
    failed = start(folder)
    assert mount(disk, f"remount,size={ROOMY}").returncode == 0
    # Ray passes on what its workers log, the reason why a training worker failed among it, behind a coloured name.
    said = [line for line in failed.stderr.splitlines() if not line.startswith("\x1b[36m(")]
    messages = [line for line in said if line.startswith("stillery: ")]
    finished = list(disk.glob(f"stages/{stage}/*/manifest.json"))
    print(f"{stage}: exit code {failed.returncode}, {len(all_logged(folder))} samples durable")
    print(f"  {messages}")
    expectations = {
        "exit code 2": failed.returncode == 2,
        "one message that names the disk": len(messages) == 1 and "space" in messages[0],
        "nothing behind it": bool(messages) and failed.stderr.rstrip().endswith(messages[-1]),
        "no traceback but the workers'": not any("Traceback" in line for line in said),
        "the stage had started": f"{stage}: started" in failed.stdout,
        "the stage is not taken for finished": not finished,
    }
    broken = [name for name, holds in expectations.items() if not holds]
    for name in broken:
        print(f"  NOT MET: {name}")
    if broken:
        print(failed.stdout[-2000:], failed.stderr[-4000:])
    return len(broken)


if __name__ == "__main__":
    sys.exit(main())
