"""Answers are whole quantities and lists, and are not denied: both sides of each kind."""

import pytest

from stillery import grade, same_answer

COLOURS = ["red", "green", "blue"]


@pytest.mark.parametrize(
    ("text", "gold", "is_right"),
    [
        ("Therefore, the area is 48 m^2.", "48", True),
        ("Therefore, the area is 48 m^2.", "2", False),
        (r"It is $48\ \text{cm}^2$.", "48", True),
        ("That is 9.8 m/s^2.", "9.8", True),
        ("She needs 2½ cups.", "2.5", True),
        ("She needs 2½ cups.", "2", False),
        ("<answer>2½ cups</answer>", "2.5", True),
        ("It is 3 × 10^5 km.", "300000", True),
        ("It is 3 × 10^5 km.", "5", False),
        ("It is 2.5e3 g.", "2500", True),
        ("It is 2.5e3 g.", "3", False),
        ("About 1.5 million people.", "1500000", True),
        ("<answer>1.5 million people</answer>", "1500000", True),
        (r"We get \sqrt{16}.", "16", False),
        ("It is 2^{10}.", "10", False),
        (r"It is 0.\overline{3}.", "1/3", True),
        ("It is 12'345.", "12345", True),
        ("It is 5 hundredths.", "0.05", True),
        ("There are 5 third graders.", "5", True),
        ("It is 3π.", "3", False),
        ("The point is (1, 2).", "2", False),
        ("The cost (in dollars) is 5.", "5", True),
        ("So $x > 5$.", "5", False),
        ("So => 5", "5", True),
    ],
)
def test_a_number_in_prose_is_a_whole_quantity(text: str, gold: str, is_right: bool) -> None:
    assert (grade(text, answer=gold).verdict == "correct") is is_right


@pytest.mark.parametrize(
    ("text", "gold", "is_right"),
    [
        ("The roots are $1$ and $2$.", "1,2", True),
        ("The roots are $1$ and $2$.", "2", False),
        ("So $x=1$ or $x=2$.", "1,2", True),
        (r"So \(x=1\) and \(x=2\).", "1,2", True),
        ("They are $1$, $2$, and $3$.", "1,2,3", True),
        ("So $3$ or $7$.", "7", False),
        ("It is $x+1$ or $x+2$.", "x+2", False),
        ("From $x+1$ we get $x+2$.", "x+2", True),
    ],
)
def test_formulas_of_one_list_are_one_answer(text: str, gold: str, is_right: bool) -> None:
    assert (grade(text, answer=gold).verdict == "correct") is is_right


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        (r"\boxed{\text{Answer: }5}", "5"),
        (r"\boxed{\text{The answer is } 5}", "5"),
        (r"\boxed{\textbf{Answer: }\frac12}", "1/2"),
        (r"\boxed{\mathbf{Answer:}\ 5}", "5"),
        (r"<answer>\text{Answer: }5</answer>", "5"),
        (r"\boxed{\boxed{1}+\frac{1}{2}}", "3/2"),
        (r"\boxed{\boxed{5}}", "5"),
        ("是的", "yes"),
        ("Sí", "yes"),
        ("否", "no"),
    ],
)
def test_announcements_in_a_font_nested_boxes_and_bare_replies_are_read(text: str, gold: str) -> None:
    assert grade(text, answer=gold).verdict == "correct"


@pytest.mark.parametrize(
    ("text", "gold", "is_right"),
    [
        ("The answer is not C.", "C", False),
        ("The answer is either A or B.", "B", False),
        ("Option C is incorrect.", "C", False),
        ("We rule out C.", "C", False),
        ("<answer>not blue</answer>", "C", False),
        ("<answer>either A or C</answer>", "C", False),
        ("It is C because A and B are wrong.", "C", True),
        ("It is blue.", "C", True),
        ("B is correct because A is too small.", "B", True),
    ],
)
def test_a_choice_that_is_denied_or_one_of_several_is_no_answer(text: str, gold: str, is_right: bool) -> None:
    assert (grade(text, answer=gold, choices=COLOURS).verdict == "correct") is is_right


@pytest.mark.parametrize(
    ("text", "gold", "kind"),
    [
        ("It was not March 5.", "March 5", "date"),
        ("It cannot be true.", "yes", "yes_no"),
        ("I do not think it is true.", "yes", "yes_no"),
        ("It is far from true.", "yes", "yes_no"),
    ],
)
def test_a_date_or_a_reply_that_is_denied_is_no_answer(text: str, gold: str, kind: str) -> None:
    assert grade(text, answer=gold, answer_kind=kind).verdict in ("wrong", "unparsed")


@pytest.mark.parametrize(
    ("predicted", "gold", "same"),
    [
        ("$5", "5%", False),
        ("50 cm", "50%", False),
        ("20 degrees", "20 percent", False),
        ("5%", "5", True),
        ("0.05", "5%", True),
        (r"A = 25\pi \approx 78.5", r"25\pi", True),
        (r"x = \frac13 \approx 0.33", "1/3", True),
        (r"x=\frac13\approx0.33", "x=1/3", True),
        (r"2\sqrt3", r"x=2\sqrt3\approx3.46", True),
        (r"A = 25\pi \approx 78.5", "78.5", True),
        (r"x = 5 \approx 6", "7", False),
        (r"2\frac12\pi", r"2.5\pi", True),
        (r"2\frac12\pi", r"\pi", False),
        (r"3\frac12 x", "1.5x", False),
        (r"y=2\frac12x+1", "y=x+1", False),
        ("5 hundredths", "0.05", True),
        ("2 thirds", "2/3", True),
        ("5 hundredths", "5", False),
        ("5 tenth graders", "5", True),
        ("3 fifth-grade students", "3", True),
        ("5 lakh", "500000", True),
        ("5 dozen", "5", False),
        ("5 degrees below zero", "5", False),
        ("5 negative", "5", False),
        ("5 doubled", "5", False),
        ("5 apples", "5", True),
        ("2^3^2", "64", False),
        (r"\frac{dy}{dx}", "y/x", False),
        (r"5\ldots", "5", False),
        (r"\not= 5", "5", False),
        (r"\int x dx", "x^2/2", False),
    ],
)
def test_units_approximations_mixed_numbers_and_what_is_ambiguous(predicted: str, gold: str, same: bool) -> None:
    assert same_answer(predicted, gold) is same
