"""Counts of a run's durable log and outputs: lost samples, repeated samples, prompts cut short."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillery.config import Config
from stillery.io.storage import Folder
from stillery.records import Generation, Prompt, R, Sample, Score, Split, Verdict, from_table
from stillery.sampling.sample_log import SampleLog
from stillery.verify.acceptance import Acceptance

EVALUATIONS = ("evaluate_teacher", "evaluate_before", "evaluate_after")


@dataclass(frozen=True)
class Counts:
    """`lost`: samples durable at a fault and not in the log afterwards. `doubled`: log rows beyond the first of their
    sample. `unmet`: prompts, of `prompts` in all, that do not end where their stopping rule says."""

    samples: int
    lost: int
    doubled: int
    prompts: int
    unmet: int
    reached_report: bool

    @property
    def is_sound(self) -> bool:
        return self.reached_report and not (self.lost or self.doubled or self.unmet)


def logged(run: Path | str) -> list[Generation]:
    """All rows of the run's logs; the run may be at a URI."""
    log = Folder(str(run)) / "log"
    return [row for key in log.names() for row in rows_in(SampleLog(log / key))]


def rows_in(log: SampleLog) -> list[Generation]:
    """All rows of one log, each as often as it was written."""
    return [row for table in log.read(log.files()).tables.values() for row in from_table(table, Generation)]


def logged_rows(run: Path | str) -> list[str]:
    """The ids of all log rows without failure, each as often as it was written."""
    return [row.sample_id for row in logged(run) if row.error is None]


def count(run: Path, config: Config, *, durable: Set[str]) -> Counts:
    """Count a run. `durable` holds the ids that were in its log at the fault."""
    rows = Counter(logged_rows(run))
    prompts, unmet = 0, 0
    for stage_prompts, stage_unmet in (_sampled(run, config), *(_measured(run, config, s) for s in EVALUATIONS)):
        prompts += stage_prompts
        unmet += stage_unmet
    return Counts(
        samples=len(rows),
        lost=len(durable - rows.keys()),
        doubled=rows.total() - len(rows),
        prompts=prompts,
        unmet=unmet,
        reached_report=is_finished(run, "report"),
    )


def is_finished(run: Path, stage: str) -> bool:
    return bool(list(run.glob(f"stages/{stage}/*/manifest.json")))


def summary_of(run: Path, stage: str) -> dict[str, Any]:
    """The report of a finished stage; empty if it is not finished."""
    found = [json.loads(path.read_bytes())["summary"] for path in run.glob(f"stages/{stage}/*/manifest.json")]
    return found[0] if found else {}


def expected_metrics(run: Path, config: Config) -> list[tuple[str, dict[str, str], float]]:
    """The expected counter totals of an uninterrupted run, from its tables: the exported name, the tags that select the
    series, and the sum over all series that have these."""
    rows = rows_of(run, "generate", Generation)
    prices = config.teacher.endpoint.input_price or 0.0, config.teacher.endpoint.output_price or 0.0
    prompt_tokens, tokens = sum(row.num_prompt_tokens for row in rows), sum(row.num_tokens for row in rows)
    generate = {"stage": "generate"}
    expected: list[tuple[str, dict[str, str], float]] = [
        ("samples", generate, len(rows)),
        ("sample_errors", generate, sum(row.error is not None for row in rows)),
        ("accepted", {}, num_accepted(run, config) if config.teacher.accepted_per_prompt else 0),
        ("tokens", {**generate, "direction": "completion"}, tokens),
        ("tokens", {**generate, "direction": "prompt"}, prompt_tokens),
        ("tokens", {"direction": "prompt"}, sum(row.num_prompt_tokens for row in logged(run))),
        ("cost", {}, (prompt_tokens * prices[0] + tokens * prices[1]) / 1e6),
        ("kept", {"stage": "curate"}, len(rows_of(run, "curate", Sample))),
        ("rejected", {"stage": "curate"}, len(rows) - len(rows_of(run, "curate", Sample))),
    ]
    verdicts = Counter(verdict.verdict for verdict in rows_of(run, "verify", Verdict))
    expected += [("verdicts", {"verdict": str(kind)}, count) for kind, count in sorted(verdicts.items())]
    expected.append(("verdicts", {}, len(rows)))
    dropped: dict[str, int] = summary_of(run, "curate").get("dropped", {})
    expected += [("rejected", {"reason": reason}, count) for reason, count in sorted(dropped.items())]
    for stage in (stage for stage in EVALUATIONS if is_finished(run, stage)):
        scores = rows_of(run, stage, Score)
        expected.append(("samples", {"stage": stage}, len(scores)))
        completion = {"stage": stage, "direction": "completion"}
        expected.append(("tokens", completion, sum(score.num_tokens for score in scores)))
    return [(f"ray_stillery_{name}_total", tags, float(value)) for name, tags, value in expected]


def num_accepted(run: Path, config: Config) -> int:
    """The samples accepted by the teacher's stopping rule: the distinct ones of each prompt, including surplus."""
    rule = Acceptance.of(config.curate)
    verdicts = {verdict.sample_id: verdict for verdict in rows_of(run, "verify", Verdict)}
    return len(
        {
            (row.prompt_id, rule.key(sample_id=row.sample_id, completion=row.completion))
            for row in rows_of(run, "generate", Generation)
            if row.error is None and rule.why_dropped(verdicts[row.sample_id]) is None
        }
    )


def meets_rule(
    rows: Sequence[Generation], verdicts: Mapping[str, Verdict], *, rule: Acceptance, num_samples: int, wanted: int
) -> bool:
    """Whether one prompt's samples end where best-of-n says: at the `wanted`-th acceptance in order of index, with
    later ones marked as surplus, or at `num_samples`."""
    rows = sorted(rows, key=lambda row: row.sample_index)
    if [row.sample_index for row in rows] != list(range(len(rows))) or any(r.sample_id not in verdicts for r in rows):
        return False
    accepted: set[str] = set()
    needed = num_samples
    for row in rows:
        if rule.why_dropped(verdicts[row.sample_id]) is None:
            accepted.add(rule.key(sample_id=row.sample_id, completion=row.completion))
        if len(accepted) == wanted:
            needed = row.sample_index + 1
            break
    return len(rows) >= needed and all(row.surplus == (row.sample_index >= needed) for row in rows)


def _sampled(run: Path, config: Config) -> tuple[int, int]:
    """The teacher's prompts, and the number of them that do not meet the rule."""
    asked = [p for p in rows_of(run, "prompts", Prompt) if p.split in (Split.TRAIN, Split.VALIDATION)]
    if not is_finished(run, "verify"):
        return len(asked), len(asked)
    verdicts = {verdict.sample_id: verdict for verdict in rows_of(run, "verify", Verdict)}
    samples: dict[str, list[Generation]] = defaultdict(list)
    for row in rows_of(run, "generate", Generation):
        samples[row.prompt_id].append(row)
    teacher = config.teacher
    met = [
        meets_rule(
            samples[prompt.prompt_id],
            verdicts,
            rule=Acceptance.of(config.curate),
            num_samples=teacher.samples_per_prompt,
            wanted=teacher.accepted_per_prompt or teacher.samples_per_prompt,
        )
        for prompt in asked
    ]
    return len(met), met.count(False)


def _measured(run: Path, config: Config, stage: str) -> tuple[int, int]:
    """The prompts that a model is measured on, and the number of them without exactly their samples."""
    chosen = [p for p in rows_of(run, "prompts", Prompt) if p.split in config.evaluate.splits]
    indices: dict[str, list[int]] = defaultdict(list)
    for score in rows_of(run, stage, Score):
        indices[score.prompt_id].append(score.sample_index)
    every = list(range(config.evaluate.samples_per_prompt))
    return len(chosen), sum(sorted(indices[prompt.prompt_id]) != every for prompt in chosen)


def rows_of(run: Path, stage: str, record: type[R]) -> list[R]:
    """The rows of a stage's finished output; none if there is none."""
    if not is_finished(run, stage):
        return []
    (manifest,) = run.glob(f"stages/{stage}/*/manifest.json")
    return from_table(Folder(str(manifest.parent)).read_all(record), record)
