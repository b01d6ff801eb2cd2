"""Real recorded teachers, and the column mappings that read them; skipped if the data is absent."""

import json
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stillery.records import Generation, Prompt, digest
from stillery.sampling.backends.recorded import Recorded, RecordedCounts, read_recorded
from stillery.verify.template import parse_template
from support.shared_data import shared_data


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def prompts_of(rows: list[dict[str, Any]], *, question: str, answer: str) -> list[Prompt]:
    """A prompt for each question, as the prompts stage makes them of such a file."""
    asked = {row[question]: str(row[answer]) for row in rows}
    return [
        Prompt(digest("prompt", text), "maths", text, gold, "expression", [], "file", "train", None, None)
        for text, gold in asked.items()
    ]


def read(prompts: list[Prompt], **settings: Any) -> tuple[list[Generation], RecordedCounts]:
    tally = RecordedCounts()
    return list(read_recorded(Recorded(**settings), prompts, tally=tally)), tally


def test_eight_completions_a_problem_in_a_list() -> None:
    path = shared_data("qwen25math/math_cot_100.jsonl")
    lines = read_lines(path)
    rows, tally = read(
        prompts_of(lines, question="question", answer="gt"),
        name="Qwen2.5-Math",
        files=[str(path)],
        columns={"question": "question", "completion": "code"},
    )
    assert Counter(row.prompt_id for row in rows).most_common()[-1][1] == 8
    assert [row.completion for row in rows] == [text for line in lines for text in line["code"]]
    assert [row.sample_index for row in rows] == [index for _ in lines for index in range(8)]
    assert len({row.sample_id for row in rows}) == tally["used"] == tally["found"] == 800
    texts = {(line["question"], text) for line in lines for text in line["code"]}
    assert tally["repeated"] == 800 - len(texts)


TOPOLOGY = {
    "question": "problem",
    "num_tokens": "total_generated_tokens",
    "num_prompt_tokens": "prompt_tokens",
    "mean_logprob": "mean_log_prob",
    "model": "model_name",
}


def test_traces_of_several_models_as_they_were_written() -> None:
    folder = shared_data("trace_topology")
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in read_lines(path)]
    rows, tally = read(
        prompts_of(lines, question="problem", answer="ground_truth"),
        name="trace_topology",
        files=[str(folder)],
        columns=TOPOLOGY | {"completion": "full_response"},
    )
    assert tally["used"] == tally["found"] == 70
    assert [row.completion for row in rows] == [line["full_response"] for line in lines]
    assert Counter(row.model for row in rows) == Counter(line["model_name"] for line in lines)
    # 20 problems: all three models answer each, and one of them answers half a second time.
    assert sorted(Counter(row.prompt_id for row in rows).values()) == [3] * 10 + [4] * 10
    assert max(row.sample_index for row in rows) == 3
    assert 1500 < statistics.median(row.num_tokens for row in rows) < 2500
    assert [row.mean_logprob for row in rows] == [line["mean_log_prob"] for line in lines]


def test_thinking_and_answer_in_columns_of_their_own_close_the_template() -> None:
    """Of these models' texts some begin inside the thinking; taken from the two columns, all are whole."""
    folder = shared_data("trace_topology")
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in read_lines(path)]
    rows, _ = read(
        prompts_of(lines, question="problem", answer="ground_truth"),
        name="trace_topology",
        files=[str(folder)],
        columns={"question": "problem", "thinking": "reasoning_trace", "answer": "answer_text"},
    )
    for row, line in zip(rows, lines, strict=True):
        parts = parse_template(row.completion)
        assert (parts.thinking or "").strip() == line["reasoning_trace"].strip()
        assert parts.visible.strip() == line["answer_text"].strip()


@pytest.mark.slow
def test_worked_solutions_as_a_teacher() -> None:
    path = shared_data("gsm8k/train.jsonl")
    lines = read_lines(path)
    prompts = prompts_of(lines, question="question", answer="answer")
    rows, tally = read(
        prompts[:5000],
        name="gsm8k-solutions",
        files=[str(path)],
        columns={"question": "question", "completion": "answer"},
    )
    assert (tally["used"], tally["unknown"], tally["uncounted"]) == (5000, len(lines) - 5000, 5000)
    assert [row.completion for row in rows] == [line["answer"] for line in lines[:5000]]
    assert all("####" in row.completion for row in rows)
