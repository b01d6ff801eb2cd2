"""Accuracy by generation during fine-tuning: it does not change the training, and early stopping and the best
checkpoint follow it, with TRL's trainer without Ray."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stillery.config import Config, SftConfig, VerifyConfig, load_config
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Prompt
from stillery.sampling.chat.conversation import open_conversation, student_format
from stillery.sampling.models import resolve_model
from stillery.stages.fingerprints import grading_limits
from stillery.stages.sft import STAGE
from stillery.training.accuracy import (
    ACCURACY,
    PROBLEMS,
    accuracy_trainer,
    best_metric,
    check_validation,
    early_stopping,
    score_of,
    stopped_history,
    write_problems,
)
from stillery.training.counts import check_counts
from stillery.training.loop import trl_arguments
from stillery.training.problems import StudentProblem

STEPS: dict[str, Any] = {
    "max_steps": 6, "save_strategy": "steps", "save_steps": 2, "logging_steps": 1, "per_device_train_batch_size": 2,
    "learning_rate": 1e-3, "neftune_noise_alpha": 5.0,
}  # fmt: skip


DEMO = Path(__file__).parents[3] / "jobs" / "configs" / "demo.yaml"


def prompt(number: int, *, split: str = "validation", kind: str = "number", answer: str | None = "3") -> Prompt:
    return Prompt(f"p{number}", "t", f"What is {number} + 1?", answer, kind, [], "made up", split, 1, None)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    root = Folder(str(tmp_path_factory.mktemp("accuracy")))
    rows = [prompt(n) for n in range(9)] + [prompt(9, split="train"), prompt(10, kind="none", answer=None)]
    (root / "prompts").write_rows("prompts.parquet", rows, Prompt)
    config = SftConfig()
    config.accuracy.num_problems = 3
    conversation = open_conversation(student_format(config), key="sft.student")
    given: dict[str, Any] = {"prompts": root / "prompts", "out": root, "verify_function": "support.verifier:right"}
    assert write_problems(config, conversation, **given) == 3
    return root


def train(out: Folder, checkpoints: Path, *, measures: bool, resume: int | None = None, **told: Any) -> Any:
    """Six steps of the embedded student, validated at every second. Returns the trainer."""
    from datasets import Dataset
    from transformers import AutoTokenizer, set_seed
    from trl import SFTConfig, SFTTrainer

    student = resolve_model("embedded:student")
    tokenizer = AutoTokenizer.from_pretrained(student)
    rows = [
        {"input_ids": (ids := tokenizer(f"{n} + 1 = {n + 1}")["input_ids"]), "labels": list(ids)} for n in range(12)
    ]
    table = {**STEPS, **told.pop("trl", {})}
    config = {
        "use_gpu": False, "seed": 0, "trl": table, "out": out.uri, "early_stopping": told.get("stops"),
        "accuracy": {
            "max_tokens": 8, "batch_size": 2, "stops": [tokenizer.eos_token_id],
            "grading": grading_limits(VerifyConfig()),
        },
    }  # fmt: skip
    set_seed(0)
    trainer = (accuracy_trainer(SFTTrainer, config) if measures else SFTTrainer)(
        model=student,
        args=SFTConfig(output_dir=str(checkpoints), **trl_arguments(config, has_validation=True)),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows[:2]),
        processing_class=tokenizer,
    )
    if (stops := told.get("stops")) is not None:
        trainer.add_callback(early_stopping(**stops))
    trainer.train(resume_from_checkpoint=None if resume is None else str(checkpoints / f"checkpoint-{resume}"))
    return trainer


def losses(trainer: Any) -> list[float]:
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def test_the_problems_are_those_of_validation_that_can_be_checked(out: Folder) -> None:
    problems = out.read_rows(PROBLEMS, StudentProblem)
    assert [problem.prompt_id for problem in problems] == ["p0", "p3", "p6"]
    assert "What is 3 + 1?" in problems[1].rendered
    assert problems[1].verify_function == "support.verifier:right"


@pytest.mark.slow
def test_measuring_changes_no_loss_and_early_stopping_goes_on_where_it_was(
    out: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = losses(train(out, tmp_path / "plain", measures=False))
    (out.local / PROBLEMS).rename(tmp_path / PROBLEMS)
    rows = Folder(str(tmp_path)).read_rows(PROBLEMS, StudentProblem)
    out.write_rows(PROBLEMS, [_by_rules(row) for row in rows], StudentProblem)
    trainer = train(out, tmp_path / "measured", measures=True, trl={"metric_for_best_model": "accuracy"})
    assert losses(trainer) == plain
    assert len(plain) == 6
    found = [row for row in trainer.state.log_history if ACCURACY in row]
    assert [row["step"] for row in found] == [2, 4, 6]
    for row in found:
        assert row[ACCURACY] in (0.0, pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0)
        assert 1 <= row["eval_completion_length"] <= 8
        assert row["eval_loss"] > 0
    assert trainer.state.best_metric == max(row[ACCURACY] for row in found)
    # So small a student never comes to a right answer in eight tokens of this: two validations in a row are no better.
    stops = {"patience": 2, "threshold": 0.5}
    settings: dict[str, Any] = {"measures": True, "stops": stops, "trl": {"metric_for_best_model": "accuracy"}}
    settings["trl"] |= {"max_steps": 12, "learning_rate": 1e-9}
    stopped = train(out, tmp_path / "stopped", **settings)
    assert [row["step"] for row in stopped.state.log_history if ACCURACY in row] == [2, 4, 6]
    assert stopped_history(tmp_path / "stopped" / "checkpoint-4") is None
    history = stopped_history(tmp_path / "stopped" / "checkpoint-6")
    assert history is not None
    assert history == stopped.state.log_history[: len(history)]
    again = train(out, tmp_path / "stopped", resume=4, **settings)
    assert again.state.global_step == 6
    assert losses(again) == losses(stopped)


def _by_rules(problem: StudentProblem) -> StudentProblem:
    return replace(problem, verify_function=None)


@pytest.mark.parametrize(
    ("overrides", "meant"),
    [
        (["sft.accuracy.num_problems=1"], "num_problems is 1; it must be 0"),
        (["sft.accuracy.num_problems=4", "sft.accuracy.max_tokens=0"], "max_tokens is 0"),
        (["sft.trl.metric_for_best_model=accuracy"], "set sft.accuracy.num_problems"),
        (["sft.trl.metric_for_best_model=eval_runtime"], "it must be loss or accuracy"),
        (["sft.early_stopping_patience=0"], "at least 1, or null"),
        (["sft.early_stopping_threshold=-1"], "it must be 0 or more"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(overrides: list[str], meant: str) -> None:
    with pytest.raises(UserError, match=meant):
        check_validation(load_config(DEMO, overrides))


def test_what_needs_validation_is_refused_without_rows_to_validate_on() -> None:
    for name, value in (("early_stopping_patience", 2), ("accuracy", Config().sft.accuracy)):
        config = SftConfig(**{name: value})
        config.accuracy.num_problems = 4 if name == "accuracy" else 0
        with pytest.raises(UserError, match=rf"sft\.{name}.*no row of the validation split is left"):
            check_counts(config, num_train=8, num_validation=0, length=100)
        check_counts(config, num_train=8, num_validation=1, length=100)


def test_fewer_than_two_problems_that_can_be_checked_are_refused(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write_rows("prompts.parquet", [prompt(0), prompt(1, kind="judged"), prompt(2, split="test")], Prompt)
    conversation = open_conversation(student_format(SftConfig()), key="sft.student")
    with pytest.raises(UserError, match="1 validation problems have an answer"):
        write_problems(SftConfig(), conversation, prompts=folder, out=folder, verify_function=None)


def test_of_equal_accuracies_the_lower_loss_is_better_and_no_loss_outweighs_an_answer() -> None:
    assert score_of({"eval_accuracy": 0.5, "eval_loss": 1.0}) > score_of({"eval_accuracy": 0.5, "eval_loss": 1.1})
    assert score_of({"eval_accuracy": 0.5001, "eval_loss": 9.0}) > score_of({"eval_accuracy": 0.5, "eval_loss": 0.1})
    assert best_metric(SftConfig(trl={"metric_for_best_model": "eval_accuracy"})) == ACCURACY


def test_the_stage_reads_problems_and_is_another_only_where_accuracy_is_measured() -> None:
    off, on = load_config(DEMO, []), load_config(DEMO, ["sft.accuracy.num_problems=8"])
    wider = load_config(DEMO, ["sft.accuracy.num_problems=8", "sft.accuracy.batch_size=4"])
    assert STAGE.also_needs(off) == ()
    assert STAGE.also_needs(on) == ("prompts.trained",)
    assert STAGE.settings(on) == STAGE.settings(wider) != STAGE.settings(off)
    assert not {"accuracy", "early_stopping"} & STAGE.settings(off).keys()
