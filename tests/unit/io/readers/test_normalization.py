"""Two questions that differ only in notation are the same; two that ask for different things are not."""

import pytest

from stillery.io.readers.normalization import normalize, question_key
from support.cpu_limit import soon_done

SAME = [
    ["What is 2 + 2?", "what is 2+2", " What  is\n2 +2 ?", "**What** is $2 + 2$?", "# What is *2 + 2*.",
     "What is `2+2`?!", "What is \\(2\\,+\\,2\\)?", "What is $$2 + 2$$", "Ｗｈａｔ is ２＋２？",
     "What is\u00a02\u2009+\u200b2?",
     "__What__ is 2 + 2…", "> What is 2 + 2?", "- What is 2 + 2?", "WHAT IS 2 + 2??"],
    ["Find $x^2 - 1$", "Find x² − 1", "Find $x^{2}-1$.", "find \\( x^2 \\, - 1 \\)"],
    ["Straße", "STRASSE", "strasse."],
    ["the ﬁrst one", "The first one"],
    ["“It's”, he said", '"It’s", he said'],
    ["Compute \\dfrac{1}{2} \\leq x", "Compute $\\frac{1}{2}\\le x$"],
    ["It costs 1,000 dollars", "It costs 1000 dollars", "It costs 1{,}000 dollars"],
    ["***a*** and **b *c* d**", "a and b c d"],
    ["Cafe\u0301?", "Café"],
]  # fmt: skip
DIFFERENT = [
    ("Compute 5!", "Compute 5"),
    ("Compute n!", "Compute n"),
    ("2**3", "23"),
    ("2*3*4", "234"),
    ("2**3 + 4**5", "23 + 45"),
    ("a_1 + b_1", "a1 + b1"),
    ("1 2 3", "12 3"),
    ("x² + 1", "x2 + 1"),
    ("What is 2 - 2?", "What is 2 + 2?"),
    ("What is 3.5?", "What is 35?"),
    ("1,2,3", "123"),
    ("-5 + 3", "5 + 3"),
    ("- 5 + 3", "5 + 3"),
    ("\\frac{1}{2}", "\\frac{12}{}"),
]


@pytest.mark.parametrize("forms", SAME)
def test_writing_does_not_make_another_question(forms: list[str]) -> None:
    assert {normalize(form) for form in forms} == {normalize(forms[0])}


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_what_means_something_else_is_another_question(first: str, second: str) -> None:
    assert normalize(first) != normalize(second)


def test_choices_count_in_any_order() -> None:
    assert question_key("Which?", ["sky", "Sea."]) == question_key("which", ["sea", "SKY"])
    assert question_key("Which?", ["sky", "sea"]) != question_key("Which?", ["sky", "see"])


@pytest.mark.parametrize("text", ["*", "* a", "**a ", "_a", " .", "?! ", "`a", "\\ ", "$", "((x) ", "a!", "{,}1"])
def test_normalizing_is_linear(text: str) -> None:
    with soon_done():
        normalize(text * 10_000)
