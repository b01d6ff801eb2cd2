#!/usr/bin/env python3
"""The program's messages on broken inputs: a table per section, one line per input, as printed.

    python tests/benchmarks/faults/broken_inputs.py [SECTION ...]

Each case makes its input in its own folder and returns the program's message.
"""

import argparse
import contextlib
import gzip
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from stillery.cli import main as run_cli  # noqa: E402
from stillery.config import load_config  # noqa: E402
from stillery.errors import UserError  # noqa: E402
from stillery.pipeline.preflight import check  # noqa: E402
from stillery.records import Prompt  # noqa: E402
from stillery.sampling.backends.recorded import Recorded, RecordedCounts, read_recorded  # noqa: E402
from support.broken_students import BROKEN, SETTINGS, WHOLE  # noqa: E402
from support.chat_models import STUDENT  # noqa: E402


@dataclass(frozen=True, slots=True)
class Case:
    """An input that is wrong in one way: what it is, and a function from an empty folder to what the program says."""

    section: str
    what: str
    say: Callable[[Path], str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*")
    wanted = parser.parse_args().sections
    for section in dict.fromkeys(case.section for case in CASES):
        if wanted and section not in wanted:
            continue
        print(f"\n| {section} | what is printed |\n|---|---|")
        for case in CASES:
            if case.section == section:
                with tempfile.TemporaryDirectory(prefix="stillery-broken-") as folder:
                    said = case.say(Path(folder)).replace(f"{folder}/", "").replace("|", "\\|")
                print(f"| {case.what} | {said} |", flush=True)


# --- problem files and recorded generations -------------------------------------------------------------------------

GOOD = [{"question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(300)]
TEST = {"question": "What is 1,000 + 1?", "answer": "1001"}


def lines(*rows: Any) -> bytes:
    return b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows)


def problems(
    data: bytes | Callable[[Path], None],
    *overrides: str,
    name: str = "train.jsonl",
    test: Mapping[str, Any] = TEST,
) -> Callable[[Path], str]:
    """A case whose training file holds these bytes: `stillery prompts` is run on it."""

    def say(folder: Path) -> str:
        if callable(data):
            data(folder / name)
        else:
            (folder / name).write_bytes(data)
        (folder / "test.jsonl").write_bytes(lines(test))
        return printed(
            "prompts", f"run.dir={folder}/run", "prompts.source=file", f"prompts.train={folder}/{name}",
            f"prompts.test={folder}/test.jsonl", *overrides,
        )  # fmt: skip

    return say


def printed(*arguments: str) -> str:
    """The command's errors; without any, what it says of rows that were left out, and else that all is well."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = run_cli(arguments)
    if code:
        return " ".join(errors.getvalue().split())
    told = [line.strip() for line in out.getvalue().splitlines() if "left out:" in line or line.startswith("  ")]
    return "; ".join(told) or "(read right)"


def beside(*rows: Any) -> bytes:
    """300 good problems, then these rows."""
    return lines(*GOOD, *rows)


def recorded(*rows: Any, **columns: str) -> Callable[[Path], str]:
    """A case of recorded generations: 300 good ones, then these."""

    def say(folder: Path) -> str:
        good = [{"question": row["question"], "completion": row["answer"]} for row in GOOD]
        (folder / "made.jsonl").write_bytes(lines(*good, *rows))
        asked = [
            Prompt(f"p{n}", "sums", row["question"], row["answer"], "number", [], "file", "train", None, None)
            for n, row in enumerate(GOOD)
        ]
        tally = RecordedCounts()
        try:
            list(read_recorded(Recorded(name="t", files=[f"{folder}/made.jsonl"], columns=columns), asked, tally=tally))
        except UserError as error:
            return str(error)
        said = [*str(tally).splitlines()[1:], *(f"{what}: {said[0]}" for what, said in tally.examples.items())]
        return "; ".join(map(str.strip, said)) or "(read right)"

    return say


def parquet(rows: list[dict[str, Any]]) -> Callable[[Path], None]:
    return lambda path: pq.write_table(pa.Table.from_pylist(rows), path)


QUESTION = {"question": "Which is blue?"}
SKY = {**QUESTION, "choices": ["coal", "sky", "grass"]}

FILES: list[tuple[str, Callable[[Path], str]]] = [
    ("no such file", problems(b"", "prompts.train=gone.jsonl")),
    ("an empty file", problems(b"")),
    ("a suffix of no format", problems(b"", name="train.txt")),
    ("UTF-16", problems("{}".encode("utf-16"))),
    ("a workbook named .csv", problems(b"PK\x03\x04", name="train.csv")),
    ("a file in Latin-1", problems(lines(*[b'{"question": "caf\xe9 %d", "answer": "1"}\n' % n for n in range(300)]))),
    ("one byte that is not UTF-8", problems(beside(b'{"question": "caf\xe9?", "answer": "1"}\n'))),
    ("a lone surrogate in a question", problems(beside(b'{"question": "hm \\ud83d", "answer": "1"}\n'))),
    ("a lone surrogate in a column that is not read", problems(beside(b'{"question": "q", "answer": "1", "x": "\\ud83d"}\n'))),
    ("an integer of 4,301 digits in a column that is not read", problems(beside(b'{"question": "q", "answer": "1", "x": ' + b"9" * 4301 + b"}\n"))),
    ("a list 5,000 deep in a column that is not read", problems(beside(b'{"question": "q", "answer": "1", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}\n"))),
    ("a CSV cell of 200,000 characters", problems(b"question,answer,x\na,1,\nb,2," + b"x" * 200_000 + b"\n", name="train.csv")),
    ("a row that is not JSON", problems(beside(b'{"question": "q"\n'))),
    ("a row that is a list", problems(beside([1, 2]))),
    ("a key that a row gives twice", problems(beside(b'{"question": "q", "answer": "1", "answer": "2"}\n'))),
    ("an object over several lines", problems(json.dumps(GOOD[0], indent=1).encode(), name="train.json")),
    ("a JSON list that was cut off", problems(json.dumps(GOOD).encode()[:-40], name="train.json")),
    ("a gzip file that was cut off", problems(gzip.compress(lines(*GOOD))[:-20], name="train.jsonl.gz")),
    ("gzip without its suffix", problems(gzip.compress(lines(*GOOD)))),
    ("a mark of byte order, CRLF and blank lines", problems(b"\xef\xbb\xbf" + lines(*GOOD).replace(b"\n", b"\r\n\r\n"))),
    ("gzip in name only", problems(lines(*GOOD), name="train.jsonl.gz")),
    ("two gzip files in one", problems(gzip.compress(lines(*GOOD[:9])) + gzip.compress(lines(*GOOD[9:])), name="train.jsonl.gz")),
    ("gzip with something behind it", problems(gzip.compress(lines(*GOOD)) + b"more", name="train.jsonl.gz")),
    ("JSON in which the rows are below a key", problems(json.dumps({"data": GOOD}).encode(), name="train.json")),
    ("JSON of columns", problems(json.dumps({"question": ["a"], "answer": ["1"]}).encode(), name="train.json")),
    ("JSON with a comma too many", problems(json.dumps(GOOD).encode()[:-1] + b",]", name="train.json")),
    ("JSON named .parquet", problems(lines(*GOOD), name="train.parquet")),
    ("Parquet named .jsonl", problems(parquet(GOOD))),
    ("no Parquet", problems(b"PAR2", name="train.parquet")),
    ("CSV with semicolons", problems(b"question;answer\na;1\n", name="train.csv")),
    ("a CSV row with a cell too many", problems(b"question,answer\n" + b"".join(b"q%d,1\n" % n for n in range(300)) + b"a,b,c\n", name="train.csv")),
    ("a CSV quote that is never closed", problems(b'question,answer\na,1\n"b,2\nc,3\n', name="train.csv")),
    ("a CSV header that names a column twice", problems(b"question,answer,answer\na,1,2\nb,1,2\n", name="train.csv")),
    ("other column names", problems(lines({"problem": "a", "solution": "b"}))),
    ("a mapped column that no row has", problems(lines(*GOOD), "prompts.columns.task=kind")),
    ("a column that row 1 lacks", problems(lines({"question": "a"}, *GOOD))),
    ("no answer in a row", problems(beside({"question": "a"}))),
    ("a blank question", problems(beside({"question": " ", "answer": "1"}))),
    ("an answer NaN", problems(beside(b'{"question": "q", "answer": NaN}\n'))),
    ("an answer Infinity", problems(beside(b'{"question": "q", "answer": -Infinity}\n'))),
    ("an answer NaN in Parquet", problems(parquet([*({**row, "answer": float(row["answer"])} for row in GOOD), {"question": "q", "answer": float("nan")}]), name="train.parquet")),
    ("an answer that is a list", problems(beside({"question": "a", "answer": ["1"]}))),
    ("worked solutions as answers", problems(lines({"question": "a", "answer": "1 + 1 = 2\n#### 2"}))),
    ("an answer of no #### among such", problems(lines(*({**row, "answer": "#### " + row["answer"]} for row in GOOD), {"question": "a", "answer": "1"}), "prompts.answer_format=hash", test={"question": "1 + 1?", "answer": "#### 2"})),
    ("an index of no choice", problems(beside({**SKY, "answer": 3}))),
    ("an index that is also a choice's text", problems(beside({**QUESTION, "choices": ["2", "3", "1"], "answer": 1}))),
    ("an answer that no choice has", problems(beside({**SKY, "answer": "snow"}))),
    ("choices that are letters out of order", problems(beside({**QUESTION, "choices": ["B", "A"], "answer": "A"}))),
    ("two choices of one text, one of them the answer", problems(beside({**QUESTION, "choices": ["4", "4"], "answer": "A"}))),
    ("choices that are no list", problems(beside({**QUESTION, "choices": "sky, sea", "answer": "A"}))),
    ("a choice that is null", problems(beside({**QUESTION, "choices": ["sky", None], "answer": "A"}))),
    ("27 choices", problems(beside({**QUESTION, "choices": [f"c{n}" for n in range(27)], "answer": "c26"}))),
    ("a picture in a message", problems(beside({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], "answer": "1"}))),
    ("a conversation of several turns", problems(beside({"messages": [{"role": r, "content": "?"} for r in ("user", "assistant", "user")], "answer": "1"}))),
    ("one duplicate among 301", problems(beside({"question": "what is  **2 + 2** ?", "answer": "4"}))),
    ("one duplicate among 6", problems(lines(*GOOD[:5], GOOD[2]))),
    ("the same question with another answer", problems(beside({"question": "What is 2+2?", "answer": "5"}))),
    ("a test problem in the training file, but for its writing", problems(beside({"question": "What is *1000* ＋ 1", "answer": "1001"}))),
    ("one duplicate, on_bad_row=error", problems(beside(GOOD[2]), "prompts.on_bad_row=error")),
    ("recorded: a row that is not JSON", recorded(b'{"question": \n')),
    ("recorded: a completion that is an object", recorded({"question": "What is 2 + 2?", "completion": {"text": "4"}})),
    ("recorded: a question that nobody asked", recorded({"question": "What is 2 + 3?", "completion": "5"})),
    ("recorded: lists of different lengths", recorded({"question": "What is 2 + 2?", "completion": ["4"], "num_tokens": [1, 2]})),
    ("recorded: a batch row that failed", recorded({"custom_id": "p2", "response": None, "error": {"code": "rate_limit_exceeded", "message": "too fast"}})),
    ("recorded: no column for the completion", recorded(**{"completion": "out"})),
]  # fmt: skip

# --- students -------------------------------------------------------------------------------------------------------


def student(make: Callable[[Path], object]) -> Callable[[Path], str]:
    """A case of a student that is the embedded one, broken: what is said before the first stage."""

    def say(folder: Path) -> str:
        shutil.copytree(STUDENT, folder / "student")
        make(folder / "student")
        return settings([f"sft.student={folder}/student"])(folder)

    return say


def settings(overrides: list[str]) -> Callable[[Path], str]:
    """A case of settings alone."""

    def say(_: Path) -> str:
        try:
            check(load_config(None, overrides))
        except UserError as error:
            return str(error)
        return "(passes)"

    return say


STUDENTS = [
    *((what, student(make)) for what, (make, _) in BROKEN.items()),
    *((what, settings(overrides)) for what, (overrides, _) in SETTINGS.items()),
    *((f"right: a student {what}", student(make)) for what, make in WHOLE.items()),
]

CASES: list[Case] = [
    *(Case("files", what, say) for what, say in FILES),
    *(Case("students", what, say) for what, say in STUDENTS),
]


if __name__ == "__main__":
    main()
