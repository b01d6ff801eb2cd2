"""Lettered options below a question, unless it already contains them."""

import pytest

from stillery.io.readers.options import has_options, hide_options, show_options

CHOICES = ["Paris", "New York", "3.5"]


def test_options_are_shown_and_can_be_hidden_again() -> None:
    shown = show_options("Which one?\n", CHOICES)
    assert shown == "Which one?\n\nA) Paris\nB) New York\nC) 3.5"
    assert hide_options(shown, CHOICES) == "Which one?"
    assert show_options(shown, CHOICES) == shown
    assert show_options("Which one?", []) == "Which one?"
    assert hide_options("Which one?", CHOICES) == "Which one?"


def test_choices_that_bear_their_letters_keep_one() -> None:
    assert show_options("Which?", ["A) sky", "(b) sea", "C. A. Milne"]).endswith("\n\nA) sky\nB) sea\nC) A. Milne")


@pytest.mark.parametrize(
    "question",
    [
        "Which one?\nA) Paris\nB) New York\nC) 3.5",
        "Which one? (A) Paris (B) New York (C) 3.5",
        "Which one?\nA. paris\nB. New  York\nC. 3.5\nAnswer:",
        "Which one?\nA: Paris\nB: New York\nC: 3.5",
        "A) is a letter. Which one? [A] Paris [B] New York [C] 3.5",
        r"Which? $\textbf{(A)}\ Paris \qquad \textbf{(B)}\ New York \qquad \textbf{(C)}\ 3.5$",
        "Which one?\nA Paris\nB New York\nC 3.5",
    ],
)
def test_a_question_that_holds_its_options_is_left_alone(question: str) -> None:
    assert has_options(question, CHOICES)
    assert show_options(question, CHOICES) == question


@pytest.mark.parametrize(
    "question",
    [
        "Which of Paris, New York and 3.5?",
        "A) Paris B) New York. Which?",
        "Which one?\n1) Paris\n2) New York\n3) 3.5",
        "Which one?\nA) New York\nB) Paris\nC) 3.5",
        "Which one?\n- Paris\n- New York\n- 3.5",
        "Which one?\nA) Paris\nB) New York\nC) 4.5",
    ],
)
def test_a_question_that_names_them_otherwise_is_not(question: str) -> None:
    assert not has_options(question, CHOICES)


def test_choices_that_are_only_letters_have_nothing_to_show() -> None:
    assert show_options("Which? A) x B) y", ["A", "B"]) == "Which? A) x B) y"
