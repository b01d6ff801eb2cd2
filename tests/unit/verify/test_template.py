"""Parsing completions: states, prefilled thinking, hostile tags."""

import pytest

from stillery.verify.template import parse_template
from support.cpu_limit import soon_done


@pytest.mark.parametrize(
    ("completion", "state", "thinking", "answer"),
    [
        ("<think>a</think><answer>17</answer>", "ok", "a", "17"),
        ("<think>\na\n</think>\n\n<answer> 17 </answer>\n", "ok", "a", "17"),
        ("<think>a</think>So:\n<answer>17</answer>", "ok", "a", "17"),
        ("<answer>17</answer>", "no_think", None, "17"),
        ("Sure! <think>a</think><answer>17</answer>", "no_think", "a", "17"),
        ("<think> \n</think><answer>17</answer>", "empty_think", "", "17"),
        ("<think>a</think><answer>1</answer><answer>2</answer>", "two_answers", "a", "2"),
        ("<think>a</think><answer>17</answer> or 18", "text_after_answer", "a", "17"),
        ("<think>a</think>The answer is 17.", "no_answer", "a", None),
        ("The answer is 17.", "no_answer", None, None),
        ("<think>a <answer>5</answer></think>", "no_answer", "a <answer>5</answer>", None),
        ("<think>a <answer>5</answer></think><answer>6</answer>", "ok", "a <answer>5</answer>", "6"),
        ("<think>a", "unclosed", "a", None),
        ("<think>a<answer>17</answer>", "unclosed", "a", "17"),
        ("<think>a</think><answer>17", "unclosed", "a", "17"),
        ("<think>a</think><think>b</think><answer>17</answer>", "unclosed", "a", "17"),
        ("<think>a</think>17</answer>", "unclosed", "a", None),
        ("", "no_answer", None, None),
    ],
)
def test_states(completion: str, state: str, thinking: str | None, answer: str | None) -> None:
    parts = parse_template(completion)
    assert (parts.state, parts.thinking, parts.answer) == (state, thinking, answer)


def test_a_prompt_may_have_opened_the_thinking() -> None:
    parts = parse_template("a</think><answer>17</answer>")
    assert (parts.state, parts.thinking, parts.answer) == ("ok", "a", "17")
    assert parse_template("a", prefilled_think=True).state == "unclosed"
    assert parse_template("  </think><answer>17</answer>", prefilled_think=True).state == "empty_think"


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["<think>", "</think>", "<answer>", "</answer>", "<answer></answer>", "<"])
def test_a_megabyte_of_tags_takes_linear_time(piece: str) -> None:
    with soon_done():
        parts = parse_template(piece * (1_000_000 // len(piece)))
    assert parts.state != "ok"
