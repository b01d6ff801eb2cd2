"""What a run's durable log and its outputs say about it afterwards: samples lost, made twice, prompts cut short."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from stillery.config import Config
from stillery.records import Generation, Prompt, R, Score, Split, Verdict, from_table
from stillery.storage import Folder
from stillery.verify.acceptance import Acceptance

EVALUATIONS = ("evaluate_teacher", "evaluate_before", "evaluate_after")


@dataclass(frozen=True)
class Counts:
    """`lost`: durable at a fault and not in the log afterwards. `doubled`: rows of the log beyond the first of their
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


def logged_rows(run: Path) -> list[str]:
    """The ids of all rows in the log that did not fail, one as often as it was written."""
    log = Folder(str(run / "log"))
    return [
        row.sample_id
        for key in log.names()
        for name in (log / key).names(".parquet")
        for row in (log / key).read_rows(name, Generation)
        if row.error is None
    ]


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


def meets_rule(
    rows: Sequence[Generation], verdicts: Mapping[str, Verdict], *, rule: Acceptance, num_samples: int, wanted: int
) -> bool:
    """Whether one prompt's samples end where best-of-n says: at the `wanted`-th acceptance in order of index, what is
    beyond it marked as surplus, or at `num_samples`."""
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
    """The teacher's prompts, and how many of them do not meet the rule."""
    asked = [p for p in _rows(run, "prompts", Prompt) if p.split in (Split.TRAIN, Split.VALIDATION)]
    if not is_finished(run, "verify"):
        return len(asked), len(asked)
    verdicts = {verdict.sample_id: verdict for verdict in _rows(run, "verify", Verdict)}
    samples: dict[str, list[Generation]] = defaultdict(list)
    for row in _rows(run, "generate", Generation):
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
    """The prompts that a model is measured on, and how many of them do not have exactly their samples."""
    chosen = [p for p in _rows(run, "prompts", Prompt) if p.split in config.evaluate.splits]
    indices: dict[str, list[int]] = defaultdict(list)
    for score in _rows(run, stage, Score):
        indices[score.prompt_id].append(score.sample_index)
    every = list(range(config.evaluate.samples_per_prompt))
    return len(chosen), sum(sorted(indices[prompt.prompt_id]) != every for prompt in chosen)


def _rows(run: Path, stage: str, record: type[R]) -> list[R]:
    """The rows of a stage's finished output, none where there is none."""
    if not is_finished(run, stage):
        return []
    (manifest,) = run.glob(f"stages/{stage}/*/manifest.json")
    return from_table(Folder(str(manifest.parent)).read_all(record), record)
