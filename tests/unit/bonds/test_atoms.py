"""Segmentation: every character in exactly one step, and the steps a person would count, including short turns."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillery.bonds.steps.segmentation import segment


def pieces(text: str) -> list[str]:
    return [text[span.start : span.end].strip() for span in segment(text)]


def kinds(text: str) -> list[str]:
    return [span.kind for span in segment(text)]


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab 1.?!。,$\\()[]{}`~\n\t=<>/-*#éה\u202e\0中文"), max_size=200))
def test_the_spans_cover_every_character_once_and_in_order(text: str) -> None:
    spans = segment(text)
    assert "".join(text[span.start : span.end] for span in spans) == text
    assert all(span.start < span.end for span in spans)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tom has 3.5 apples. He eats 1.", ["Tom has 3.5 apples.", "He eats 1."]),
        ("Use e.g. the formula. Then stop!", ["Use e.g. the formula.", "Then stop!"]),
        ("Dr. Smith has 2 dogs. So do I.", ["Dr. Smith has 2 dogs.", "So do I."]),
        ("因为3+4=7。所以答案是7。完", ["因为3+4=7。", "所以答案是7。", "完"]),
        ("start 3\nadd 4: 3 + 4 = 7\n", ["start 3", "add 4: 3 + 4 = 7"]),
        ("首先，我们计算 3+4=7。检查一下：7-4=3。", ["首先，我们计算 3+4=7。", "检查一下：", "7-4=3。"]),
        (
            "We use the formula:\n\\[a. b = 1\n\\]\n\nSo it holds.",
            ["We use the formula:\n\\[a. b = 1\n\\]", "So it holds."],
        ),
        ("Let $a. b$ be 3. Go.", ["Let $a. b$ be 3.", "Go."]),
    ],
)
def test_sentences_and_lines_are_steps_and_displays_stay_whole(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


def test_code_and_the_answer_are_whole() -> None:
    text = "Run it.\n```python\nx = 1\n\nprint(x)\n```\nDone.</think>\n<answer>the\nend</answer>"
    assert kinds(text) == ["sentence", "code", "sentence", "answer"]
    assert pieces(text)[1] == "```python\nx = 1\n\nprint(x)\n```"


def test_kinds_tell_equations_from_prose() -> None:
    assert kinds("So x + 2 = 5.\nThe second number is larger than the first.\nTotal") == [
        "equation",
        "sentence",
        "line",
    ]


@pytest.mark.parametrize("turn", ["Hmm.", "Wait, no.", "Let me check that:\n\n", "Wait, hold on."])
def test_a_short_turn_is_a_step(turn: str) -> None:
    text = f"The sum is 3 + 4 = 7. {turn} But the second number was 5."
    assert turn.strip() in pieces(text)


def test_a_clause_that_a_condition_opens_may_be_a_step() -> None:
    text = "If the drop is due to the Lyman break, then z is 7.66, which leads to a higher distance. That fits."
    assert pieces(text)[0] == "If the drop is due to the Lyman break,"


def test_a_dash_between_numbers_is_a_minus_sign() -> None:
    assert pieces("Therefore, the team won 22 – 7 = 15 games. Done.")[-2:] == [
        "Therefore, the team won 22 – 7 = 15 games.",
        "Done.",
    ]


@pytest.mark.slow
def test_time_is_linear_in_the_length() -> None:
    words = random.Random(0)
    line = " ".join(words.choice(["so", "x = 3", "Ann", "$y$", "goes on.", "1.5"]) for _ in range(4000))

    def seconds(copies: int) -> float:
        start = time.process_time()
        segment(f"{line}\n" * copies)
        return time.process_time() - start

    seconds(1)
    # Eight times the text: 8 times the time if linear, 64 times if quadratic.
    assert seconds(40) < 8 * 4 * seconds(5) + 0.05
