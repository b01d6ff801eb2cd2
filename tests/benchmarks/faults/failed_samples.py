#!/usr/bin/env python3
"""The fate of samples on which a teacher's server fails: three servers, the stages up to curation for each.

    python tests/benchmarks/faults/failed_samples.py

The server (in this process, on loopback) adds two numbers, always correctly. It fails on some samples with HTTP 400:
once and never again; until it is fixed after the first start; or permanently. Curation keeps only problems with pass
rate 1, so a failure that counts as a wrong answer costs a problem. Prints one table.
"""

import json
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from stillery.errors import UserError  # noqa: E402
from stillery.pipeline.runner import run_pipeline  # noqa: E402
from stillery.records import Generation, from_table  # noqa: E402
from support.small_run import small_config  # noqa: E402

PROBLEMS, SAMPLES = 40, 4


class Adder(ThreadingHTTPServer):
    """Answers in the template, and refuses the requests of every `every`-th seed `times` times."""

    def __init__(self, *, every: int, times: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.every, self.times = every, times
        self.asked: dict[int, int] = {}
        self.lock = threading.Lock()

    def refuses(self, seed: int) -> bool:
        with self.lock:
            self.asked[seed] = self.asked.get(seed, 0) + 1
            return seed % self.every == 0 and self.asked[seed] <= self.times

    @property
    def num_requests(self) -> int:
        return sum(self.asked.values())


class _Handler(BaseHTTPRequestHandler):
    server: Adder

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        one, other = map(int, re.findall(r"\d+", body["messages"][-1]["content"])[-2:])
        thinking = f"{one} and {other} are {one + other}, try {body['seed']}"
        text = f"<think>\n{thinking}\n</think>\n<answer>{one + other}</answer>"
        status, reply = 200, {
            "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 20},
        }  # fmt: skip
        if self.server.refuses(body["seed"]):
            status, reply = 400, {"error": {"message": "no room for this request"}}
        data = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(*, every: int, times: int) -> Iterator[Adder]:
    with Adder(every=every, times=times) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def start(folder: Path, server: Adder) -> str:
    """One start of the line up to curation, and what came of it."""
    host, port = server.server_address[:2]
    config = small_config(
        folder / "run", "prompts.source=file", f"prompts.train={folder / 'train.jsonl'}",
        f"prompts.test={folder / 'test.jsonl'}",
        "teacher.kind=endpoint", "teacher.model=adder", f"teacher.endpoint.base_url=http://{host}:{port}/v1",
        "teacher.sampling={temperature: 1.0, max_tokens: 64}", f"teacher.samples_per_prompt={SAMPLES}",
        "teacher.engine={}", "curate.min_pass_rate=1.0", "curate.max_per_prompt=4",
        "bonds.enabled=false", "cluster.address=local",
    )  # fmt: skip
    before = server.num_requests
    try:
        outputs = run_pipeline(config, until="curate")
    except UserError as error:
        return f"{server.num_requests - before:>9}  ended: {error}"
    rows = from_table(outputs["generate"].folder.read_all(Generation), Generation)
    failed = sum(row.error is not None for row in rows)
    kept = outputs["curate"].summary["prompts_kept"]
    return f"{server.num_requests - before:>9}{failed:>9}{kept:>9} of {PROBLEMS} problems kept"


def main() -> None:
    os.environ["RAY_AUTH_MODE"] = "disabled"
    lines: list[str] = []
    for name, every, times in (
        ("fails once on a ninth", 9, 1),
        ("fails twice on a ninth", 9, 2),
        ("fails for good on a fiftieth", 50, 1000),
    ):
        folder = Path(tempfile.mkdtemp(prefix="stillery-trial-"))
        problems = [{"question": f"What is {n} plus {n + 7}?", "answer": str(2 * n + 7)} for n in range(PROBLEMS)]
        (folder / "train.jsonl").write_text("".join(json.dumps(problem) + "\n" for problem in problems))
        (folder / "test.jsonl").write_text(json.dumps({"question": "What is 1 plus 1?", "answer": "2"}) + "\n")
        with serving(every=every, times=times) as server:
            lines += [f"{name:<30}{number:<7}{start(folder, server)}" for number in (1, 2)]
    print(f"\n{'server':<30}{'start':<7}{'requests':>9}{'failed':>9}{'kept':>9}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
