#!/usr/bin/env python3
"""The verdicts of another revision and of this one on the answers of tests/support/verdict_rows.py and
verdict_siblings.py, as a table.

    git worktree add ../before REVISION
    python tests/benchmarks/conformance/verdict_table.py --before ../before

Prints the rows on which the two differ, then the number of correct verdicts of each. Exits with status 1 if this
revision is wrong on any row.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "tests")]

from support import verdict_rows, verdict_siblings  # noqa: E402

GRADED = [*verdict_rows.GRADED.items(), *verdict_siblings.GRADED.items()]
COMPARED = [*verdict_rows.COMPARED.items(), *verdict_siblings.COMPARED.items()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout of the revision to compare with")
    parser.add_argument("--list", action="store_true", help="print the verdicts of the package on the path as JSON")
    arguments = parser.parse_args()
    if arguments.list:
        print(json.dumps(verdicts()))
        return 0
    before, after = verdicts_of(arguments.before), verdicts_of(ROOT)
    print("| kind | input | gold answer | right | before | now |\n|---|---|---|---|---|---|")
    for (kind, text, gold, right), old, new in zip(rows(), before, after, strict=True):
        if old != new:
            print(f"| {kind} | {code(text)} | {code(gold)} | {right} | {old} | {new} |")
    rights = [right for *_, right in rows()]
    wins = [sum(a in right.split(" or ") for a, right in zip(side, rights, strict=True)) for side in (before, after)]
    print(f"\n{len(rights)} answers: {wins[0]} right before, {wins[1]} right now")
    return int(wins[1] < len(rights))


def rows() -> list[tuple[str, str, str, str]]:
    """Kind, input, gold answer and the right verdict of each row."""
    graded = [
        (kind, text.removeprefix("<think>\nhm\n</think>\n"), gold, "correct" if right else "wrong or unparsed")
        for kind, entries in GRADED
        for text, gold, _, _, right in entries
    ]
    compared = [
        (kind, text, gold, "same" if same else "different")
        for kind, entries in COMPARED
        for text, gold, same in entries
    ]
    return graded + compared


def code(text: str) -> str:
    return "`` " + text.replace("\n", "⏎").replace("|", r"\|") + " ``"


def verdicts_of(checkout: Path) -> list[str]:
    paths = os.pathsep.join((str(checkout / "platform"), str(ROOT / "tests")))
    command = [sys.executable, __file__, "--list"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, check=True, text=True)
    return json.loads(done.stdout)


def verdicts() -> list[str]:
    from stillery.verify import grade

    graded = [
        str(grade(text, answer=gold, answer_kind=kind, choices=choices).verdict)
        for _, entries in GRADED
        for text, gold, kind, choices, _ in entries
    ]
    return graded + [_compared(text, gold) for _, entries in COMPARED for text, gold, _ in entries]


def _compared(text: str, gold: str) -> str:
    from stillery.verify import same_answer

    try:
        return "same" if same_answer(text, gold) else "different"
    except (TimeoutError, RuntimeError) as error:
        return type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
