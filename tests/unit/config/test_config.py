"""Config: layers, and errors that name the key and the remedy."""

import dataclasses
from pathlib import Path

import pytest

from stillery.config import Config, load_config, to_yaml
from stillery.errors import UserError


def test_arguments_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("teacher: {samples_per_prompt: 3, threads: 2}\n")
    config = load_config(file, ["teacher.samples_per_prompt=5", "sft.trl.learning_rate=1e-4"])
    assert (config.teacher.samples_per_prompt, config.teacher.threads) == (5, 2)
    assert config.sft.trl == {"learning_rate": 1e-4}
    assert config.teacher.model == "embedded:teacher"


def test_resolved_config_reads_back_the_same(tmp_path: Path) -> None:
    config = load_config(None, ["prompts.num_train=7"])
    (tmp_path / "r.yaml").write_text(to_yaml(config))
    assert load_config(tmp_path / "r.yaml") == config


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("teacher.sample_per_prompt=4", "unknown key teacher.sample_per_prompt; did you mean samples_per_prompt"),
        ("teachr.model=x", "unknown key teachr; did you mean teacher"),
        ("teacher.samples_per_prompt=many", "teacher.samples_per_prompt"),
        ("teacher.samples_per_prompt=0", "must be above 0"),
        ("teacher=4", "teacher must be a mapping"),
        ("evaluate.ks=[16]", "evaluate.ks holds 16"),
        ("evaluate.splits=[test,tset]", "no split 'tset'; did you mean test"),
        ("sft.trl.save_strategy=no", "save_strategy is no"),
        ("sft.answer_weight=0", "sft.answer_weight is 0; it must be above 0"),
        ("sft={completion: answer_only, answer_only_tasks: [coins]}", "means all; leave one out"),
        ("prompts.source=web", "must be tasks, file, hub or run"),
        ("verbose", "expected key=value"),
    ],
)
def test_bad_arguments_are_named(argument: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config(None, [argument])


def test_missing_and_malformed_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml does not exist"):
        load_config(tmp_path / "nowhere.yaml")
    (tmp_path / "bad.yaml").write_text("teacher: [unclosed")
    with pytest.raises(UserError, match="not valid YAML"):
        load_config(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(UserError, match="must be a mapping"):
        load_config(tmp_path / "list.yaml")


def test_an_unset_environment_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STILLERY_NO_SUCH_DIR", raising=False)
    (tmp_path / "env.yaml").write_text("prompts: {train: '${oc.env:STILLERY_NO_SUCH_DIR}/train.jsonl'}\n")
    with pytest.raises(UserError, match="STILLERY_NO_SUCH_DIR"):
        load_config(tmp_path / "env.yaml")


def test_the_projects_own_configs_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GSM8K_DIR", "/data/gsm8k")
    monkeypatch.setenv("MATH_DIR", "/data/math")
    files = sorted((Path(__file__).parents[3] / "jobs" / "configs").glob("*.yaml"))
    assert files
    assert all(isinstance(load_config(file), Config) for file in files)


def test_the_refining_demo_is_the_demo_with_a_refinement() -> None:
    configs = Path(__file__).parents[3] / "jobs" / "configs"
    demo, refining = load_config(configs / "demo.yaml"), load_config(configs / "refine.yaml")
    assert refining.refine.enabled
    assert dataclasses.replace(refining, refine=demo.refine) == demo
