#!/usr/bin/env python3
"""Agreement of our verdicts with the correctness flags recorded in public data sets, and every disagreement.

    python tests/benchmarks/conformance/verify_agreement.py [--processes 2]

A worked solution of GSM8K counts as recorded correct with its own answer, and with the next problem's only if the two
are equal. Prints, for each set, a row of counts, then each disagreement once (gold answer, our extracted answer, both
verdicts, number of samples), with the verdict of a person who read it (`READ`), then the gold answers of all sets that
differ in their text but are judged equal. Exits with status 1 if a disagreement has not been read, or if the reading
says that we are wrong.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from stillery.records import Verdict  # noqa: E402
from stillery.verify import GradingPool, GradingTask  # noqa: E402
from stillery.verify.compare import compare  # noqa: E402
from support.shared_data import shared_data  # noqa: E402

TRACES = ("math500_deepseek_r1", "pilot_math500_llama8b", "pilot_math500_qwen7b", "pilot_math500_r1")

# (gold answer, what we extract) -> who is right, and why, by reading the completion.
READ: dict[tuple[str, str], tuple[str, str]] = {
    ("4:30p..", r"4:30 \text{ p.m.}"): (
        "ours",
        "the same time; the gold answer is garbled, its solution says 4:30 p.m.",
    ),
    (r"10{,}000", "10000"): ("ours", "the same number"),
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3, \frac{\pi}{2})"): ("ours", "the same point; their matching is of text"),
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3, \dfrac{\pi}{2})"): ("ours", "the same point"),
    (r"\frac{14}{3}", r"\frac{14}{3}"): ("ours", "stated after the thinking, without a box"),
    (r"\frac{14}{3}", r"\dfrac{14}{3}"): ("ours", "the same number"),
    (r"\frac{3}{56}", r"\dfrac{3}{56}"): ("ours", "the same number"),
    (r"90^\circ", "90"): ("ours", "the question asks for degrees"),
    (r"3\sqrt{13}", r"\sqrt{117} = \sqrt{9 \times 13} = 3\sqrt{13}"): (
        "ours",
        "the last formula ends in it, without a box",
    ),
}


@dataclass(frozen=True)
class Recorded:
    """One sample with the flag that its source records."""

    source: str
    job: GradingTask
    is_correct: bool


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    rows = [*qwen25math(), *(row for name in TRACES for row in trace_topology(name)), *gsm8k()]
    with GradingPool(num_processes=parser.parse_args().processes) as pool:
        verdicts = list(pool.grade_many(row.job for row in rows))
    print_agreement(rows, verdicts)
    num_open = print_disagreements(rows, verdicts)
    print_golds(list(dict.fromkeys([str(row.job.answer) for row in rows if row.source != "gsm8k"] + math500())))
    return 1 if num_open else 0


def qwen25math() -> Iterator[Recorded]:
    for line in shared_data("qwen25math/math_cot_100.jsonl").read_text().splitlines():
        row = json.loads(line)
        for code, score in zip(row["code"], row["score"], strict=True):
            yield Recorded("qwen25math", GradingTask(code, row["gt"], question=row["question"]), score)


def trace_topology(name: str) -> Iterator[Recorded]:
    for line in shared_data(f"trace_topology/{name}.jsonl").read_text().splitlines():
        row = json.loads(line)
        job = GradingTask(row["full_response"], row["ground_truth"], question=row["problem"])
        yield Recorded(name, job, row["is_correct"])


def gsm8k() -> Iterator[Recorded]:
    texts = [json.loads(line)["answer"] for line in shared_data("gsm8k/test.jsonl").read_text().splitlines()]
    golds = [text.rpartition("#### ")[2] for text in texts]
    for text, gold, other in zip(texts, golds, golds[1:] + golds[:1], strict=True):
        yield Recorded("gsm8k", GradingTask(text, gold), True)
        yield Recorded("gsm8k", GradingTask(text, other), gold.replace(",", "") == other.replace(",", ""))


def math500() -> list[str]:
    return [json.loads(line)["answer"] for line in shared_data("math500/test.jsonl").read_text().splitlines()]


def print_golds(golds: list[str]) -> None:
    """Print which gold answers are called the same without a worker process, and how many pairs would need one."""
    same = {(a, b): compare(a, b) for a in golds for b in golds}
    others = [pair for pair in same if pair[0] != pair[1]]
    print(
        f"\n{len(golds)} gold answers, {sum(same[g, g] is True for g in golds)} equal themselves; of {len(others)} ",
        end="",
    )
    print(f"ordered pairs of two {sum(same[p] is None for p in others)} need a worker process. Called the same:")
    print(" · ".join(f"`{a}` `{b}`" for a, b in others if same[a, b]))


def print_agreement(rows: list[Recorded], verdicts: list[Verdict]) -> None:
    print("| source | samples | recorded correct | ours correct | agree | ours only | recorded only | other verdicts |")
    print("|---|---|---|---|---|---|---|---|")
    pairs = [(row.source, row.is_correct, str(verdict.verdict)) for row, verdict in zip(rows, verdicts, strict=True)]
    for source in dict.fromkeys(row.source for row in rows):
        own = Counter((flag, verdict == "correct") for name, flag, verdict in pairs if name == source)
        other = Counter(v for name, _, v in pairs if name == source and v not in ("correct", "wrong"))
        agree = own[True, True] + own[False, False]
        recorded, ours = own[True, True] + own[True, False], own[True, True] + own[False, True]
        others = ", ".join(f"{count} {verdict}" for verdict, count in sorted(other.items())) or "none"
        print(
            f"| {source} | {own.total()} | {recorded} | {ours} | {agree} | {own[False, True]} | {own[True, False]} ",
            end="",
        )
        print(f"| {others} |")


def print_disagreements(rows: list[Recorded], verdicts: list[Verdict]) -> int:
    """Print each disagreement once. Returns how many are unread or show us to be wrong."""
    found: Counter[tuple[str, str, str, bool, str]] = Counter()
    for row, verdict in zip(rows, verdicts, strict=True):
        if (verdict.verdict == "correct") != row.is_correct:
            gold, predicted = str(row.job.answer), verdict.predicted or ""
            found[row.source, gold, predicted, row.is_correct, str(verdict.verdict)] += 1
    print("\n| source | gold answer | our extracted answer | recorded | ours | samples | right is | why |")
    print("|---|---|---|---|---|---|---|---|")
    open_ = 0
    for (source, gold, predicted, flag, verdict), count in found.items():
        right, why = READ.get((gold, predicted), ("?", "not read yet"))
        open_ += right != "ours"
        recorded = "correct" if flag else "wrong"
        print(f"| {source} | `{gold}` | `{predicted}` | {recorded} | {verdict} | {count} | {right} | {why} |")
    return open_


if __name__ == "__main__":
    sys.exit(main())
