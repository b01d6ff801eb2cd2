"""The prompts stage: every split in one table, from tasks, files and local datasets."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stillery.config import PromptsConfig, load_config
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.problems.tasks import HELD_OUT_TASK, LONGER_STEPS, TASKS
from stillery.records import Prompt
from stillery.stages.prompts import make_prompts, source_fingerprints

CONFIGS = Path(__file__).parents[3] / "jobs" / "configs"


def _tasks_config(**changes: Any) -> PromptsConfig:
    settings = {"num_train": 40, "num_validation": 8, "num_test": 20, "num_longer": 9, "num_held_out": 5}
    return PromptsConfig(source="tasks", **{**settings, **changes})


def _make(config: PromptsConfig, folder: Path, *, seed: int = 0) -> tuple[dict[str, Any], list[Prompt]]:
    out = Folder(str(folder))
    return make_prompts(config, seed=seed, out=out), out.read_rows("prompts.parquet", Prompt)


def _write(path: Path, numbers: range) -> str:
    lines = [json.dumps({"question": f"What is {n} + 1?", "answer": f"so\n#### {n + 1}"}) for n in numbers]
    path.write_text("\n".join(lines))
    return str(path)


def test_tasks_fill_every_split_evenly(tmp_path: Path) -> None:
    summary, prompts = _make(_tasks_config(), tmp_path)
    assert Counter(p.split for p in prompts) == {"train": 40, "validation": 8, "test": 20, "longer": 9, "held_out": 5}
    assert summary["by_split"] == {"train": 40, "validation": 8, "test": 20, "longer": 9, "held_out": 5}
    assert summary["num_prompts"] == len(prompts) == len({p.prompt_id for p in prompts})
    trained = set(TASKS) - {HELD_OUT_TASK}
    assert set(summary["by_task"]["train"]) == trained
    assert max(summary["by_task"]["train"].values()) - min(summary["by_task"]["train"].values()) <= 1
    assert summary["by_task"]["held_out"] == {HELD_OUT_TASK: 5}


def test_longer_problems_have_more_steps_than_trained_ones(tmp_path: Path) -> None:
    _, prompts = _make(_tasks_config(), tmp_path)
    for prompt in prompts:
        if prompt.split != "held_out":
            assert (prompt.num_steps in LONGER_STEPS[prompt.task]) == (prompt.split == "longer")


def test_facts_lead_to_the_answer(tmp_path: Path) -> None:
    _, prompts = _make(_tasks_config(tasks=["quantities"]), tmp_path)
    facts = json.loads(prompts[0].facts or "[]")
    assert facts[-1]["value"] == prompts[0].answer
    assert set(facts[-1]) == {"name", "value", "expression", "depends_on"}


def test_the_seed_alone_decides_which_problems(tmp_path: Path) -> None:
    _, once = _make(_tasks_config(), tmp_path / "a", seed=3)
    _, twice = _make(_tasks_config(), tmp_path / "b", seed=3)
    _, other = _make(_tasks_config(), tmp_path / "c", seed=4)
    assert once == twice
    assert once != other


def test_only_the_named_tasks_are_drawn(tmp_path: Path) -> None:
    summary, _ = _make(_tasks_config(tasks=["coin_flip", "last_letters"], num_held_out=0), tmp_path)
    assert summary["by_task"]["train"] == {"coin_flip": 20, "last_letters": 20}
    assert "held_out" not in summary["by_split"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tasks": ["coin_flp"]}, "no task 'coin_flp'; did you mean coin_flip?"),
        ({"tasks": [HELD_OUT_TASK]}, "is held out"),
        ({"tasks": ["coin_flip", "coin_flip"]}, "names a task twice"),
        ({"num_test": 0}, "prompts.num_test is 0"),
        ({"num_longer": -1}, "prompts.num_longer is -1"),
    ],
)
def test_faulty_task_settings(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        _make(_tasks_config(**changes), tmp_path)
    assert expected in str(caught.value)


def test_files_are_read_and_fingerprinted_by_contents(tmp_path: Path) -> None:
    config = PromptsConfig(source="file", answer_format="hash", task="sums")
    config.train, config.test = _write(tmp_path / "a.jsonl", range(30)), _write(tmp_path / "b.jsonl", range(50, 60))
    summary, prompts = _make(config, tmp_path / "out")
    assert summary["by_split"]["test"] == 10
    assert summary["by_split"]["train"] + summary["by_split"]["validation"] == 30
    assert summary["answer_kinds"] == {"number": 40}
    assert {p.answer for p in prompts if p.split == "test"} == {str(n + 1) for n in range(50, 60)}

    before = source_fingerprints(config)
    assert set(before) == {"train", "test"}
    assert len(before["train"]) == 64
    _write(tmp_path / "a.jsonl", range(31))
    after = source_fingerprints(config)
    assert (after["train"] == before["train"], after["test"] == before["test"]) == (False, True)


def test_a_missing_file_is_named_before_anything_runs(tmp_path: Path) -> None:
    config = PromptsConfig(source="file", train=_write(tmp_path / "a.jsonl", range(3)), test=str(tmp_path / "no.jsonl"))
    with pytest.raises(UserError, match=r"prompts\.test=.*no\.jsonl: no such file"):
        source_fingerprints(config)


def test_tasks_have_no_source_fingerprint() -> None:
    assert source_fingerprints(PromptsConfig(source="tasks")) == {}


def test_a_local_dataset_is_fingerprinted_by_contents(tmp_path: Path) -> None:
    _write(tmp_path / "train.jsonl", range(30))
    _write(tmp_path / "test.jsonl", range(50, 60))
    config = PromptsConfig(source="hub", dataset=str(tmp_path), train="train", test="test", answer_format="hash")
    before = source_fingerprints(config)
    assert before["dataset"] == str(tmp_path)
    assert source_fingerprints(config) == before
    _write(tmp_path / "train.jsonl", range(29))
    assert source_fingerprints(config)["revision"] != before["revision"]


def test_an_offline_hub_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"prompts\.dataset=openai/gsm8k: the Hub cannot say its revision"):
        source_fingerprints(PromptsConfig(source="hub", dataset="openai/gsm8k", train="train", test="test"))


def test_the_gsm8k_config_reads_such_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / "train.jsonl", range(100))
    _write(tmp_path / "test.jsonl", range(200, 250))
    monkeypatch.setenv("GSM8K_DIR", str(tmp_path))
    config = load_config(CONFIGS / "gsm8k.yaml")
    summary, prompts = _make(config.prompts, tmp_path / "out")
    assert summary["by_split"]["test"] == 32
    assert summary["by_split"]["train"] + summary["by_split"]["validation"] == 64
    assert {p.task for p in prompts} == {"gsm8k"}


def test_the_gsm8k_config_names_the_variable_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GSM8K_DIR", raising=False)
    with pytest.raises(UserError, match="GSM8K_DIR"):
        load_config(CONFIGS / "gsm8k.yaml")
