"""`stillery benchmark MODEL --tasks NAMES`: the common benchmarks, for any model, with a receipt."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillery.benchmark.forgetting import compare, record_of
from stillery.benchmark.measuring import Settings, measure
from stillery.benchmark.problems import load_problems, own_tasks
from stillery.benchmark.subject import find_subject, slug
from stillery.benchmark.table import changes_table, table
from stillery.benchmark.tasks import find_tasks
from stillery.cluster import connect as cluster
from stillery.cluster import placement
from stillery.config import Config
from stillery.config.passthrough import check_tables
from stillery.errors import UserError
from stillery.io.run_folder import home
from stillery.io.storage import Folder
from stillery.records import digest
from stillery.registry.benchmarks import LOST, log_receipt


@dataclass(frozen=True, slots=True)
class Options:
    """The command's arguments."""

    tasks: str
    data: Path | None
    limit: int | None
    settings: Settings
    against: str | None
    max_loss: float
    served_name: str | None
    as_json: bool


def benchmark(model: str, config: Config, options: Options) -> int:
    """Print the table and write the receipt; the exit code is 1 where a task was lost against another model, else 0.

    Raises UserError for unknown tasks, missing problems and unreachable models.
    """
    _check(options)
    check_tables(config)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    tasks = find_tasks(options.tasks, own=own_tasks(options.data))
    problems = {task.name: load_problems(task, folder=options.data, limit=options.limit) for task in tasks}
    work = [(task, problems[task.name]) for task in tasks]
    subject = find_subject(model, config, served_name=options.served_name)
    other = None if options.against is None else find_subject(options.against, config)
    cluster.connect(config.cluster, dashboard=False)
    sides = [subject] if other is None else [subject, other]
    placement.check(config, {"evaluate_teacher" if side.is_endpoint else "evaluate_after" for side in sides})
    measured = measure(subject, work, config, settings=options.settings)
    receipt, changes = measured.receipt, []
    if other is not None:
        before = measure(other, work, config, settings=options.settings)
        changes = compare(before.scores, measured.scores, max_loss=options.max_loss)
        receipt["forgetting"] = record_of(changes, against=other.name, max_loss=options.max_loss)
    path = write_receipt(receipt)
    logged = ""
    if subject.served is not None:
        logged = log_receipt(subject.served, receipt, tracking_uri=config.register.tracking_uri)
    if options.as_json:
        print(json.dumps(receipt, indent=1))
    else:
        print(f"{subject.name}\n\n{table(receipt)}")
        if other is not None:
            print("\n" + changes_table(changes, against=other.name, max_loss=options.max_loss))
        print(f"\nreceipt: {path}" + (f"\n{logged}" if logged else ""))
    return 1 if any(change.verdict == LOST for change in changes) else 0


def write_receipt(receipt: Mapping[str, Any]) -> str:
    """Store a receipt under the digest of its contents; returns its path."""
    folder = Folder(str(home() / "benchmarks" / slug(receipt["model"]) / "receipts"))
    name = f"{receipt['measured'][:10]}-{digest('receipt', receipt)[:8]}.json"
    folder.write_bytes(name, json.dumps(receipt, indent=1).encode())
    return f"{folder.uri}/{name}"


def _check(options: Options) -> None:
    for name, value in (("--limit", options.limit), ("--samples", options.settings.samples),
                        ("--max-tokens", options.settings.max_tokens)):  # fmt: skip
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}; it must be 1 or more")
    if options.settings.greedy and (options.settings.samples or 1) > 1:
        raise UserError("--greedy gives one and the same answer each time; leave out --samples")
    if options.max_loss < 0:
        raise UserError(f"--max-loss is {options.max_loss * 100:g} points; it must be 0 or more")
