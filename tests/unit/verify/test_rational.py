"""Exact arithmetic on expressions: what it decides, what it leaves alone, and that it is what computer algebra says."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillery.verify import rational, symbolic


@pytest.mark.parametrize(
    ("predicted", "gold", "same"),
    [
        (r"\sqrt{34} + 3\sqrt{10}", "28", False),
        (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt 2}", True),
        (r"\frac{1}{\sqrt{3}-1}", r"\frac{\sqrt{3}+1}{2}", True),
        (r"\sqrt{\frac{2}{3}}", r"\frac{\sqrt6}{3}", True),
        (r"\sqrt{2}\cdot\sqrt{6}", r"2\sqrt{3}", True),
        (r"\sqrt{2}+\sqrt{3}", r"\sqrt{5}", False),
        ("sqrt(12)", r"2\sqrt{3}", True),
        ("(x-1)(x+1)", "x^2-1", True),
        (r"\frac{x^2-1}{x-1}", "x+1", True),
        (r"\frac{x+1}{2}", r"0.5x + \frac12", True),
        ("xy", "yx", True),
        ("q - p", "p - q", False),
        (r"7\pi", r"\pi \times 7", True),
        (r"\frac{22}{7}", r"\pi", False),
        (r"1\frac{1}{4}", "1.25", True),
        (r"1\frac{1}{4}+x", r"x + 1.25", True),
        (r"2\frac12", "2.5", True),
        ("2(3)", "6", True),
        ("(2)(3)", "5", False),
        ("x", "0 + x", True),
        ("-x^2", "(-x)^2", False),
        ("2^{-3}", r"\frac{1}{8}", True),
        ("x^0", "1", True),
        ("0x", "0", True),
    ],
)
def test_it_decides_what_is_exact_arithmetic(predicted: str, gold: str, same: bool) -> None:
    assert rational.equal(predicted, gold) is same
    assert symbolic.equal(predicted, gold) is same


LEFT_ALONE = [
    *("", "e", "i", "2i", "z", "abc", "2 3", "x2", "3 apples", "x_1", "1..2", "٣", "½", "(x", "x)", "1,2", "x = 1"),
    *(r"\sin x", "f(x)", "x(x+1)", "|x|", "5!", "x%", r"\pm 3", "x < 3", "1/2x", "1/0", r"\frac{1}{x-x}"),
    *("2^x", "2^3^2", "2^{1/2}", "2^{99}", "9^{9^{9}}", "(x+y+1)^{60}"),
    *(r"\sqrt{x}", r"\sqrt{-1}", r"\sqrt[3]{8}", r"\sqrt12", r"\sqrt{12345678901}"),
    *(r"2\frac{x}{y}", r"2.5\frac{1}{2}", r"1\frac{1}{4}x", "7" * 301, "(" * 200 + "x" + ")" * 200),
]


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_it_leaves_the_rest_alone(text: str) -> None:
    assert rational.parse(text) is None
    assert rational.equal(text, text + " ") is None


HOSTILE = [
    *("(x+y+a+b+1)^9", "((((x+1)^9)^9)^9)^9", "9^{64}" * 50, "(x+1)" * 60, "(x+y+a+b)" * 33, "1+" * 149 + "1"),
    *("-" * 300, "^" * 300, "{" * 300, "(" * 100 + "1" + ")" * 100, r"\sqrt{" * 50, r"\frac" * 60),
    *(r"\frac{1}{" * 30 + "x" + "}" * 30, r"\sqrt{999983}+" * 20 + "1"),
    "+".join(f"\\sqrt{{{n}}}" for n in range(2, 30)),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_expressions_are_cheap(text: str) -> None:
    started = time.process_time()
    rational.equal(text, "(x+1)(y+1)")
    assert time.process_time() - started < 0.5


def _expressions() -> st.SearchStrategy[str]:
    atoms = st.sampled_from(
        ["0", "1", "2", "3", "12", "0.5", "x", "y", "xy", r"\pi", r"\sqrt{2}", r"\sqrt{12}", "sqrt(3)"]
    )
    return st.recursive(
        atoms,
        lambda inner: st.one_of(
            st.builds("{}+{}".format, inner, inner),
            st.builds("{}-{}".format, inner, inner),
            st.builds("-{}".format, inner),
            st.builds("({})({})".format, inner, inner),
            st.builds("{} {}".format, inner, inner),
            st.builds(r"{}\cdot {}".format, inner, inner),
            st.builds("{}/{}".format, inner, inner),
            st.builds("2({})".format, inner),
            st.builds("({})^{}".format, inner, st.sampled_from(["2", "3", "{-1}", "0"])),
            st.builds(r"\frac{{{}}}{{{}}}".format, inner, inner),
        ),
        max_leaves=5,
    )


# The same value in another form, and the next one to it.
REWRITINGS = [
    "({})",
    "0+{}",
    r"\frac{{2({})}}{{2}}",
    "1\\cdot ({})",
    "x + {} - x",
    r"\frac{{1}}{{1/({})}}",
    "({})+1",
    "3({})",
]


@settings(deadline=None, max_examples=60)
@given(_expressions(), _expressions(), st.sampled_from(REWRITINGS))
def test_whenever_it_decides_it_is_what_computer_algebra_says(first: str, second: str, rewriting: str) -> None:
    for predicted, gold in ((rewriting.format(first), first), (first, second)):
        decided = rational.equal(predicted, gold)
        assert decided is None or decided is symbolic.equal(predicted, gold), (predicted, gold)
