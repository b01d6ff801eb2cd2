#!/usr/bin/env python3
"""`make bench`: all speed ratios in one table, with commit, machine and date, beside the previous run.

    python tests/benchmarks/bench.py [--only verify generation] [--quick] [--history docs/benchmarks/ratios.jsonl]

Each script measures both of its sides in turn and writes its results; they become the table and a line of the history,
from which docs/benchmarks/ratios.md is drawn (`make docs`). About half an hour on an idle machine, five minutes with
`--quick`, which is not added to the history. Exits with 1 if a script failed, as its ratios are missing.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from stillery.export.manifest import processor  # noqa: E402
from support.ratios import Ratio, read_ratios  # noqa: E402

HISTORY = ROOT / "docs" / "benchmarks" / "ratios.jsonl"


@dataclass(frozen=True)
class Script:
    """A measurement below tests/benchmarks/speed that takes `--json`."""

    name: str
    arguments: Sequence[str] = ()
    quick: Sequence[str] = ()


SCRIPTS = {
    "verify": Script("verify_speed.py", quick=("--repeats", "1")),
    "generation": Script(
        "generation_speed.py", ("--threads", "1"), quick=("--prompts", "20", "--samples", "4", "--rounds", "1")
    ),
    "adaptive": Script("adaptive_tokens.py", ("--prompts", "60"), quick=("--prompts", "6", "--most", "8")),
    "serving": Script("serving_load.py", ("--overloads", "0"), quick=("--streams", "1")),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=list(SCRIPTS))
    parser.add_argument("--quick", action="store_true", help="few repeats, to see that all of it works; no history")
    parser.add_argument("--history", type=Path, default=HISTORY)
    options = parser.parse_args()
    before = [ratio for entry in read_history(options.history) for ratio in read_ratios(entry["ratios"])]
    found: list[Ratio] = []
    failed: list[str] = []
    for key in options.only:
        ratios = run(SCRIPTS[key], quick=options.quick)
        found += ratios or []
        failed += [] if ratios else [key]
    entry = {"date": str(datetime.date.today()), "commit": commit(), "machine": machine()}
    print(f"\n{entry['date']}, commit {entry['commit']}, {entry['machine']}\n")
    print(table(found, before))
    if found and not options.quick:
        with options.history.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**entry, "ratios": [asdict(ratio) for ratio in found]}) + "\n")
        print(f"\nadded to {options.history}; `make docs` draws docs/benchmarks/ratios.md from it")
    for key in failed:
        print(f"{key} failed: its ratios are missing", file=sys.stderr)
    return 1 if failed else 0


def run(script: Script, *, quick: bool) -> list[Ratio] | None:
    """The ratios of one script, whose output goes to the terminal; None if it failed."""
    print(f"== {script.name}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "ratios.json"
        command = [sys.executable, str(ROOT / "tests" / "benchmarks" / "speed" / script.name), "--json", str(out)]
        done = subprocess.run([*command, *script.arguments, *(script.quick if quick else ())], check=False)
        return read_ratios(json.loads(out.read_text())) if done.returncode == 0 and out.is_file() else None


def read_history(path: Path) -> list[dict[str, Any]]:
    """The runs so far, oldest first; each has the ratios of the scripts that were asked for."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def table(ratios: Sequence[Ratio], before: Sequence[Ratio]) -> str:
    """One line a ratio: its value, the aim, and the value when it was last measured; `before` is oldest first."""
    earlier = {ratio.name: ratio.value for ratio in before}
    width = max((len(ratio.name) for ratio in ratios), default=0)
    lines = [f"{'':<{width}}{'ratio':>8}{'aim':>10}{'before':>9}"]
    for ratio in ratios:
        aim = f"{'<=' if ratio.at_most else '>='} {ratio.aim:g}"
        last = f"{earlier[ratio.name]:.2f}" if ratio.name in earlier else ""
        lines.append(f"{ratio.name:<{width}}{ratio.value:>8.2f}{aim:>10}{last:>9}{'' if ratio.met else '  not met'}")
    return "\n".join(lines)


def commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--match="], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return described.stdout.strip() or "unknown"


def machine() -> str:
    return f"{os.cpu_count()} cores of {processor()}, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
