"""Rows in known formats, and cells with conversations: the values under our names."""

from typing import Any

import pytest

from stillery.io.readers.cells import look_up
from stillery.io.readers.shapes import columns_of, read_turns, unmark

ASKED = {"role": "user", "content": "What is 2 + 2?"}
SAID = {"role": "assistant", "content": "4"}


def given(**values: Any) -> dict[str, Any]:
    found = columns_of(values)
    assert found is not None
    return {name: cell for name, cell in found[1].items() if cell is not None}


def test_messages_and_conversations() -> None:
    system = {"role": "system", "content": "Be brief."}
    assert given(messages=[system, ASKED, SAID]) == {"question": "What is 2 + 2?", "completion": "4"}
    assert given(messages=[ASKED]) == {"question": "What is 2 + 2?"}
    told = [{"from": "human", "value": "What is 2 + 2?"}, {"from": "gpt", "value": "4"}]
    assert given(conversations=told) == {"question": "What is 2 + 2?", "completion": "4"}
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "2 + 2?"}]
    assert given(messages=[{"role": "user", "content": parts}])["question"] == "What is 2 + 2?"
    thought = given(messages=[ASKED, {**SAID, "reasoning_content": "two and two"}])
    assert (thought["thinking"], thought["answer"]) == ("two and two", "4")
    assert columns_of({"messages": "none", "conversations": [1]}) is None


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([ASKED, SAID, ASKED], "several questions"),
        ([ASKED, SAID, SAID], "1 questions and 2 answers"),
        ([SAID], "a turn of 'assistant'"),
        ([ASKED, {"role": "tool", "content": "4"}], "a turn of 'tool'"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "a part that is not text"),
        ([{"role": "user", "content": None}], "not text"),
    ],
)
def test_a_conversation_that_is_no_question_and_answer(turns: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_turns(turns)


def test_openthoughts_markers() -> None:
    text = (
        "<|begin_of_thought|>\n\nhm\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\nIt is 4.\n\n<|end_of_solution|>"
    )
    assert unmark(text) == ("hm", "It is 4.")
    assert unmark("<|begin_of_thought|>cut") == ("cut", "")
    assert unmark("<|begin_of_thought|>hm<|end_of_thought|>It is 4.") == ("hm", "It is 4.")
    assert unmark("It is 4.") is None


def test_openr1_rows_have_their_flags() -> None:
    row = {"problem": "p", "generations": ["a", "b"], "finish_reasons": None, "messages": [ASKED, SAID]}
    flags = {"is_reasoning_complete": [True, False], "correctness_math_verify": [True, False]}
    assert given(**row, **flags) == {
        "question": "p",
        "completion": ["a", "b"],
        "finish_reason": ["stop", "length"],
        "is_correct": [True, False],
    }


def test_batch_output_rows() -> None:
    body = {"model": "m", "choices": [{"message": SAID, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 5}}  # fmt: skip
    response = {"status_code": 200, "body": body}
    assert given(custom_id="p1", response=response, error=None) == {
        "prompt_id": "p1", "model": "m", "completion": ["4"], "finish_reason": ["stop"], "num_prompt_tokens": 3,
        "num_tokens": [5],
    }  # fmt: skip
    failed = [
        {"response": None, "error": {"message": "too fast"}},
        {"response": {"status_code": 400, "body": {"error": {"message": "bad"}}}, "error": None},
        {"response": {"status_code": 500, "body": None}},
        {"response": {"status_code": 200, "body": {"choices": []}}},
    ]
    for values in failed:
        found = given(custom_id="p1", **values)
        assert "completion" not in found
        assert found["error"]


def test_paths_lead_into_nested_values() -> None:
    values = {"a": {"b.c": [{"d": 1}, {"d": 2}]}, "x.y": 3, "text": '{"k": ["v"]}', "none": None}
    assert look_up(values, "a.b.c.1.d") == 2
    assert look_up(values, "a.b.c.-1.d") == 2
    assert look_up(values, "x.y") == 3
    assert look_up(values, "text.k.0") == "v"
    for missing in ("a.z", "none.x", "a.b.c.9", "a.b.c.d", "x", "text.k.0.1"):
        with pytest.raises(LookupError):
            look_up(values, missing)
