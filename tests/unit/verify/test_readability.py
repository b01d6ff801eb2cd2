"""Readability flags."""

import time

import pytest

from stillery.verify.readability import readability_flags

COUNTING = " ".join(map(str, range(2000)))


@pytest.mark.parametrize(
    ("text", "question", "flags"),
    [
        ("blue = red + 5 = 17\ncheck: 17 - 5 = 12, ok", "What is blue?", []),
        ("```python\nprint(1)\n```", "", ["code_block"]),
        ("We have α + β = π, so the angle is 90°", "Find the angle.", []),
        ("First we add, 然后我们把它们相加得到结果", "Add them.", ["mixed_scripts"]),
        ("我们把它们相加", "把它们相加。", []),
        ("我们把它们相加 and so on and on", "", ["mixed_scripts"]),
        (COUNTING[:2001], "", ["long_paragraph"]),
        (COUNTING[:2000] + "\n" + COUNTING[2000:4000], "", []),
        ("wait\nwait\nwait\nwait", "", ["repetition"]),
        ("wait\nwait\nwait\nno", "", []),
        ("the quick brown fox jumps over the lazy dog and then it rests. " * 9, "", ["repetition"]),
        ("a\n\n\n\n\nb", "", []),
        ("", "", []),
    ],
)
def test_flags(text: str, question: str, flags: list[str]) -> None:
    assert readability_flags(text, question=question) == flags


@pytest.mark.parametrize("piece", ["a", "a ", "\n", "字", "abc", "\x00", "\u202e"])
def test_a_megabyte_takes_linear_time(piece: str) -> None:
    started = time.process_time()
    readability_flags(piece * (1_000_000 // len(piece)))
    assert time.process_time() - started < 5
