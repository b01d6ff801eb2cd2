"""Code problems in the formats of public datasets: the question, and tests that a correct solution passes."""

import json
from pathlib import Path
from typing import Any

import pytest

from stillery.config import PromptsConfig
from stillery.errors import UserError
from stillery.problems.code_rows import read_tests
from stillery.problems.files import load_prompts
from stillery.problems.inspection import inspect_file
from stillery.records import Prompt
from stillery.verify import grade

SQUARE = "def square(x):\n    return x * x"
PROGRAM = "n = int(input())\nprint(n * n)"
IO = {"inputs": ["3\n", "4\n"], "outputs": ["9\n", "16\n"]}

# A row, what solves it, and what does not.
SHAPES: dict[str, tuple[dict[str, Any], str, str]] = {
    "our own": ({"question": "Square x.", "tests": ["assert square(3) == 9"]}, SQUARE, "def square(x): return 0"),
    "our own programs": ({"question": "Square n.", "tests": IO}, PROGRAM, "print(9)"),
    "MBPP": (
        {
            "task_id": 1,
            "text": "Write a function to square a number.",
            "code": SQUARE,
            "test_list": ["assert square(3) == 9", "assert math.isclose(square(0.5), 0.25)"],
            "test_setup_code": "import math",
            "challenge_test_list": [],
        },
        SQUARE,
        "def square(x): return 3 * x",
    ),
    "HumanEval": (
        {
            "task_id": "HumanEval/0",
            "prompt": 'def square(x: int) -> int:\n    """Return the square of x."""\n',
            "entry_point": "square",
            "canonical_solution": "    return x * x\n",
            "test": "def check(candidate):\n    assert candidate(3) == 9\n    assert candidate(-1) == 1\n",
        },
        SQUARE,
        "def square(x): return 9",
    ),
    "APPS": ({"question": "Square n.", "solutions": "[]", "input_output": json.dumps(IO)}, PROGRAM, "print(9)"),
    "APPS, a function": (
        {
            "question": "Square each.",
            "input_output": json.dumps({"fn_name": "each", "inputs": [[[1, 2]]], "outputs": [[[1, 4]]]}),
        },
        "class Solution:\n    def each(self, xs):\n        return [x * x for x in xs]",
        "def each(xs): return xs",
    ),
    "LiveCodeBench": (
        {
            "question_content": "Add two numbers.",
            "starter_code": "class Solution:\n    def add(self, a, b):",
            "metadata": json.dumps({"func_name": "add"}),
            "public_test_cases": json.dumps([{"input": "1\n2", "output": "3", "testtype": "functional"}]),
        },
        "class Solution:\n    def add(self, a, b):\n        return a + b",
        "class Solution:\n    def add(self, a, b):\n        return a",
    ),
    "verifiable coding problems": (
        {
            "prompt": "Square n.",
            "verification_info": {
                "language": "python",
                "test_cases": [{"fn_name": None, "input": "3\n", "output": "9\n", "type": "stdin_stdout"}],
            },
        },
        PROGRAM,
        "print(input())",
    ),
}


def load(tmp_path: Path, row: dict[str, Any]) -> Prompt:
    """The row as the one training problem of a file."""
    files = {name: tmp_path / f"{name}.jsonl" for name in ("train", "validation", "test")}
    files["train"].write_text(json.dumps(row) + "\n")
    files["validation"].write_text('{"question": "What is 1 + 1?", "answer": "2"}\n')
    files["test"].write_text('{"question": "What is 3 + 4?", "answer": "7"}\n')
    paths = {name: str(path) for name, path in files.items()}
    return load_prompts(PromptsConfig(source="file", on_bad_row="error", **paths)).prompts[0]


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_gives_tests_that_decide(tmp_path: Path, shape: str) -> None:
    row, right, wrong = SHAPES[shape]
    prompt = load(tmp_path, row)
    assert prompt.answer_kind == "code"
    for code, expected in ((right, "correct"), (wrong, "wrong")):
        found = grade(f"```python\n{code}\n```", answer=prompt.answer, answer_kind=prompt.answer_kind)
        assert found.verdict == expected, found.detail
    assert "code 1" in inspect_file(str(tmp_path / "train.jsonl"))


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ([], "are empty"),
        ({"inputs": ["1"], "outputs": []}, "1 inputs and 0 outputs"),
        ({"in": ["1"]}, "the tests have in; expected inputs and outputs"),
        (["assert f(1) =="], "is no Python"),
        ([1, 2], "neither assertions nor"),
        ([{"input": "1", "output": "2", "testtype": "functional"}], "does not say of which function"),
    ],
)
def test_tests_that_cannot_be_read(cell: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_tests(cell)


def test_a_row_without_tests_is_named_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train.jsonl.*the tests are empty"):
        load(tmp_path, {"question": "Square x.", "tests": []})
