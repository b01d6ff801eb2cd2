"""Too few rows for the training settings: reported before training starts, and before the teacher where already
known."""

import json
from pathlib import Path

import pytest

from stillery.config import SftConfig, load_config
from stillery.errors import UserError
from stillery.pipeline.preflight import check
from stillery.pipeline.runner import run_pipeline
from stillery.training.counts import check_answer_only_tasks, check_counts, check_elastic


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["prompts.num_train=1", "curate.max_per_prompt=2", "sft.num_workers=3"], "give at most 2 rows; lower it"),
        (["prompts.num_validation=0", "sft.trl.eval_strategy=epoch"], "prompts.num_validation is 0; unset it"),
        (["sft.answer_only_tasks=[equation]"], "no task 'equation' is trained on; did you mean equations"),
        (["prompts.num_validation=0", "sft.early_stopping_patience=2"], "early_stopping_patience: prompts.num_valid"),
        (
            ["prompts.num_train=7", "curate.max_per_prompt=1", "sft.trl.packing=true"],
            "num_train=7 give at most 7 rows, less than one batch of 8",
        ),
        (["sft.trl.save_strategy=best"], "save_strategy is best: .* use epoch or steps"),
        (["sft.trl.num_train_epochs=0"], r"sft\.trl\.num_train_epochs is 0; it must be above 0"),
        (["refine.trl.gradient_accumulation_steps=0"], r"refine\.trl\.gradient_accumulation_steps is 0"),
        (["sft.trl.save_only_model=true"], r"sft\.trl\.save_only_model: stillery sets this field.*optimizer"),
        (
            ["refine.enabled=true", "refine.trl.ignore_data_skip=true"],
            r"refine\.trl\.ignore_data_skip: stillery sets this field",
        ),
        (["sft.trl.eval_delay=2"], r"sft\.trl\.eval_delay: stillery sets this field"),
        (["sft.trl.greater_is_better=true"], "it follows from metric_for_best_model"),
    ],
)
def test_generated_problems_that_are_too_few_are_refused_before_the_teacher(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(load_config(None, overrides))


@pytest.mark.parametrize(("strategy", "num_warnings"), [("group_by_length", 1), ("random", 0)])
def test_answers_alone_in_batches_by_length_are_warned_of(
    strategy: str, num_warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    overrides = ["sft.answer_only_tasks=[coin_flip]", f"sft.trl.train_sampling_strategy={strategy}"]
    check(load_config(None, overrides))
    assert sum("random mixes them" in record.message for record in caplog.records) == num_warnings


def test_a_task_that_the_teacher_never_solved_is_warned_of_and_refused_only_where_it_is_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    check_answer_only_tasks(["coins"], {"coins": 2, "sums": 3})
    assert not caplog.records
    check_answer_only_tasks(["coins", "letters"], {"coins": 2, "sums": 3})
    assert "of the task 'letters'; there are coins, sums" in caplog.text
    with pytest.raises(UserError, match="of the task 'letters'; there are coins, sums"):
        check_answer_only_tasks(["letters"], {"coins": 2, "sums": 3})


def test_problems_of_a_file_that_are_too_few_are_refused_before_the_teacher(tmp_path: Path) -> None:
    for split in ("train", "test"):
        rows = [{"question": f"What is {split} {n}?", "answer": str(n)} for n in range(3)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    files = [f"prompts.{split}={tmp_path / split}.jsonl" for split in ("train", "test")]
    overrides = ["prompts.source=file", *files, f"run.dir={tmp_path / 'run'}", "curate.max_per_prompt=1"]
    with pytest.raises(UserError, match=r"sft\.num_workers=3: 2 training problems give at most 2 rows"):
        run_pipeline(load_config(None, [*overrides, "sft.num_workers=3"]), until="prompts")
    assert run_pipeline(load_config(None, [*overrides, "sft.num_workers=2"]), until="prompts")


def test_rows_that_are_enough_pass() -> None:
    check_counts(SftConfig(), num_train=1, num_validation=0, length=10)
    packed = SftConfig(num_workers=2, trl={"packing": True, "max_length": 100, "per_device_train_batch_size": 2})
    check_counts(packed, num_train=20, num_validation=3, length=301)


@pytest.mark.parametrize(
    ("config", "length", "message"),
    [
        (SftConfig(num_workers=9), 900, "sft.num_workers=9: there are 8 rows"),
        (SftConfig(trl={"packing": True, "max_length": 100}), 700, "about 7 packed rows of 100 .* one batch of 8"),
        (SftConfig(trl={"eval_strategy": "steps"}), 900, "no row of the validation split is left"),
    ],
)
def test_rows_that_are_too_few_are_refused(config: SftConfig, length: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_counts(config, num_train=8, num_validation=0, length=length)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sft.num_workers=2", "sft.max_workers=1"], "sft.max_workers=1 is below sft.num_workers=2"),
        (["sft.max_workers=2", "sft.max_failures=0"], "needs sft.max_failures above 0"),
        (["sft.max_workers=4"], "3 workers cannot share a batch of 8 .* a multiple of 12 as"),
        (["sft.num_workers=2", "sft.max_workers=3"], "3 workers cannot share a batch of 16 .* a multiple of 3 as"),
    ],
)
def test_workers_that_cannot_share_the_batch_are_refused_before_the_teacher(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(load_config(None, overrides))


@pytest.mark.parametrize(("least", "most", "each"), [(1, 2, 8), (1, 4, 12), (2, 3, 3), (2, 2, 1), (3, None, 1)])
def test_workers_that_can_share_the_batch_pass(least: int, most: int | None, each: int) -> None:
    check_elastic(SftConfig(num_workers=least, max_workers=most, trl={"per_device_train_batch_size": each}))
