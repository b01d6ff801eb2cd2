"""`stillery init` writes configs that load, with the given values; and refuses what no run could use."""

import json
from pathlib import Path

import pytest

from stillery.cli.main import main
from stillery.config import load_config


def problems(path: Path, *numbers: int) -> str:
    path.write_text(
        "".join(json.dumps({"question": f"What is {n} + 1?", "answer": str(n + 1)}) + "\n" for n in numbers)
    )
    return str(path)


def test_without_a_terminal_the_defaults_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    assert main(["init", str(file)]) == 0
    config = load_config(str(file), [])
    assert (config.teacher.model, config.sft.student) == ("embedded:teacher", "embedded:student")
    assert (config.prompts.source, config.run.name, config.register.name) == ("tasks", "first", "first")
    assert f"stillery plan --config {file}" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_ones_own_problems_are_read_as_the_file_looks(tmp_path: Path) -> None:
    train, test = problems(tmp_path / "train.jsonl", *range(40)), problems(tmp_path / "test.jsonl", *range(50, 60))
    file = tmp_path / "mine.yaml"
    told = ["--problems", train, "--test", test, "--teacher", "Qwen/QwQ-32B", "--student", "org/small: a 'name'"]
    assert main(["init", str(file), *told, "--name", "sums: one"]) == 0
    config = load_config(str(file), [])
    assert (config.prompts.train, config.prompts.test, config.run.name) == (train, test, "sums: one")
    assert config.sft.student == "org/small: a 'name'"
    assert config.teacher.instruction == "template"


def test_a_server_is_a_teacher(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    assert main(["init", str(file), "--teacher", "https://api.example.com/v1"]) == 0
    teacher = load_config(str(file), []).teacher
    assert (teacher.kind, teacher.endpoint.base_url) == ("endpoint", "https://api.example.com/v1")


def test_a_file_that_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    assert main(["init", str(file)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert main(["init", str(file), "--force"]) == 0
    assert file.read_text() != "mine"


def test_problems_without_a_test_file_or_without_answers_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    assert main(["init", str(file), "--problems", problems(tmp_path / "a.jsonl", 1)]) == 2
    assert "--test: name a file of problems" in capsys.readouterr().err
    (tmp_path / "b.jsonl").write_text('{"height": 3}\n')
    assert main(["init", str(file), "--problems", str(tmp_path / "b.jsonl"), "--test", str(tmp_path / "b.jsonl")]) == 2
    assert "b.jsonl: no questions and answers were found" in capsys.readouterr().err
    assert not file.exists()
