"""The output of `stillery prompts --inspect` on a file, and the proposed config reads it."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from stillery.cli import main
from stillery.config import load_config
from stillery.errors import UserError
from stillery.problems.files import load_prompts
from stillery.problems.inspection import inspect_file
from stillery.sampling.backends.recorded import Recorded, RecordedCounts, read_recorded

TRACE = "<|begin_of_thought|>hm<|end_of_thought|><|begin_of_solution|>It is \\boxed{%d}.<|end_of_solution|>"


def turns(asking: str, answering: str, n: int) -> list[dict[str, str]]:
    role, content = ("from", "value") if asking == "human" else ("role", "content")
    return [{role: asking, content: f"What is {n} + {n}?"}, {role: answering, content: TRACE % (2 * n)}]


def row_of(shape: str, n: int) -> dict[str, Any]:
    question, answer = f"What is {n} + {n}?", str(2 * n)
    return {
        "plain": {"question": question, "answer": answer},
        "gsm8k": {"question": question, "answer": f"Add them.\n#### {answer}"},
        "math": {"problem": question, "solution": f"So it is \\boxed{{{answer}}}.", "level": 3},
        "nested": {"meta": {"problem": question, "gold": {"answer": answer}}},
        "verl": {"prompt": [{"role": "user", "content": question}], "reward_model": {"ground_truth": answer}},
        "mmlu": {"question": question, "choices": ["one", "two", "three"], "answer": n % 3},
        "arc": {"question": question, "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"},
        "sharegpt": {"conversations": turns("human", "gpt", n)},
        "messages": {"messages": turns("user", "assistant", n), "answer": answer},
        "openr1": {
            "problem": question, "answer": answer, "generations": ["<think>\nx\n</think>\n" + answer, "<think>"],
            "is_reasoning_complete": [True, False], "correctness_math_verify": [True, False],
        },
        "openthoughts": {
            "problem": question, "ground_truth_solution": f"\\boxed{{{answer}}}", "deepseek_reasoning": "hm",
            "deepseek_solution": f"It is \\boxed{{{answer}}}.", "expected_answer": answer,
        },
    }[shape]  # fmt: skip


SAMPLES = {"sharegpt": 1, "messages": 1, "openr1": 2, "openthoughts": 1}


@pytest.mark.parametrize(
    "shape", ["plain", "gsm8k", "math", "nested", "verl", "mmlu", "arc", *SAMPLES]
)  # fmt: skip
def test_the_proposed_config_reads_the_file(tmp_path: Path, shape: str) -> None:
    path = tmp_path / "made.jsonl"
    path.write_text("".join(json.dumps(row_of(shape, n)) + "\n" for n in range(1, 40)))
    test = tmp_path / "test.jsonl"
    test.write_text("".join(json.dumps(row_of(shape, n)) + "\n" for n in range(100, 110)))
    (tmp_path / "proposed.yaml").write_text(inspect_file(str(path)))
    config = load_config(tmp_path / "proposed.yaml", [f"prompts.test={test}"])
    prompts = load_prompts(config.prompts).prompts
    assert len(prompts) == 49
    assert all(prompt.answer for prompt in prompts)
    assert (config.teacher.kind == "recorded") == (shape in SAMPLES)
    if shape in SAMPLES:
        given = config.teacher.recorded
        recorded = Recorded(name="made", files=given.files, columns=given.columns)
        made = list(read_recorded(recorded, prompts, tally=RecordedCounts()))
        assert len(made) == 39 * SAMPLES[shape]
        assert all(row.completion.startswith("<think>") for row in made)


def test_a_batch_file_is_a_recorded_teacher_and_no_problems(tmp_path: Path) -> None:
    body = {"model": "m", "choices": [{"message": {"content": "4"}, "finish_reason": "stop"}]}
    row = {"custom_id": "p1", "response": {"status_code": 200, "body": body}, "error": None}
    (tmp_path / "batch.jsonl").write_text(json.dumps(row) + "\n")
    said = inspect_file(str(tmp_path / "batch.jsonl"))
    assert list(OmegaConf.to_container(OmegaConf.create(said))) == ["teacher"]
    assert "# shape: OpenAI batch output (1 rows)" in said
    assert "# as problems: no column looks like a question" in said


def test_what_is_seen_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"question": f"q{n}", "answer": n, "meta": {"tags": ["a"], "half": "\ud83d\n"}} for n in range(9)]
    text = "".join(json.dumps(row) + "\n" for row in rows) + "{oops\n" + json.dumps({"question": "x"}) + "\n"
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    assert main(["prompts", "--inspect", str(tmp_path / "a.jsonl.gz")]) == 0
    said = capsys.readouterr().out
    said.encode()
    assert "a.jsonl.gz: JSON lines, compressed with gzip" in said
    assert "# 11 rows, of which 1 of 11 rows left out: not JSON 1" in said
    assert "#   answer     integer in 9 of 11: 0" in said
    assert "#   meta.tags  list of text in 9 of 11: 1 of them: 'a'" in said
    assert "9 of the first 10 rows are read, answers: number 9" in said
    assert "no column 'answer' for the answer" in said


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("gone.jsonl", None, "--inspect=.*gone.jsonl: no such file"),
        ("a.jsonl", b"", "a.jsonl: has no rows"),
        ("a.parquet", b"x", "a.parquet: cannot be read"),
        ("a.txt", b"x", "the suffix is not one of"),
    ],
)
def test_a_file_that_cannot_be_inspected(tmp_path: Path, name: str, data: bytes | None, message: str) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message):
        inspect_file(str(tmp_path / name))


def test_a_file_of_nothing_that_is_known_is_described_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1, "b": {"c": [{"d": "x"}]}}\n')
    said = inspect_file(str(tmp_path / "a.jsonl"))
    assert all(line.startswith("# ") for line in said.splitlines())
    assert "b.c.0.d  text: 'x'" in said
