#!/usr/bin/env python3
"""Response times of the pages of `stillery ui` over a run with very many samples.

    python tests/benchmarks/speed/ui_queries.py [--samples 800000] [--run FOLDER]

Prints one line per request: its seconds and CPU seconds the first time, and the median of three more. Every request
goes through the whole application, including the gateway, but without a socket.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from starlette.testclient import TestClient

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from stillery.ui.app import make_app  # noqa: E402
from stillery.ui.runs import RunList  # noqa: E402
from support.large_run import make_large_run  # noqa: E402

REQUESTS = (
    ("the table, which makes the index", "/samples"),
    ("filtered by verdict and stability", "/samples?verdict=wrong&min_stability=0.5"),
    ("filtered by bonds and kept, sorted by length", "/samples?min_logic=3&outcome=kept&sort=-num_tokens"),
    ("sorted by pass rate, the last page", "/samples?sort=pass_rate&page=16000"),
    ("a text in traces", "/samples?q=sample+77123"),
    ("a text in traces that all have", "/samples?q=so+we+hold"),
    ("the same text, filtered and sorted", "/samples?q=so+we+hold&verdict=correct&sort=-stability"),
    ("one sample", "/samples/{sample}"),
    ("one sample of a filtered table", "/samples/{sample}?verdict=correct&sort=-num_tokens"),
    ("the run's page", ""),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=800_000)
    parser.add_argument("--run", type=Path, help="a run that support.large_run has made, to be used again")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = parsed.run or Path(folder) / "large"
        if not (run / "run.yaml").exists():
            make_large_run(run, num_samples=parsed.samples)
        client = TestClient(make_app(RunList([str(run)])), base_url="http://127.0.0.1")
        found = client.get(f"/runs/{run.name}/samples?page=9000").text
        sample = found.partition("/samples/")[2][:32]
        client = TestClient(make_app(RunList([str(run)])), base_url="http://127.0.0.1")
        print(f"{'request':<48}{'first s':>9}{'CPU s':>8}{'again s':>9}{'CPU s':>8}")
        for name, address in REQUESTS:
            url = f"/runs/{run.name}{address}".format(sample=sample)
            first, *again = [_timed(client, url) for _ in range(4)]
            wall, cpu = (statistics.median(times) for times in zip(*again, strict=True))
            print(f"{name:<48}{first[0]:>9.2f}{first[1]:>8.2f}{wall:>9.2f}{cpu:>8.2f}", flush=True)


def _timed(client: TestClient, url: str) -> tuple[float, float]:
    """Wall and CPU seconds of a request."""
    started, used = time.monotonic(), _cpu()
    assert client.get(url).status_code == 200, url
    return time.monotonic() - started, _cpu() - used


def _cpu() -> float:
    times = os.times()
    return times.user + times.system


if __name__ == "__main__":
    main()
