#!/usr/bin/env python3
"""Problems shared by training and evaluation sets in the shared data: counts, and the first hits of each pair.

    python tests/benchmarks/conformance/contamination.py [--ngram 13] [--fuzzy 0.7] [--shown 2]

GSM8K's training problems against its test problems, and MATH-500 against the questions of the recorded completions and
of the annotated traces.
"""

import argparse
import gzip
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from stillery.curation.contamination import EvaluationIndex, contaminated  # noqa: E402
from support.shared_data import shared_data  # noqa: E402

PAIRS = (
    ("gsm8k/train.jsonl", "question", "gsm8k/test.jsonl", "question"),
    ("qwen25math/math_cot_100.jsonl", "question", "math500/test.jsonl", "problem"),
    ("reasoningflow/traces.jsonl.gz", "question", "math500/test.jsonl", "problem"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ngram", type=int, default=13)
    parser.add_argument("--fuzzy", type=float, default=None)
    parser.add_argument("--shown", type=int, default=2)
    options = parser.parse_args()
    for training, column, evaluation, held in PAIRS:
        index = EvaluationIndex({evaluation: texts(evaluation, held)}, ngram=options.ngram, fuzzy=options.fuzzy)
        questions = texts(training, column)
        hits = contaminated(((str(n), text) for n, text in enumerate(questions)), index, allowed=set())
        print(f"{training} ({len(questions):,} problems) in {evaluation} ({len(index):,}): {len(hits)} hits")
        for hit in list(hits.values())[: options.shown]:
            print(f"  {hit.text[:150]!r}\n  = row {hit.row}: {hit.evaluation_text[:150]!r}")
            print(f"  by {hit.match!r}, {hit.shared:.2f}")


def texts(file: str, column: str) -> list[str]:
    """The different questions of a file, in order."""
    path = shared_data(file)
    data = path.read_bytes()
    lines = (gzip.decompress(data) if path.suffix == ".gz" else data).decode().splitlines()
    return list(dict.fromkeys(json.loads(line)[column] for line in lines))


if __name__ == "__main__":
    main()
