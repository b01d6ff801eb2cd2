"""Equality of two expressions: exact, numeric, and never by chance or without end."""

from fractions import Fraction

import pytest

from stillery.maths import equal, evaluate, normalize, parse
from stillery.maths.quotients import TermBudget, constant
from support.cpu_limit import soon_done


def compare(first: str, second: str) -> bool | None:
    one, two = parse(normalize(first)), parse(normalize(second))
    assert one is not None, first
    assert two is not None, second
    return equal(one, two)


SAME = [
    ("2(3)", "6"),
    (r"\frac{1}{\sqrt{3}-1}", r"\frac{\sqrt{3}+1}{2}"),
    (r"(2+i)(2-i)", "5"),
    (r"\sqrt{-4}", "2i"),
    (r"\frac{1}{1+i}", r"\frac{1-i}{2}"),
    (r"\cos 60^\circ", r"\frac12"),
    (r"\cos^2 60°", "0.25"),
    (r"\frac{\sqrt{6}-\sqrt{2}}{4}", r"\sin 15^\circ"),
    (r"e^{i\pi}", "-1"),
    (r"\sin \pi", "0"),
    (r"\sin^{-1}(1)", r"\frac{\pi}{2}"),
    (r"\sin 2x", r"2\sin x\cos x"),
    (r"\sqrt{3+2\sqrt2}", r"1+\sqrt2"),
    (r"\sqrt[3]{-8}", "-2"),
    (r"\sqrt{x^2}", "|x|"),
    ("|x-1|", "|1-x|"),
    ("f(x+1)", "f(1+x)"),
    (r"\log_2 8", "3"),
    (r"\log 100", "2"),
    (r"\binom{5}{2}", "5!/12"),
    ("0.(3)", r"0.\overline{3}"),
    (r"0.1\overline{6}", "1/6"),
    ("x₁+x₂", "x_2+x_{1}"),
    ("½+¼", "0.75"),
    ("1,234x", "1234x"),
    ("2^{1000000}", "2^{999999}+2^{999999}"),
]
DIFFERENT = [
    ("10^{-400}", "10^{-401}"),
    ("1/2^{200}", "1/2^{202}"),
    ("e^{-200}", "e^{-300}"),
    ("2^{1000000}", "2^{1000001}"),
    (r"\sin 10^\circ", r"\sin 10"),
    ("f'(2)", "f(2)"),
    ("f''(2)", "f'(2)"),
    ("y'", "y"),
    ("x_1", "x_2"),
    ("12_5+1", "12_7+1"),
    (r"\sqrt{x^2}", "x"),
    (r"\frac{22}{7}", r"\pi"),
    ("1.41421356237309504880168872420969807856967187537694", r"\sqrt{2}"),
    ("(2+i)(2-i)", "3"),
    ("0.(3)", "0.333"),
    ("2^x", "x^2"),
]
UNREAD = [
    *("", "abc", "2 3", "3 apples", "1..2", "(x", "x)", "1,2", "x = 1", "1/2x", r"\sin 2\pi/3", r"\pm 3", "2^3^2"),
    *("[1,2)", "--1", "x % 2", r"\int x", "5 +", "(" * 60 + "1" + ")" * 60),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_equal(first: str, second: str) -> None:
    assert compare(first, second) is True
    assert compare(second, first) is True


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_not_equal(first: str, second: str) -> None:
    assert compare(first, second) is False
    assert compare(second, first) is False


@pytest.mark.parametrize("text", UNREAD)
def test_what_is_ambiguous_or_unknown_is_not_read(text: str) -> None:
    assert parse(normalize(text)) is None


HOSTILE = [
    *("9^{9^{9^9}}", "10^{10^{10}}", "e^{e^{e^{e^{9}}}}", "((10!)!)!", r"\sin 10^{10^{9}}", "(x+y+a+b+1)^9"),
    *("((((x+1)^9)^9)^9)^9", "(x+1)" * 60, r"\tan(9^{9^9})", "(9^{64})" * 50, r"\sqrt{999983}+" * 20 + "1"),
    "+".join(f"\\sqrt{{{n}}}" for n in range(2, 30)),
    "+".join(f"\\sin {n}" for n in range(2, 90)),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_expressions_are_cheap(text: str) -> None:
    compare("e^x", "e")  # Imports what only such comparisons need.
    with soon_done():
        compare(text, "(x+1)(y+1)")
        compare(text, "17")


def test_exact_values_are_computed_with() -> None:
    parsed = parse(r"\frac{x^2-1}{x-1}")
    assert parsed is not None
    value = evaluate(parsed)
    assert value is not None
    assert value.names() == {"x"}
    assert TermBudget().substitute(value, {"x": constant(Fraction(3))}).rational() == 4
