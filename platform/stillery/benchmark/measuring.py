"""Measuring: each problem is sampled with its task's settings and graded as in a run's evaluations.

In: a subject, tasks with their problems, settings. Out: a receipt (what was measured, how, and the results) and the
scores, which lie beside it. Samples go to a durable log, so a second call makes only the missing ones.
"""

import dataclasses
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stillery import __version__
from stillery.benchmark.problems import TaskProblems
from stillery.benchmark.subject import Subject, slug
from stillery.benchmark.tasks import GREEDY, Task
from stillery.config import Config
from stillery.io.run_folder import Run, home, open_run
from stillery.records import Prompt, Score, Split, digest, from_table
from stillery.sampling.backend import Backend
from stillery.sampling.prompting import messages_of
from stillery.stages.measuring import evaluate
from stillery.verify.rows import VERSION as POLICY_VERSION

VERSION = 1


@dataclass(frozen=True, slots=True)
class Settings:
    """Overrides of the tasks' own settings; None keeps them. `instruction` is put before each question: `auto` (the
    task's own, or none for a model that stillery trained on bare questions), `none`, `template` or a text."""

    samples: int | None = None
    max_tokens: int | None = None
    greedy: bool = False
    instruction: str = "auto"


@dataclass(frozen=True, slots=True)
class Measurement:
    """The receipt of a subject, as plain data, and its scores by task."""

    receipt: dict[str, Any]
    scores: Mapping[str, Sequence[Score]]


@dataclass(frozen=True, slots=True)
class _Protocol:
    """How problems are asked; tasks that share it are measured together, by one engine."""

    samples: int
    sampling: Mapping[str, Any]
    instruction: str | None

    @property
    def key(self) -> str:
        return digest("protocol", self.samples, dict(self.sampling), self.instruction)[:16]


def measure(
    subject: Subject, work: Sequence[tuple[Task, TaskProblems]], config: Config, *, settings: Settings
) -> Measurement:
    """Measure a subject on each task's problems. Needs a running Ray.

    Raises UserError if the share of samples that failed for reasons other than the model exceeds
    `run.max_failure_share`.
    """
    groups: dict[str, tuple[_Protocol, list[tuple[str, TaskProblems]]]] = {}
    for task, found in work:
        protocol = protocol_of(task, settings, writes_template=subject.writes_template)
        groups.setdefault(protocol.key, (protocol, []))[1].append((task.name, found))
    where = dataclasses.replace(config.run, dir=str(home() / "benchmarks" / slug(subject.name)), name=subject.name)
    tasks: dict[str, Any] = {}
    scores: dict[str, list[Score]] = {}
    with open_run(dataclasses.replace(config, run=where)) as run:
        source = subject.source(run)
        for protocol, members in groups.values():
            told, rows = _measure_group(protocol, members, subject=subject, source=source, config=config, run=run)
            tasks |= told
            scores |= {name: [row for row in rows if row.task == name] for name, _ in members}
        receipt = {
            "receipt_version": VERSION,
            "model": subject.name,
            "model_identity": source.identity,
            "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "stillery": {"version": __version__, "git_revision": run.git_revision, "verifier": POLICY_VERSION},
            "seed": config.run.seed,
            **subject.facts,
            "samples": run.folder.uri,
            "tasks": {name: tasks[name] for name in sorted(tasks)},
        }
    return Measurement(receipt, scores)


def _measure_group(
    protocol: _Protocol,
    members: Sequence[tuple[str, TaskProblems]],
    *,
    subject: Subject,
    source: Backend,
    config: Config,
    run: Run,
) -> tuple[dict[str, Any], list[Score]]:
    """The receipt's entry of each task, and all scores."""
    prompts = [prompt for _, found in members for prompt in found.prompts]
    folder = run.folder / "measured" / digest("problems", protocol.key, [p.prompt_id for p in prompts])[:16]
    (folder / "problems").write_rows("prompts.parquet", prompts, Prompt)
    summary = evaluate(
        dataclasses.replace(
            config.evaluate,
            splits=[Split.TEST.value],
            samples_per_prompt=protocol.samples,
            ks=sorted({1, protocol.samples}),
            sampling=dict(protocol.sampling),
        ),
        role=subject.name,
        source=source,
        engine=subject.engine,
        prompting={"system_prompt": None, "instruction": protocol.instruction},
        verify=config.verify,
        seed=config.run.seed,
        max_failure_share=config.run.max_failure_share,
        prompts=folder / "problems",
        run=run,
        out=folder,
    )
    measures = summary["splits"].get(Split.TEST, {}).get("by_task", {})
    told: dict[str, Any] = {}
    for name, found in members:
        rendered = source.render([messages_of(p, instruction=protocol.instruction) for p in found.prompts])
        told[name] = {
            **_protocol_fields(protocol, found),
            "rendered_prompts_sha256": hashlib.sha256("\0".join(rendered).encode()).hexdigest(),
            "result": measures.get(name),
        }
    return told, from_table(folder.read_all(Score), Score)


def protocol_of(task: Task, settings: Settings, *, writes_template: bool) -> _Protocol:
    """A task's settings with the overrides applied."""
    told = settings.instruction
    own = None if writes_template else task.instruction
    instruction = own if told == "auto" else None if told == "none" else told
    sampling = dict(GREEDY if settings.greedy else task.sampling)
    if settings.max_tokens is not None:
        sampling["max_tokens"] = settings.max_tokens
    samples = 1 if settings.greedy else settings.samples or task.samples
    if samples > 1 and not sampling.get("temperature"):
        # Repeating a greedy answer adds no information: several samples need a temperature.
        sampling |= {"temperature": 0.6, "top_p": 0.95}
    return _Protocol(samples, sampling, instruction)


def _protocol_fields(protocol: _Protocol, problems: TaskProblems) -> dict[str, Any]:
    contents = sorted([p.prompt_id, p.question, p.answer, p.answer_kind, p.choices] for p in problems.prompts)
    return {
        "data": {
            **problems.source,
            "num_problems": len(problems.prompts),
            "num_left_out": problems.num_left_out,
            "problems_sha256": digest("problems", contents),
        },
        "samples_per_problem": protocol.samples,
        "sampling": dict(protocol.sampling),
        "instruction": protocol.instruction,
    }
