#!/usr/bin/env python3
"""Verified answers per second: ours against Math-Verify called in a plain loop, on real answers.

    python tests/benchmarks/speed/verify_speed.py [--repeats 5] [--json OUT]

Both sides run in this process on one core, in turn, `--repeats` times; a rate is that of the fastest repeat, with the
slowest beside it. Our side starts without worker processes and with empty caches, so their cost is included in every
repeat. Imports and the first parse of either side are not. Four workloads:

answers      the distinct (prediction, gold) pairs of the 800 completions
crossed      every eighth pair of every distinct prediction with every gold answer: almost all differ
math500      each distinct gold answer of MATH-500 with itself and with the next: many need computer algebra
completions  the 800 completions themselves, from the text to the verdict (ours includes template and readability)

Exits with status 1 if a verdict differs and docs/concepts/verification.md does not account for it (`DOCUMENTED`).
"""

import argparse
import datetime
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from stillery.export.manifest import processor  # noqa: E402
from stillery.maths import read  # noqa: E402
from stillery.records import VerdictKind  # noqa: E402
from stillery.verify import GradingPool, GradingTask  # noqa: E402
from stillery.verify.cleaning import clean  # noqa: E402
from stillery.verify.judge import Pending, prepare  # noqa: E402
from support.ratios import Ratio, add_json_option, write_ratios  # noqa: E402
from support.shared_data import shared_data  # noqa: E402

Verdicts = list[bool]

# Pairs of the workloads on which the two differ, each under the rule of docs/concepts/verification.md that makes it so.
DOCUMENTED: dict[str, set[tuple[str, str]]] = {
    # The gold answer is a garbled 4:30 p.m., of which Math-Verify reads the 4.
    "times of day are read as text, a.m. and p.m. in any spelling": {(r"4:30 \text{ p.m.}", "4:30p..")},
    "of an answer that is not mathematics as a whole no part is compared": {("4t", "4:30p..")},
}


@dataclass(frozen=True)
class Workload:
    """What both sides are given: one entry each of `keys`, `ours` and `theirs` is one answer."""

    name: str
    keys: Sequence[tuple[str, str]]
    ours: Callable[[], Verdicts]
    theirs: Callable[[], Verdicts]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    add_json_option(parser)
    options = parser.parse_args()
    repeats: int = options.repeats
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    jobs = read_jobs()
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{datetime.date.today()}, {processor()}, one core, {load}, Python {platform.python_version()}, ", end="")
    print(f"{repeats} repeats\n")
    print(f"{'workload':<13}{'pairs':>7}{'ours/s':>10}{'(slowest)':>11}{'Math-Verify/s':>15}{'(slowest)':>11}", end="")
    print(f"{'ratio':>8}{'same verdict':>14}{'by a process':>14}")
    compared = [(workload, *compare_sides(workload, repeats)) for workload in workloads(jobs)]
    write_ratios(
        options.json,
        [Ratio(f"verification, {work.name}, to Math-Verify's loop", ratio, aim=10) for work, ratio, _ in compared],
    )
    unexplained = [line for _, _, lines in compared for line in lines]
    print("\n".join(["", *unexplained]) if unexplained else "\nno difference that the policy does not account for")
    return 1 if unexplained else 0


def read_jobs() -> list[GradingTask]:
    rows = [json.loads(line) for line in lines_of("qwen25math/math_cot_100.jsonl")]
    return [GradingTask(code, row["gt"], question=row["question"]) for row in rows for code in row["code"]]


def lines_of(name: str) -> list[str]:
    return shared_data(name).read_text().splitlines()


def workloads(jobs: list[GradingTask]) -> list[Workload]:
    answers = sorted({(predicted_of(job), str(job.answer)) for job in jobs})
    crossed = sorted({(predicted, gold) for predicted, _ in answers for _, gold in answers})[::8]
    golds = list(dict.fromkeys(json.loads(line)["answer"] for line in lines_of("math500/test.jsonl")))
    math500 = [
        pair for gold, other in zip(golds, golds[1:] + golds[:1], strict=True) for pair in ((gold,) * 2, (other, gold))
    ]
    return [
        Workload("answers", answers, lambda: grade_pairs(answers), lambda: verify_pairs(answers)),
        Workload("crossed", crossed, lambda: grade_pairs(crossed), lambda: verify_pairs(crossed)),
        Workload("math500", math500, lambda: grade_pairs(math500), lambda: verify_pairs(math500)),
        Workload(
            "completions",
            [(predicted_of(job), str(job.answer)) for job in jobs],
            lambda: grade_jobs(jobs),
            lambda: verify_pairs([(job.completion, f"${job.answer}$") for job in jobs], boxed=True),
        ),
    ]


def predicted_of(job: GradingTask) -> str:
    """The answer that our extraction finds: both sides are given the same one where pairs are compared."""
    prepared = prepare(job)
    verdict = prepared.verdict if isinstance(prepared, Pending) else prepared
    return verdict.predicted or ""


def grade_pairs(pairs: Sequence[tuple[str, str]]) -> Verdicts:
    """Ours: each pair of answers as a completion of its own, so that a pair is decided in whichever way it needs."""
    return grade_jobs([GradingTask(f"<answer>{predicted}</answer>", gold) for predicted, gold in pairs])


def grade_jobs(jobs: Sequence[GradingTask]) -> Verdicts:
    for remembered in (read, clean):
        remembered.cache_clear()
    with GradingPool(num_processes=1) as pool:
        return [verdict.verdict == VerdictKind.CORRECT for verdict in pool.grade_many(jobs)]


def verify_pairs(pairs: Sequence[tuple[str, str]], *, boxed: bool = False) -> Verdicts:
    """Theirs, as its README shows it. A bare answer is set in dollars, without which it is not read as LaTeX."""
    from math_verify import parse, verify

    texts = [(text if boxed else f"${text}$", gold if boxed else f"${gold}$") for text, gold in pairs]
    return [verify(parse(gold), parse(text)) for text, gold in texts]


def compare_sides(workload: Workload, repeats: int) -> tuple[float, list[str]]:
    """Print one row of the table. Returns its ratio, and a line for each difference that is not documented."""
    ours_s: list[float] = []
    theirs_s: list[float] = []
    ours, theirs = workload.ours(), workload.theirs()
    for _ in range(repeats):
        ours_s.append(timed(workload.ours))
        theirs_s.append(timed(workload.theirs))
    size = len(workload.keys)
    rates = [f"{size / seconds:,.0f}" for seconds in (min(ours_s), max(ours_s), min(theirs_s), max(theirs_s))]
    differing = [
        (key, mine, other) for key, mine, other in zip(workload.keys, ours, theirs, strict=True) if mine != other
    ]
    print(f"\n{workload.name:<13}{size:>7}{rates[0]:>10}{rates[1]:>11}{rates[2]:>15}{rates[3]:>11}", end="")
    ratio = min(theirs_s) / min(ours_s)
    print(f"{ratio:>7.1f}x{size - len(differing):>14}{num_hard(workload):>14}", end="", flush=True)
    documented: set[tuple[str, str]] = set().union(*DOCUMENTED.values())
    return ratio, [
        f"{workload.name}: {key[0]!r} against {key[1]!r}: ours {mine}, Math-Verify {other}"
        for key, mine, other in sorted(set(differing))
        if key not in documented
    ]


def timed(function: Callable[[], Verdicts]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def num_hard(workload: Workload) -> int:
    """How many of the distinct pairs need computer algebra in a worker process."""
    return sum(isinstance(prepare(GradingTask(f"<answer>{p}</answer>", g)), Pending) for p, g in set(workload.keys))


if __name__ == "__main__":
    sys.exit(main())
