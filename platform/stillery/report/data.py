"""The page's data: everything is already read from disk, so that rendering is a pure function."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stillery.records import Molecule, Rollout, Score, Split

SPLIT_NAMES = {
    Split.TEST: "Test",
    Split.LONGER: "Longer than trained",
    Split.HELD_OUT: "Task not seen in training",
    Split.VALIDATION: "Validation",
    Split.TRAIN: "Train",
}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluated model: its samples and their `stillery.metrics.summarize`."""

    scores: Sequence[Score]
    summary: Mapping[str, Any]

    def measures(self, split: str) -> Mapping[str, Any] | None:
        """The overall measures of a split, if the model was measured on it."""
        return self.summary["splits"].get(split, {}).get("overall")

    def measures_by_task(self, split: str) -> Mapping[str, Any]:
        """The measures of each task of a split."""
        return self.summary["splits"].get(split, {}).get("by_task", {})


class EvaluatedModel(NamedTuple):
    """An evaluated model, and its series' class in the stylesheet."""

    style: str
    name: str
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class Refinement:
    """The refinement's summary, its history of steps and validations, and a few of its last rollouts."""

    summary: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    rollouts: Sequence[Rollout] = ()


@dataclass(frozen=True, slots=True)
class StageLine:
    """A finished stage, as the settings section lists it."""

    stage: str
    fingerprint: str
    seconds: float | None
    finished: str | None


@dataclass(frozen=True, slots=True)
class ReportData:
    """The data of a run's report. Data of a stage that did not run is None or empty.

    `registered` and `funnel` are the summaries of registration and curation, `verdicts` counts the teacher's
    verdicts, `history` is the trainer's log, `tuned` the student between fine-tuning and refinement, `num_prompts` the
    number of problems of each split, `artifacts` the candidates of the export, `benchmarks` the receipts of
    `stillery benchmark`. `by_verdict` and `compared` are what the stages bonds and compare_bonds summarized,
    `molecules` those of the samples whose text the page shows side by side, by sample_id.
    """

    run_name: str
    git_revision: str
    date: str
    before: Evaluation | None = None
    tuned: Evaluation | None = None
    after: Evaluation | None = None
    teacher: Evaluation | None = None
    registered: Mapping[str, Any] | None = None
    funnel: Mapping[str, Any] | None = None
    verdicts: Mapping[str, int] = field(default_factory=dict[str, int])
    history: Sequence[Mapping[str, Any]] = ()
    refined: Refinement | None = None
    num_prompts: Mapping[str, int] = field(default_factory=dict[str, int])
    artifacts: Sequence[Mapping[str, Any]] = ()
    benchmarks: Sequence[Mapping[str, Any]] = ()
    by_verdict: Mapping[str, Mapping[str, float]] | None = None
    compared: Mapping[str, Any] | None = None
    molecules: Mapping[str, Molecule] = field(default_factory=dict[str, Molecule])
    stages: Sequence[StageLine] = ()
    config_yaml: str = ""
    num_traces: int = 6

    @property
    def models(self) -> list[EvaluatedModel]:
        """The evaluated models, in the order of every table."""
        rows = [
            ("before", "Student before", self.before),
            ("tuned", "Student fine-tuned", self.tuned),
            ("after", "Student after", self.after),
            ("teacher", "Teacher", self.teacher),
        ]
        return [EvaluatedModel(style, name, evaluation) for style, name, evaluation in rows if evaluation is not None]

    @property
    def splits(self) -> list[str]:
        """The splits that any model was measured on, test first."""
        measured = {split for _, _, evaluation in self.models for split in evaluation.summary["splits"]}
        return [str(split) for split in SPLIT_NAMES if split in measured]
