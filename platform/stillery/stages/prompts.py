"""Prompts: the problems of a run and their sources.

In: the prompts section of the config. Out: prompts.parquet with the problems of all splits; no problem is in two
splits.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stillery.config import Config, PromptsConfig, settings_of, suggest
from stillery.errors import UserError
from stillery.io.hashing import file_fingerprint
from stillery.io.readers.files import fingerprints
from stillery.io.storage import Folder
from stillery.model_judge.checks import check_answer_kinds
from stillery.problems.buckets import Bucket, check_disjoint, draw
from stillery.problems.files import load_prompts, split_names
from stillery.problems.hub import hub_revision
from stillery.problems.runs import run_fingerprints, run_prompts
from stillery.problems.tasks import HELD_OUT_TASK, TASKS, Problem
from stillery.records import Prompt, Split, digest
from stillery.stages.stage import Stage, StageContext
from stillery.telemetry.logs import logger
from stillery.training.counts import check_problems

# The splits that shape the student; the others only measure it.
TRAINED = (Split.TRAIN, Split.VALIDATION)

# The generators' buckets never share a problem, and the embedded models' training data has buckets of its own.
BUCKETS = {
    Split.TRAIN: Bucket.DISTILL,
    Split.VALIDATION: Bucket.VALIDATION,
    Split.TEST: Bucket.TEST,
    Split.LONGER: Bucket.LONGER,
    Split.HELD_OUT: Bucket.HELD_OUT,
}


def make_prompts(config: PromptsConfig, *, seed: int, out: Folder) -> dict[str, Any]:
    """Write prompts.parquet and return the number of problems by split and task, and which rows of a file or dataset
    were left out, and why.

    `seed` affects the source `tasks` alone. Raises UserError for invalid settings or data.
    """
    if config.source == "tasks":
        prompts = draw_prompts(config, seed=seed)
        out.write_rows("prompts.parquet", prompts, Prompt)
        return summarize_prompts(prompts)
    if config.source == "run":
        prompts = run_prompts(config)
        out.write_rows("prompts.parquet", prompts, Prompt)
        return summarize_prompts(prompts)
    revision = None if config.source != "hub" or config.dataset is None else hub_revision(config.dataset)
    loaded = load_prompts(config, revision=revision)
    out.write_rows("prompts.parquet", loaded.prompts, Prompt)
    for split, left_out in loaded.left_out.items():
        logger.info(f"prompts: {split}: {left_out}")
    told = {str(split): left_out.summary() for split, left_out in loaded.left_out.items()}
    return {**summarize_prompts(loaded.prompts), "rows": told}


def source_fingerprints(config: PromptsConfig) -> dict[str, str]:
    """Fingerprints of the problems' sources: SHA-256 by split for files, dataset and revision for the Hub, the
    checksums of another run's tables, nothing for tasks, which the seed determines. Raises UserError for a missing
    source."""
    if config.source == "tasks":
        return {}
    if config.source == "run":
        return run_fingerprints(config)
    if config.source == "file":
        return {str(split): _files_fingerprint(split, name) for split, name in split_names(config).items()}
    if config.dataset is None:
        raise UserError("prompts.source is hub, but prompts.dataset is not set; name a dataset or a local folder")
    return {
        "dataset": config.dataset,
        "revision": hub_revision(config.dataset) or _folder_fingerprint(Path(config.dataset)),
    }


def draw_prompts(config: PromptsConfig, *, seed: int) -> list[Prompt]:
    """The generated problems of every split, spread evenly over the split's tasks."""
    tasks = trained_tasks(config.tasks)
    counts = {
        Split.TRAIN: config.num_train,
        Split.VALIDATION: config.num_validation,
        Split.TEST: config.num_test,
        Split.LONGER: config.num_longer,
        Split.HELD_OUT: config.num_held_out,
    }
    drawn: dict[Split, list[Problem]] = {}
    for split, count in counts.items():
        if count < (1 if split in (Split.TRAIN, Split.VALIDATION, Split.TEST) else 0):
            raise UserError(f"prompts.num_{split} is {count}; there must be problems in it")
        of_split = [HELD_OUT_TASK] if split == Split.HELD_OUT else tasks
        shares = _spread(count, over=len(of_split))
        drawn[split] = [
            problem
            for task, share in zip(of_split, shares, strict=True)
            for problem in draw(BUCKETS[split], task=task, count=share, seed=seed)
        ]
    check_disjoint({BUCKETS[split]: problems for split, problems in drawn.items()})
    return [_to_prompt(problem, split=split) for split, problems in drawn.items() for problem in problems]


def summarize_prompts(prompts: Sequence[Prompt]) -> dict[str, Any]:
    """Counts: all, those without an answer, by split, and by split and task; and separate digests of the training and
    the measuring problems, so that more test problems do not retrain the student."""
    by_task: dict[str, dict[str, int]] = {}
    for prompt in prompts:
        tasks = by_task.setdefault(prompt.split, {})
        tasks[prompt.task] = tasks.get(prompt.task, 0) + 1
    return {
        "num_prompts": len(prompts),
        "num_unanswered": sum(prompt.answer is None for prompt in prompts),
        "by_split": dict(Counter(prompt.split for prompt in prompts)),
        "by_task": by_task,
        "answer_kinds": dict(Counter(prompt.answer_kind for prompt in prompts)),
        "parts": {
            "trained": digest([asdict(p) for p in prompts if p.split in TRAINED]),
            "measured": digest([asdict(p) for p in prompts if p.split not in TRAINED]),
        },
    }


def trained_tasks(wanted: Sequence[str]) -> list[str]:
    """The generators that `prompts.tasks` names. Raises UserError for an unknown one."""
    known = [task for task in TASKS if task != HELD_OUT_TASK]
    for task in wanted:
        if task == HELD_OUT_TASK:
            raise UserError(
                f"prompts.tasks: {task} is held out, to measure on a task that no model trains on; remove it"
            )
        if task not in known:
            raise UserError(f"prompts.tasks: no task {task!r}{suggest(task, known)}")
    if len(set(wanted)) < len(wanted):
        raise UserError("prompts.tasks names a task twice; remove one")
    return list(wanted) or known


def _spread(count: int, *, over: int) -> list[int]:
    """`count` split into `over` shares that differ by at most one."""
    quotient, remainder = divmod(count, over)
    return [quotient + (position < remainder) for position in range(over)]


def _to_prompt(problem: Problem, *, split: Split) -> Prompt:
    facts = [
        {"name": f.name, "value": f.value, "expression": f.expression, "depends_on": list(f.depends_on)}
        for f in problem.facts
    ]
    return Prompt(
        prompt_id=digest("prompt", "tasks", problem.task, problem.question),
        task=problem.task,
        question=problem.question,
        answer=problem.answer,
        answer_kind=problem.answer_kind,
        choices=list(problem.choices),
        source="tasks",
        split=split,
        num_steps=problem.num_steps,
        facts=json.dumps(facts),
    )


def _files_fingerprint(split: Split, name: str) -> str:
    found = fingerprints([name], key=f"prompts.{split}")
    return digest(found) if len(found) > 1 else found[0]


def _folder_fingerprint(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest([[str(path.relative_to(folder)), file_fingerprint(path)] for path in files])


def _settings(config: Config) -> dict[str, Any]:
    settings = {**settings_of(config.prompts), "seed": config.run.seed}
    # Another run counts by its tables; one that is not read does not count.
    del settings["run"], settings["verified"]
    if config.prompts.source != "run":
        del settings["failed_below"]
    return settings | {"files": source_fingerprints(config.prompts)}


def _run(context: StageContext) -> dict[str, Any]:
    summary = make_prompts(context.config.prompts, seed=context.config.run.seed, out=context.out)
    check_answer_kinds(context.config, summary["answer_kinds"])
    num_train, num_validation = (summary["by_split"].get(split, 0) for split in TRAINED)
    keys = {"train": f"{num_train} training problems", "validation": "there are no validation problems"}
    check_problems(context.config, num_train=num_train, num_validation=num_validation, keys=keys)
    return summary


STAGE = Stage("prompts", version=2, needs=(), settings=_settings, run=_run, uses_ray=False)
