"""The verdict policy: what is checked, what is unparsed or truncated, and what is only then wrong."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillery.config import VerifyConfig
from stillery.errors import UserError
from stillery.records import AnswerKind, Generation, Prompt, Verdict, from_table, to_table
from stillery.verify import GradingTask, grade
from stillery.verify.code import CodeTests
from stillery.verify.judge import Pending, prepare
from stillery.verify.rows import grade_rows

GOOD = "<think>\nblue = red + 5 = 12 + 5 = 17\ncheck: 17 - 5 = 12, ok\n</think>\n<answer>17</answer>"


@pytest.mark.parametrize(
    ("completion", "settings", "verdict", "predicted"),
    [
        (GOOD, {"answer": "17"}, "correct", "17"),
        (GOOD, {"answer": "18"}, "wrong", "17"),
        (GOOD, {"answer": None}, "unchecked", None),
        (GOOD, {"answer": "17", "answer_kind": "none"}, "unchecked", None),
        ("Dear Ann, thank you.", {"answer": None}, "unchecked", None),
        ("Dear Ann, thank", {"answer": None, "finish_reason": "length"}, "truncated", None),
        ("<think>Dear Ann</think>\n", {"answer": None}, "unparsed", None),
        (" ", {"answer": None}, "unparsed", None),
        ("<think>hm</think>", {"answer": "17"}, "unparsed", None),
        ("<think>hm", {"answer": "17", "finish_reason": "stop"}, "unparsed", None),
        ("<think>hm", {"answer": "17", "finish_reason": "length"}, "truncated", None),
        ("<think>a</think><answer>1", {"answer": "17", "finish_reason": "length"}, "truncated", None),
        ("<think>a</think><answer>17", {"answer": "17", "finish_reason": "stop"}, "correct", "17"),
        (GOOD + " and", {"answer": "17", "finish_reason": "length"}, "correct", "17"),
        ("<think>a</think>" + "<answer>" + "(" * 3000 + "</answer>", {"answer": "17"}, "unparsed", None),
        ("<answer>Paris</answer>", {"answer": "B", "choices": ["London", "Paris"]}, "correct", "Paris"),
        ("a</think><answer>17</answer>", {"answer": "17", "prefilled_think": True}, "correct", "17"),
    ],
)
def test_verdicts(completion: str, settings: dict[str, Any], verdict: str, predicted: str | None) -> None:
    result = grade(completion, **settings)
    assert (result.verdict, result.predicted) == (verdict, predicted)


@pytest.mark.parametrize("kind", [*AnswerKind, "auto"])
def test_general_data_is_never_compared_but_is_checked_for_readability(kind: str) -> None:
    letter = "<think>\n" + "I should thank her.\n" * 4 + "</think><answer>\\boxed{9^{9^{9^9}}}</answer>"
    verdict = prepare(GradingTask(letter, None, answer_kind=kind, question="Write a letter to Ann."))
    assert isinstance(verdict, Verdict)
    assert (verdict.verdict, verdict.predicted, verdict.flags) == ("unchecked", None, ["repetition"])
    assert verdict.flag_evidence[0].startswith("a line 4 times in a row at characters 8-")


def test_a_verdict_carries_the_parts_and_ids() -> None:
    verdict = grade(GOOD, answer="17", sample_id="s", prompt_id="p")
    assert verdict == Verdict(
        sample_id="s",
        prompt_id="p",
        thinking="blue = red + 5 = 12 + 5 = 17\ncheck: 17 - 5 = 12, ok",
        answer_text="17",
        predicted="17",
        verdict="correct",
        template="ok",
        flags=[],
        detail=None,
    )
    assert from_table(to_table([verdict], Verdict), Verdict) == [verdict]


PIECES = [
    *("17", "1,", " ", ".", "*", "**", "-", "/", "=", "%", "^", "(", ")", "[", "{", "}", "$", '"', "\n", "\x00"),
    *("\\frac{", "\\{", "\\$", "\\circ", "\\text{", "\\\\", "\\overline{", "\\boxed{", "10^", "####", " and "),
    *("<think>", "</think>", "<answer>", "</answer>", "answer is ", "yes", "A) ", "Jan ", "3rd "),
    *("√", "√()", "²", "½", "٣", "②", "Ⅷ", "字", "\u202e", "\ud800"),
]


# What only a model can judge is a failure until one was asked.
GRADED = [kind for kind in AnswerKind if kind is not AnswerKind.JUDGED]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), st.sampled_from([*GRADED, "auto"]))
def test_no_completion_is_an_error_of_ours(text: str, kind: str) -> None:
    gold = CodeTests(asserts=("assert True",)).to_json() if kind == AnswerKind.CODE else "B"
    for completion in (text, f"<think>a</think><answer>{text}</answer>"):
        prepared = prepare(GradingTask(completion, gold, answer_kind=kind, choices=("London", "Paris")))
        assert isinstance(prepared, Pending) or prepared.verdict != "error", prepared.detail


def prompt(prompt_id: str, answer: str | None) -> Prompt:
    return Prompt(prompt_id, "sums", "What is blue?", answer, "number", [], "tasks", "test", None, None)


def generation(sample_id: str, prompt_id: str, completion: str, **changed: Any) -> Generation:
    values: dict[str, Any] = {
        "sample_id": sample_id, "prompt_id": prompt_id, "sample_index": 0, "seed": 0, "rendered": "What is blue?",
        "completion": completion, "finish_reason": "stop", "num_prompt_tokens": 1, "num_tokens": 1,
        "mean_logprob": None, "model": "m", "sampling": "{}", "attempt": 0, "surplus": False, "error": None,
    }  # fmt: skip
    return Generation(**(values | changed))


def test_rows_are_graded_in_order_as_records_and_as_a_table() -> None:
    prompts = {"p": prompt("p", "17"), "q": prompt("q", None)}
    rows = [
        generation("1", "p", GOOD),
        generation("2", "p", "hm</think><answer>18</answer>", rendered="What is blue?\n<think>\n"),
        generation("3", "q", GOOD),
        generation("4", "p", "", error="prompt is too long", finish_reason=None),
        generation("5", "p", "hm", rendered="What is blue?<think>", finish_reason="length"),
    ]
    verdicts = grade_rows(VerifyConfig(), rows, prompts)
    assert [(v.sample_id, v.verdict, v.template) for v in verdicts] == [
        ("1", "correct", "ok"),
        ("2", "wrong", "ok"),
        ("3", "unchecked", "ok"),
        ("4", "error", "no_answer"),
        ("5", "truncated", "unclosed"),
    ]
    assert verdicts[3].detail == "generation: prompt is too long"
    assert grade_rows(VerifyConfig(), to_table(rows, Generation), prompts) == verdicts


def test_a_generation_of_an_unknown_prompt_is_named() -> None:
    with pytest.raises(UserError, match="generation 1 is of prompt x"):
        grade_rows(VerifyConfig(), [generation("1", "x", GOOD)], {})
