"""`stillery reward`: the reward of completions in a file, part by part, or the adversarial suite as a table."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

from stillery.config.rewards import RewardWeights
from stillery.errors import UserError
from stillery.training.rewards.attacks import ATTACKS, AttackOutcome, HonestTrace, honest_traces, run_suite
from stillery.training.rewards.batches import RewardRow, text_of
from stillery.training.rewards.combined import check_weights, score_row
from stillery.verify.compare import AUTO

_COLUMNS = ("correct", "well_formed", "num_steps", "reflection", "false_claims", "length", "repetition")


def run_reward(parsed: argparse.Namespace) -> int:
    """Score a file, or run the suite; returns the exit code. Raises UserError for invalid arguments and rows."""
    if parsed.attack == (parsed.file is not None):
        raise UserError("stillery reward needs a FILE of completions to score, or --attack, and not both")
    if parsed.attack:
        if min(parsed.traces, parsed.every) < 1:
            raise UserError(f"--traces is {parsed.traces}, --every {parsed.every}; both must be at least 1")
        traces = islice(honest_traces(parsed.traces, seed=parsed.seed), 0, None, parsed.every)
        return _attack(traces, parsed.seed, as_json=parsed.json)
    score_file(parsed.file, as_json=parsed.json)
    return 0


def score_file(file: str, *, as_json: bool = False) -> None:
    """Print the combined reward of each completion of a file, with its parts."""
    weights = RewardWeights()
    check_weights(weights)
    rows = read_file(file)
    if not as_json:
        print(f"{'completion':<24}{'reward':>8}" + "".join(f"{name:>14}" for name in _COLUMNS))
    for name, row in rows:
        parts = score_row(row)
        total = parts.total(weights)
        if as_json:
            print(json.dumps({"id": name, "reward": total, **dataclasses.asdict(parts)}))
            continue
        cells = [getattr(parts, column) for column in _COLUMNS]
        print(f"{name[:23]:<24}{_cell(total):>8}" + "".join(f"{_cell(cell):>14}" for cell in cells))


def read_file(file: str) -> list[tuple[str, RewardRow]]:
    """The rows of a file of JSON lines, with their names.

    Raises UserError for a file that cannot be read, and for a line without question, answer or completion.
    """
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{file} is not UTF-8 text") from None
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise UserError(f"{file} is empty; it should hold JSON lines with question, answer and completion")
    return [_read_line(f"{file}, line {number}", str(number), line) for number, line in lines]


def _read_line(where: str, number: str, line: str) -> tuple[str, RewardRow]:
    try:
        row: Any = json.loads(line)
    except ValueError:
        raise UserError(f"{where} is not JSON") from None
    if not isinstance(row, dict):
        raise UserError(f"{where} is no JSON object")
    given = cast(dict[str, Any], row)
    for name in ("question", "answer", "completion"):
        if given.get(name) is None:
            raise UserError(f"{where} has no {name}; a line needs question, answer and completion")
    try:
        length = given.get("teacher_length")
        read = RewardRow(
            completion=text_of(given["completion"]),
            question=str(given["question"]),
            answer=str(given["answer"]),
            answer_kind=str(given.get("answer_kind") or AUTO),
            choices=tuple(map(str, given.get("choices") or ())),
            teacher_length=None if length is None else float(length),
            teacher_steps=int(given.get("teacher_steps") or 0),
            prefilled_think=bool(given.get("prefilled_think")),
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {error}") from None
    return str(given.get("sample_id") or given.get("id") or number), read


def _cell(value: float | bool | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _attack(traces: Iterable[HonestTrace], seed: int, *, as_json: bool) -> int:
    outcomes = list(_with_progress(run_suite(traces, seed=seed)))
    rows = [summarize(name, [o for o in outcomes if o.attack == name]) for name in ATTACKS]
    for row in rows if as_json else ():
        print(json.dumps(row))
    if not as_json:
        print(attack_table(rows))
    paying = max(outcomes, key=lambda o: max(o.attacked - o.twin, o.attacked_stability - o.twin_stability))
    if paying.pays or paying.steadies:
        shown = f"honest:\n{paying.twin_text}\nattacked:\n{paying.attacked_text}"
        print(f"\nthe attack that pays most ({paying.attack}):\n{shown}", file=sys.stderr)
        return 1
    return 0


def _with_progress(outcomes: Iterable[AttackOutcome]) -> Iterable[AttackOutcome]:
    for number, outcome in enumerate(outcomes, start=1):
        if number % 500 == 0:
            print(f"{number} attacks scored", file=sys.stderr)
        yield outcome


def summarize(name: str, outcomes: Sequence[AttackOutcome]) -> dict[str, Any]:
    """One row of the table: means over the cases of an attack, and its largest gain."""
    number = len(outcomes)
    if not number:
        return {"attack": name, "cases": 0}
    return {
        "attack": name,
        "cases": number,
        "twin": sum(o.twin for o in outcomes) / number,
        "attacked": sum(o.attacked for o in outcomes) / number,
        "most_gained": max(o.attacked - o.twin for o in outcomes),
        "paying": sum(o.pays for o in outcomes),
        "twin_stability": sum(o.twin_stability for o in outcomes) / number,
        "attacked_stability": sum(o.attacked_stability for o in outcomes) / number,
        "most_stability_gained": max(o.attacked_stability - o.twin_stability for o in outcomes),
        "steadying": sum(o.steadies for o in outcomes),
    }


def attack_table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table: reward and stability of the honest twins and of the attacked completions."""
    lines = [
        "| attack | cases | honest twin | attacked | most gained | stability: twin | attacked | most gained | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if not row["cases"]:
            lines.append(f"| {row['attack']} | 0 | | | | | | | no case |")
            continue
        bad = row["paying"] + row["steadying"]
        verdict = "pass" if not bad else f"FAIL ({row['paying']} pay, {row['steadying']} steady)"
        reward = f"{row['twin']:.3f} | {row['attacked']:.3f} | {row['most_gained']:+.3f}"
        steady = f"{row['twin_stability']:.3f} | {row['attacked_stability']:.3f} | {row['most_stability_gained']:+.3f}"
        lines.append(f"| {row['attack']} | {row['cases']} | {reward} | {steady} | {verdict} |")
    return "\n".join(lines)
