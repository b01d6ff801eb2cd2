"""The split of `<think> … </think><answer> … </answer>` into reasoning and content, for any chunk boundaries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillery.serving.splitting import ThinkAnswerSplitter


def split(pieces: list[str], *, prefilled: bool = False) -> tuple[str, str]:
    made = ThinkAnswerSplitter(prefilled=prefilled)
    parts = [*(made.feed(piece) for piece in pieces), made.finish()]
    return "".join(part[0] for part in parts), "".join(part[1] for part in parts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>2 + 2 = 4</think><answer>4</answer>", ("2 + 2 = 4", "4")),
        ("\n<think>a</think>\n<answer> b c</answer>", ("a", "b c")),
        ("<answer>17</answer>", ("", "17")),
        ("plain text", ("", "plain text")),
        ("<think>never closed", ("never closed", "")),
        ("<think>a < b</think><answer>1 < 2", ("a < b", "1 < 2")),
        ("<thinking>", ("", "<thinking>")),
        ("<think>ends in </thi", ("ends in </thi", "")),
        ("<think>a</think>no tags <b>", ("a", "no tags <b>")),
        ("", ("", "")),
        ("<thi", ("", "<thi")),
    ],
)
def test_a_completion_is_split_the_same_whole_and_letter_by_letter(text: str, expected: tuple[str, str]) -> None:
    assert split([text]) == expected
    assert split(list(text)) == expected


def test_a_prompt_that_opened_the_thinking_counts() -> None:
    assert split(["2 + 2", " = 4</think>", "<answer>4</answer>"], prefilled=True) == ("2 + 2 = 4", "4")


def test_nothing_is_held_back_that_is_decided() -> None:
    made = ThinkAnswerSplitter()
    assert made.feed("<think>") == ("", "")
    assert made.feed("step one") == ("step one", "")
    assert made.feed(" a <") == (" a ", "")
    assert made.feed(" b") == ("< b", "")
    assert made.feed("</think><answer>4") == ("", "4")


FRAGMENTS = st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "<", "a", " ", "</", "think>", "4"])


@given(st.lists(FRAGMENTS, max_size=12), st.integers(1, 7))
def test_the_pieces_do_not_matter(fragments: list[str], size: int) -> None:
    text = "".join(fragments)
    assert split([text]) == split([text[i : i + size] for i in range(0, len(text), size)])
