"""A small run for tests of the report: real rows of every kind, with known numbers."""

from typing import Any

from stillery.bonds import analyze
from stillery.bonds.corpus.comparison import compare
from stillery.metrics import summarize
from stillery.records import Score
from stillery.report import Evaluation, ReportData, StageLine
from support.score_rows import make_scores

FUNNEL = {"generated": 1600, "correct": 1200, "kept": 700, "dropped": {"wrong": 400, "over_max_per_prompt": 500}}
REGISTERED = {
    "name": "stillery-student",
    "version": 3,
    "aliases": ["champion"],
    "run_id": "r1",
    "tracking_uri": "sqlite:///mlflow.db",
    "gain": {"mean": 0.625, "low": 0.1, "high": 1.0},
    "decision": "Promoted: the interval of the gain lies above 0.",
}
HISTORY = [
    {"step": 10, "epoch": 0.5, "loss": 2.5, "learning_rate": 1e-3},
    {"step": 10, "epoch": 0.5, "eval_loss": 2.25},
    {"step": 20, "epoch": 1.0, "loss": 0.5, "learning_rate": 5e-4},
    {"step": 20, "epoch": 1.0, "eval_loss": 0.75},
]
# Outcomes of two test problems and of one problem of each further split, for each model.
BEFORE = ("+---", "----", "----", "----")
AFTER = ("++++", "++--", "+---", "++--")
TEACHER = ("++++", "+++-", "++--", "+++-")


def make_evaluation(outcomes: tuple[str, str, str, str], **changes: Any) -> Evaluation:
    first, second, longer, held_out = outcomes
    scores: list[Score] = [
        *make_scores("coin-1", first, task="coins", num_steps=2, **changes),
        *make_scores("equation-1", second, num_steps=3, **changes),
        *make_scores("longer-1", longer, split="longer", num_steps=9, **changes),
        *make_scores("held-1", held_out, split="held_out", task="dates", **changes),
    ]
    return Evaluation(scores, summarize(scores, ks=[1, 4]))


def make_comparison() -> dict[str, Any]:
    """The output of compare_bonds for the three models' test samples."""
    outcomes = {"teacher": TEACHER, "student_before": BEFORE, "student_after": AFTER}
    scores = {role: make_evaluation(rows, model=role).scores for role, rows in outcomes.items()}
    found = {
        role: [
            analyze(s.completion, markers=False, sample_id=f"{role}/{s.sample_id}") for s in rows if s.split == "test"
        ]
        for role, rows in scores.items()
    }
    problems = {f"{role}/{s.sample_id}": s.prompt_id for role, rows in scores.items() for s in rows}
    return {**compare(found, problems=problems), "split": "test", "failed": 0, "failures": []}


def make_report(**changes: Any) -> ReportData:
    """A complete report; `changes` are fields of ReportData that differ."""
    fields: dict[str, Any] = {
        "run_name": "demo",
        "git_revision": "0123456789abcdef0123456789abcdef01234567",
        "date": "2025-11-21",
        "before": make_evaluation(BEFORE),
        "after": make_evaluation(AFTER),
        "teacher": make_evaluation(TEACHER),
        "registered": REGISTERED,
        "funnel": FUNNEL,
        "verdicts": {"correct": 1200, "wrong": 390, "timeout": 10},
        "history": HISTORY,
        "num_prompts": {"train": 200, "test": 2},
        "stages": [StageLine("evaluate_after", "feedfacecafebeef", 75.0, "2025-11-21T10:00:00Z")],
        "config_yaml": "run:\n  name: demo\n",
        "num_traces": 2,
    }
    return ReportData(**(fields | changes))
