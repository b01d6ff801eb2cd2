"""The problems of a benchmark and its prompts: real data if available, otherwise small files of each format."""

import json
from pathlib import Path
from typing import Any

import pytest

from stillery.benchmark.measuring import Settings, protocol_of
from stillery.benchmark.problems import load_problems, own_tasks
from stillery.benchmark.tasks import BOXED, TASKS, Task, find_tasks
from stillery.errors import UserError
from stillery.records import Prompt
from stillery.verify import grade
from support.shared_data import shared_data


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def one(task: Task, folder: Path) -> Prompt:
    (prompt,) = load_problems(task, folder=folder, limit=None).prompts
    return prompt


def test_gsm8k_and_math500_are_whole() -> None:
    folder = shared_data("gsm8k").parent
    found = {name: load_problems(TASKS[name], folder=folder, limit=None) for name in ("gsm8k", "math500")}
    assert {name: (len(f.prompts), f.num_left_out) for name, f in found.items()} == {
        "gsm8k": (1319, 0),
        "math500": (500, 0),
    }
    assert found["gsm8k"].prompts[0].answer == "18"
    assert found["gsm8k"].source["file"] == "test.jsonl"
    assert len(load_problems(TASKS["gsm8k"], folder=folder, limit=7).prompts) == 7


def test_gpqa_has_its_choices_in_an_order_of_the_question(tmp_path: Path) -> None:
    row = {"Question": "Which is even?", "Correct Answer": "4 ", "Incorrect Answer 1": "5"}
    row |= {"Incorrect Answer 2": "7", "Incorrect Answer 3": "9"}
    write_rows(tmp_path / "gpqa.jsonl", [row])
    prompt = one(TASKS["gpqa"], tmp_path)
    assert sorted(prompt.choices) == ["4", "5", "7", "9"]
    assert one(TASKS["gpqa"], tmp_path) == prompt
    letter = "ABCD"[prompt.choices.index("4")]
    assert f"{letter}) 4" in prompt.question or f"{letter}. 4" in prompt.question or f"({letter}) 4" in prompt.question
    told = {"answer_kind": prompt.answer_kind, "choices": prompt.choices}
    assert grade(rf"so \boxed{{{letter}}}", answer=prompt.answer, **told).verdict == "correct"
    other = "ABCD"[prompt.choices.index("5")]
    assert grade(rf"so \boxed{{{other}}}", answer=prompt.answer, **told).verdict == "wrong"


@pytest.mark.parametrize(
    ("name", "row", "answer"),
    [
        ("mmlu", {"question": "Sky?", "choices": ["red", "blue"], "answer": 1}, "B"),
        ("arc_challenge", {"question": "Sky?", "choices": {"text": ["red", "blue"], "label": ["A", "B"]},
                           "answerKey": "B"}, "B"),
        ("aime24", {"problem": "Find n.", "answer": "073"}, "073"),
    ],
)  # fmt: skip
def test_a_row_as_its_dataset_has_it(tmp_path: Path, name: str, row: dict[str, Any], answer: str) -> None:
    write_rows(tmp_path / name / "test.jsonl", [row])
    assert one(TASKS[name], tmp_path).answer == answer


def test_a_file_of_ones_own_is_a_task(tmp_path: Path) -> None:
    write_rows(tmp_path / "mine.jsonl", [{"question": "1+1?", "answer": "2"}])
    (tmp_path / "notes.txt").write_text("no task")
    assert own_tasks(tmp_path) == ["mine"]
    (task,) = find_tasks("mine", own=["mine"])
    assert one(task, tmp_path).task == "mine"


def test_a_name_is_understood_as_it_is_usually_written() -> None:
    assert [task.name for task in find_tasks("AIME 2024, MATH-500,aime24", own=[])] == ["aime24", "math500"]
    with pytest.raises(UserError, match="livecodebench is known to keep its problems out of training alone"):
        find_tasks("LiveCodeBench", own=[])


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no task 'gsm8'; did you mean gsm8k"):
        find_tasks("gsm8", own=[])
    with pytest.raises(UserError, match="name one or more of"):
        find_tasks(" , ", own=[])
    with pytest.raises(UserError, match="no such folder"):
        own_tasks(tmp_path / "gone")
    write_rows(tmp_path / "gsm8k.jsonl", [{"text": "no question"}])
    with pytest.raises(UserError, match="no column 'question'"):
        load_problems(TASKS["gsm8k"], folder=tmp_path, limit=None)


def test_settings_override_a_task() -> None:
    math = TASKS["math500"]
    usual = protocol_of(math, Settings(), writes_template=False)
    assert (usual.samples, usual.sampling["temperature"], usual.instruction) == (4, 0.6, BOXED)
    assert protocol_of(math, Settings(), writes_template=True).instruction is None
    greedy = protocol_of(math, Settings(greedy=True, max_tokens=100, instruction="Go."), writes_template=True)
    assert (greedy.samples, dict(greedy.sampling), greedy.instruction) == (
        1,
        {"temperature": 0.0, "max_tokens": 100},
        "Go.",
    )
    several = protocol_of(TASKS["gsm8k"], Settings(samples=8), writes_template=False)
    assert several.sampling["temperature"] > 0
