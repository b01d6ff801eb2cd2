"""Recorded generations in common formats, and unusable rows of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from stillery.errors import UserError
from stillery.io.readers.options import show_options
from stillery.records import Generation, Prompt
from stillery.sampling.backends.recorded import Recorded, RecordedCounts, read_recorded

CHOICES = ["sky", "sea"]
ASKED = "What is 2 + 2?"
PROMPTS = [
    Prompt("p1", "t", ASKED, "4", "number", [], "file", "train", None, None),
    Prompt("p2", "t", "What is 3 + 3?", "6", "number", [], "file", "train", None, None),
    Prompt("p3", "t", show_options("Which?", CHOICES), "A", "choice", CHOICES, "file", "train", None, None),
]


def read(folder: Path, rows: list[Any], **settings: Any) -> tuple[list[Generation], RecordedCounts]:
    path = folder / "made.jsonl"
    path.write_bytes(b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows))
    tally = RecordedCounts()
    recorded = Recorded(name="old", files=[str(path)], **settings)
    return list(read_recorded(recorded, PROMPTS, tally=tally)), tally


def batch(custom_id: str, content: str | None, **rest: Any) -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    body = {"model": "m", "choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 5}}
    return {"custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None, **rest}


def test_a_batch_row_that_failed_counts_as_missing(tmp_path: Path) -> None:
    rows = [batch("p1", "4"), batch("p2", None, response=None, error={"code": "x", "message": "too fast"})]
    refused = {"status_code": 429, "request_id": "r", "body": {"error": {"message": "slow down"}}}
    rows.append(batch("p3", None, response=refused))
    made, tally = read(tmp_path, rows)
    assert [(g.prompt_id, g.completion, g.error) for g in made] == [
        ("p1", "4", None),
        ("p2", "", "too fast"),
        ("p3", "", "slow down"),
    ]
    assert (made[0].model, made[0].num_tokens, made[0].num_prompt_tokens) == ("m", 5, 3)
    assert (tally["used"], tally["missing"], tally.left_out.total) == (3, 2, 0)
    assert tally.examples["missing"][0].endswith("made.jsonl line 2: too fast")


def test_openr1_rows_give_every_generation_with_its_flags(tmp_path: Path) -> None:
    row = {
        "problem": ASKED, "answer": "4", "generations": ["<think>\nx\n</think>\n4", "<think>\nlong"],
        "is_reasoning_complete": [True, False], "correctness_math_verify": [True, False], "finish_reasons": None,
    }  # fmt: skip
    made, tally = read(tmp_path, [row])
    assert [(g.sample_index, g.finish_reason) for g in made] == [(0, "stop"), (1, "length")]
    assert (tally["called_correct"], tally["called_wrong"]) == (1, 1)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": ASKED},
                      {"role": "assistant", "content": "<think>\nhm\n</think>\n4"}]},
        {"messages": json.dumps([{"role": "user", "content": ASKED},
                                 {"role": "assistant", "content": "<think>\nhm\n</think>\n4"}])},
        {"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": "<think>\nhm\n</think>\n4"}]},
        {"messages": [{"role": "user", "content": ASKED},
                      {"role": "assistant", "content": "4", "reasoning_content": "hm"}]},
        {"question": ASKED, "completion": "<|begin_of_thought|>\n\nhm\n\n<|end_of_thought|>\n\n"
                                          "<|begin_of_solution|>\n\n4\n\n<|end_of_solution|>"},
        {"question": [{"role": "user", "content": ASKED}], "completion": [
            {"role": "assistant", "content": "4", "reasoning_content": "hm"}]},
        {"question": "what is 2+2", "completion": "<think>\nhm\n</think>\n4"},
    ],
)  # fmt: skip
def test_a_conversation_is_a_question_and_its_completion(tmp_path: Path, row: dict[str, Any]) -> None:
    ((made,), _) = read(tmp_path, [row])
    assert (made.prompt_id, made.completion) == ("p1", "<think>\nhm\n</think>\n4")


def test_a_question_is_found_with_its_options_and_without(tmp_path: Path) -> None:
    rows = [{"question": question, "completion": "A"} for question in ("Which?", PROMPTS[2].question)]
    made, _ = read(tmp_path, rows)
    assert [g.prompt_id for g in made] == ["p3", "p3"]


def test_bad_rows_are_counted_up_to_the_share(tmp_path: Path) -> None:
    good = [{"question": ASKED, "completion": str(n)} for n in range(200)]
    bad: list[Any] = [b"{oops\n", {"question": ASKED}]
    made, tally = read(tmp_path, [*good, *bad])
    assert len(made) == 200
    assert tally.left_out.counts == {"not JSON": 1, "no column for the completion": 1}
    assert tally.summary()["rows"]["num_rows"] == 202
    with pytest.raises(UserError, match=r"line 201: not JSON .*\(2 of 202 rows left out: .*recorded.max_bad_share"):
        read(tmp_path, [*good, *bad], max_bad_share=0.005)
    with pytest.raises(UserError, match=r"line 201: not JSON \(Expecting property name"):
        read(tmp_path, [*good, *bad], on_bad_row="error")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt_id": "p1", "completion": "x", "num_tokens": float("inf")}, "num_tokens is inf; expected a number"),
        ({"prompt_id": "p1", "completion": "x", "num_tokens": -1}, "num_tokens is -1; expected a number of tokens"),
        ({"prompt_id": ["p1"], "completion": "x"}, "prompt_id is a list; expected text or a number"),
        (b'{"prompt_id": "p1", "completion": "\xff"}\n', "completion holds a byte that is not UTF-8 (0xff)"),
        (b'{"prompt_id": "p1", "completion": "x", "completion": "y"}\n', "completion cannot be read: the row gives it"),
        (b'{"question": "What is 2 + 2? \\ud83d", "completion": "x"}\n', "question holds half a character"),
        ({"question": 5, "completion": "x"}, "question is 5; expected the text of a question"),
        ({"prompt_id": "p1", "completion": []}, "its list of completions is empty"),
        (
            {"prompt_id": "p1", "completion": "x", "finish_reason": {"a": 1}},
            "finish_reason is an object; expected text",
        ),
        ({"custom_id": "p1", "response": "oops"}, "looks like OpenAI batch output, but does not hold what that has"),
        ({"messages": [{"role": "user", "content": "?"}] * 2}, "the conversation has 2 questions and 0 answers"),
    ],
)
def test_rows_are_refused_with_their_reason(tmp_path: Path, row: Any, message: str) -> None:
    _, tally = read(tmp_path, [*({"question": ASKED, "completion": str(n)} for n in range(200)), row])
    ((said,),) = tally.left_out.examples.values()
    assert message in said
    assert "made.jsonl line 201: " in said


def test_batches_of_parts_and_of_the_responses_api(tmp_path: Path) -> None:
    parts = batch("p1", None)
    parts["response"]["body"]["choices"][0]["message"]["content"] = [{"type": "text", "text": "4"}]
    item = {"type": "message", "content": [{"type": "output_text", "text": "6"}]}
    body = {"model": "m", "status": "completed", "output": [{"type": "reasoning", "summary": []}, item]}
    said = {"custom_id": "p2", "response": {"status_code": 200, "body": body}, "error": None}
    made, _ = read(tmp_path, [parts, said])
    assert [(g.prompt_id, g.completion, g.finish_reason) for g in made] == [("p1", "4", "stop"), ("p2", "6", "stop")]


@pytest.mark.parametrize(
    ("reasons", "complete", "meant"),
    [
        ([None, None], [True, False], ["stop", "length"]),
        (["stop", None], [True, False], ["stop", "length"]),
        (["stop", "stop"], [True, False], ["stop", "length"]),
        (None, [True, False], ["stop", "length"]),
        (["model_length", "Length "], None, ["length", "length"]),
        (["completed", "max_output_tokens"], [True, True], ["stop", "length"]),
        (["incomplete", None], [True, None], ["length", None]),
    ],
)
def test_a_generation_that_was_cut_off_is_known_by_any_name(
    tmp_path: Path, reasons: Any, complete: Any, meant: list[str | None]
) -> None:
    row = {"problem": ASKED, "generations": ["a", "b"], "finish_reasons": reasons, "is_reasoning_complete": complete}
    generations, _ = read(tmp_path, [row])
    assert [g.finish_reason for g in generations if g.error is None] == meant


def test_reasoning_without_a_message_is_a_sample_that_was_cut_off(tmp_path: Path) -> None:
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "2 + 2 is"}]}
    body = {"status": "incomplete", "output": [thought], "usage": {"input_tokens": 3, "output_tokens": 5}}
    row = {"custom_id": "p1", "response": {"status_code": 200, "body": body}, "error": None}
    (sample,) = [g for g in read(tmp_path, [row])[0] if g.prompt_id == "p1"]
    assert (sample.error, sample.finish_reason, sample.num_tokens) == (None, "length", 5)
    assert "2 + 2 is" in sample.completion
