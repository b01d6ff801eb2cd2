"""The policy of docs/concepts/verification.md, one row each. Where the fast path decides, the slow one must agree."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillery.errors import UserError
from stillery.maths.quantities import parse_quantity
from stillery.records import AnswerKind
from stillery.verify import same_answer, symbolic
from stillery.verify.cleaning import clean
from stillery.verify.compare import compare, infer_kind

# predicted, gold, same
NUMBERS = [
    ("17", "17", True),
    ("17.", "17", True),
    ("**17**", "17", True),
    ("$17$", "17", True),
    (r"\(17\)", "17", True),
    ("(17)", "17", True),
    ("１７", "17", True),
    ("−4", "-4", True),
    ("007", "7", True),
    ("-0", "0", True),
    ("71", "17", False),
    ("1,234", "1234", True),
    ("1 234 567", "1234567", True),
    ("10{,}000", "10,000", True),
    ("1.50", "1.5", True),
    ("0.5", "1/2", True),
    (r"\frac12", "0.5", True),
    (r"\dfrac{2}{4}", r"\frac{1}{2}", True),
    (r"-\frac{1}{2}", r"\frac{-1}{2}", True),
    ("1 1/4", "1.25", True),
    (r"1\frac{1}{4}", "5/4", True),
    ("3½", "3.5", True),
    (r"0.\overline{3}", "1/3", True),
    ("1:2", "1/2", True),
    # A decimal is exactly itself: nothing is rounded.
    ("0.33", "1/3", False),
    ("0.3333333333", "1/3", False),
    ("13.184", "13.18", False),
    ("1.414213562373095", r"\sqrt{2}", False),
    ("0.1234567890123456789", "0.1234567890123456788", False),
    ("1e-7", "2e-7", False),
    # A percent sign on one side only may be read either way.
    ("10%", "10", True),
    ("10", r"10\%", True),
    ("10 percent", "0.1", True),
    ("10%", "0.1%", False),
    ("10", "0.1", False),
    ("1000%", "10%", False),
    # A unit may be missing or unknown; two known ones must be the same. None is converted.
    ("18 dollars", "18", True),
    (r"\$18.00", "18", True),
    ("18", "$18", True),
    ("2.50 dollars", "$2.5", True),
    ("90", r"90^\circ", True),
    ("90 degrees", "90°", True),
    ("18 duck eggs per day", "18", True),
    (r"5\text{ cm}^2", "5", True),
    ("5 cm", "5 m", False),
    ("50 cents", "$0.50", False),
    ("4t", "4", False),
    ("7m", "7", False),
    ("12 or more", "12", False),
    ("17 of 20", "17", False),
    ("5 million", "5000000", True),
    ("3,5", "3.5", False),
    ("1e5", "100000", True),
    (r"5 \times 10^{3}", "5000", True),
    (r"6.29\cdot10^6", "6290000", True),
    # An equation names its right-hand side, where the gold answer is no equation.
    ("x = 17", "17", True),
    ("12 + 5 = 17", "17", True),
    ("17 or 18", "17", False),
    ("I don't know", "17", False),
    ("seventeen", "17", False),
    ("", "17", False),
    ("1\x007", "17", False),
    ("\u202e71", "17", False),
]
EXPRESSIONS = [
    (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}", True),
    ("sqrt(2)/2", r"\frac{\sqrt 2}{2}", True),
    ("3√13", r"3\sqrt{13}", True),
    (r"\sqrt{117} = 3\sqrt{13}", r"3\sqrt{13}", True),
    ("π/2", r"\frac{\pi}{2}", True),
    (r"9\pi \text{ square inches}", r"9\pi", True),
    ("(x-1)(x+1)", "x^2-1", True),
    ("x²+1", "1+x^2", True),
    ("x^3", "x^2", False),
    ("q - p", "p - q", False),
    ("5", "x = 5", True),
    ("y = 5", "x = 5", False),
    ("y = 1 + 2x", "y = 2x + 1", True),
    ("17", "12 + 5 = 17", False),
    # The order of a tuple matters, the brackets of an interval too; outer brackets may be missing.
    (r"\left(3, \dfrac{\pi}{2}\right)", r"\left( 3, \frac{\pi}{2} \right)", True),
    ("1, 2", "(1,2)", True),
    ("(x,y) = (1,2)", "(1,2)", True),
    ("(2,1)", "(1,2)", False),
    ("(5,3)", "(2,1)", False),
    (r"\{1,2\}", "(1,2)", False),
    ("(1,2)", "[1,2)", False),
    (r"(-\infty, 3)", r"(-\infty, 3]", False),
    (r"x \le 3", r"(-\infty, 3]", True),
    (r"(3,\infty)\cup(-\infty,-2)", r"(-\infty,-2)\cup(3,\infty)", True),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", True),
    (r"\begin{pmatrix}2\\1\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}", False),
]
SETS = [
    ("2, 1", r"\{1,2\}", True),
    ("1 and 2", "2, 1", True),
    ("{1,2,2}", "1, 2", True),
    ("1, 2, 3", "1, 2", False),
    (r"\pm 3", "-3, 3", True),
    ("1,000, 2,000", "2000, 1000", True),
    ("(1,2), (3,4)", "(3,4), (1,2)", True),
    ("(2,1), (3,4)", "(3,4), (1,2)", False),
    (r"\frac{1}{\sqrt{2}}, 1", r"1, \frac{\sqrt{2}}{2}", True),
    ("blue, red", "red, blue", True),
    ("der, blue", "red, blue", False),
]
CHOICES = [
    ("B", "B", True),
    ("(b)", "B", True),
    ("B.", "B", True),
    ("B) Paris", "B", True),
    ("option B", "B", True),
    ("The correct answer is B", "B", True),
    ("C", "B", False),
    ("BC", "B", False),
]
STRINGS = [
    ("evelyn.", r"\text{Evelyn}", True),
    ('"Evelyn"', "Evelyn", True),
    ("New  York", "new york", True),
    ("lisnet", "silent", False),
    ("silent", "tinsel", False),
    ("4:30 \\text{ p.m.}", "4:30pm", True),
    ("4:30 am", "4:30 pm", False),
    ("the coin", "coin", False),
]
YES_NO = [
    ("Yes, it is.", "yes", True),
    ("True", "yes", True),
    ("no", "yes", False),
    ("yes and no", "yes", False),
    ("perhaps", "no", False),
]
DATES = [
    ("21 March", "March 21", True),
    ("the 21st of March, 2024", "2024-03-21", True),
    ("03/21/2024", "2024-03-21", True),
    ("Thursday, March 21, 2024", "2024-03-21", True),
    # Month first, unless it cannot be.
    ("03/04/2024", "4 March 2024", True),
    ("03/04/2024", "3 April 2024", False),
    ("21/03/2024", "2024-03-21", True),
    ("3/21/24", "2024-03-21", True),
    # A year may be added, but not left out.
    ("March 21, 2024", "March 21", True),
    ("March 21", "March 21, 2024", False),
    ("February 30", "March 1", False),
]
ROWS = [
    (kind, *row)
    for kind, rows in {
        "number": NUMBERS,
        "expression": EXPRESSIONS,
        "set": SETS,
        "choice": CHOICES,
        "string": STRINGS,
        "yes_no": YES_NO,
        "date": DATES,
    }.items()
    for row in rows
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "predicted", "gold", "same"), ROWS)
def test_policy(kind: str, predicted: str, gold: str, same: bool) -> None:
    assert same_answer(predicted, gold, answer_kind=kind) is same


@pytest.mark.parametrize(("kind", "predicted", "gold", "same"), ROWS)
def test_auto_decides_alike(kind: str, predicted: str, gold: str, same: bool) -> None:
    assert same_answer(predicted, gold) is same, f"{kind} was taken for {infer_kind(gold)}"


@pytest.mark.parametrize(("kind", "predicted", "gold", "same"), ROWS)
def test_the_cheap_way_never_disagrees_with_computer_algebra(kind: str, predicted: str, gold: str, same: bool) -> None:
    fast = compare(predicted, gold, answer_kind=kind)
    slow = compare(predicted, gold, answer_kind=kind, leaf=symbolic.equal)
    assert slow is same
    assert fast in (same, None)


@pytest.mark.parametrize(
    ("predicted", "gold"),
    [("17", "17"), ("17", "18"), (r"\frac{1}{2}", "0.5"), ("0.25", r"\frac{1}{3}"), ("1234", "1,234"), ("-4", "4"),
     (r"1\frac{1}{4}", r"\frac{5}{4}"), (r"5\times 10^{3}", "5000"), ("1.50", "1.5"), (r"\frac{-1}{2}", "-0.5")],
)  # fmt: skip
def test_exact_numbers_are_what_math_verify_says(predicted: str, gold: str) -> None:
    assert compare(predicted, gold) is symbolic.equal(predicted, gold)


@settings(deadline=None)
@given(
    st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=1000),
    st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=1000),
)
def test_every_notation_of_a_number_is_that_number_and_no_other(number: Fraction, other: Fraction) -> None:
    top, bottom = number.numerator, number.denominator
    sign, size = ("-" if top < 0 else ""), abs(top)
    mixed = f"{sign}{size // bottom}\\frac{{{size % bottom}}}{{{bottom}}} cm"
    slash, inner = f"${sign}{size:,}/{bottom}$", rf"\dfrac{{{top}}}{{{bottom}}}"
    notations = [f"{top}/{bottom}", f"{sign}\\frac{{{size}}}{{{bottom}}}", inner, slash, mixed]
    for notation in notations:
        assert compare(notation, f"{top}/{bottom}") is True
        assert compare(f"{other.numerator}/{other.denominator}", notation) is (other == number)


@pytest.mark.parametrize("choice", ["B", "(B)", "b) Paris", "Paris", "paris.", "The answer is B"])
def test_a_choice_is_named_by_letter_or_text(choice: str) -> None:
    assert compare(choice, "B", choices=("London", "Paris")) is True
    assert compare(choice, "Paris", choices=("London", "Paris")) is True
    assert compare(choice, "A", choices=("London", "Paris")) is False


def test_a_letter_beside_another_choices_text_is_no_answer() -> None:
    assert compare("B) London", "B", choices=("London", "Paris")) is False


@pytest.mark.parametrize(
    ("gold", "kind"),
    [("17", "number"), ("50%", "number"), ("$5", "number"), (r"90^\circ", "number"), ("3\\sqrt{13}", "expression"),
     ("p - q", "expression"), ("4a-2", "expression"), ("(1, 2)", "expression"), ("1, 2", "set"),
     (r"\{5\}", "expression"), ("yes", "yes_no"),
     ("B", "choice"), ("Evelyn", "string"), ("no solution", "string"), ("4:30 pm", "string"),
     ("March 21", "date"), ("2024-03-21", "date"), ("x", "expression")],
)  # fmt: skip
def test_auto_infers_the_kind(gold: str, kind: str) -> None:
    assert infer_kind(gold) is AnswerKind(kind)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UserError, match="numbr"):
        same_answer("1", "1", answer_kind="numbr")


NUMERALS = st.one_of(
    st.integers(-(10**9), 10**9).map(str),
    st.decimals(-10000, 10000, places=4, allow_nan=False).map(str),
    st.integers(1000, 10**9).map("{:,}".format),
    st.builds(r"\frac{{{}}}{{{}}}".format, st.integers(-99, 99), st.integers(1, 99)),
    st.builds(r"{} \times 10^{{{}}}".format, st.integers(1, 99), st.integers(-6, 6)),
    st.builds(r"{}\frac{{{}}}{{{}}}".format, st.integers(1, 99), st.integers(1, 9), st.integers(10, 20)),
    st.builds("{}/{}".format, st.integers(0, 99), st.integers(1, 99)),
)


@settings(deadline=None, max_examples=60)
@given(NUMERALS, NUMERALS)
def test_exact_numbers_are_what_computer_algebra_says_they_are(predicted: str, gold: str) -> None:
    quantity = parse_quantity(clean(gold))
    assert quantity is not None
    value = f"{quantity.value.numerator}/{quantity.value.denominator}"
    for answer in (predicted, value):
        assert compare(answer, gold, answer_kind="number") is symbolic.equal(_plain(answer), _plain(gold))


def _plain(numeral: str) -> str:
    """Without thousands' commas, which Math-Verify's parser (but not its extraction) takes for a list."""
    return clean(numeral).replace(",", "")


ANSWER_PIECES = [
    *("17", "1", "2", "3/4", "2024", "x", r"\pi", r"\sqrt{2}", r"\frac", "+", "-", "/", "=", "%", r"\%", "$", " cm"),
    *("(", ")", "{", "}", r"\{", r"\}", "[", ",", ", ", " and ", r"\pm ", "< ", r"\infty", r"\cup "),
    *("yes", "no", "A", "B) ", "Paris", "Jan"),
]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.sampled_from(ANSWER_PIECES), min_size=1, max_size=6).map("".join),
    st.lists(st.sampled_from(ANSWER_PIECES), min_size=1, max_size=4).map("".join),
    st.sampled_from(["auto", "number", "expression", "set", "choice", "string", "yes_no", "date"]),
)
def test_a_verdict_without_computer_algebra_is_the_verdict_with_it(predicted: str, gold: str, kind: str) -> None:
    for answer in (predicted, gold):
        quick = compare(answer, gold, answer_kind=kind, choices=("London", "Paris"))
        whole = compare(answer, gold, answer_kind=kind, choices=("London", "Paris"), leaf=symbolic.equal)
        assert quick is None or quick is whole
