"""The decisions of our own mathematics equal those of computer algebra, wherever both can read the text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillery.maths import equal, parse
from stillery.verify import symbolic


def _expressions() -> st.SearchStrategy[str]:
    atoms = st.sampled_from(
        ["0", "1", "2", "3", "12", "0.5", "x", "y", "xy", r"\pi", r"\sqrt{2}", r"\sqrt{12}", "sqrt(3)"]
    )
    return st.recursive(
        atoms,
        lambda inner: st.one_of(
            st.builds("{}+{}".format, inner, inner),
            st.builds("{}-{}".format, inner, inner),
            st.builds("({})({})".format, inner, inner),
            st.builds(r"{}\cdot {}".format, inner, inner),
            st.builds("2({})".format, inner),
            st.builds("({})^{}".format, inner, st.sampled_from(["2", "3", "{-1}", "0"])),
            st.builds(r"\frac{{{}}}{{{}}}".format, inner, inner),
        ),
        max_leaves=5,
    )


# The same value in another form, and the next one to it.
REWRITINGS = ["({})", "0+{}", r"\frac{{2({})}}{{2}}", "x + {} - x", r"\frac{{1}}{{1/({})}}", "({})+1", "3({})"]


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(_expressions(), _expressions(), st.sampled_from(REWRITINGS))
def test_rational_functions(first: str, second: str, rewriting: str) -> None:
    for predicted, gold in ((rewriting.format(first), first), (first, second)):
        one, two = parse(predicted), parse(gold)
        decided = None if one is None or two is None else equal(one, two)
        assert decided is None or decided is symbolic.equal(predicted, gold), (predicted, gold)


@pytest.mark.parametrize(
    ("first", "second"),
    [(r"\sin^2 x + \cos^2 x", "1"), (r"\sin 2x", r"2\sin x\cos x"), (r"\ln 4", r"2\ln 2"), (r"\log_3 9", "2"),
     (r"\cos 60^\circ", "0.5"), (r"\sin 10^\circ", r"\sin 10"), ("e^{2x}", "(e^x)^2"), ("2^{x+1}", r"2\cdot 2^x"),
     (r"\sqrt[3]{16}", r"2\sqrt[3]{2}"), ("|x-1|", "|1-x|"), ("x!", "x"), (r"\tan x", r"\sin x"),
     ("10^{-400}", "10^{-401}"), ("e^{-200}", "e^{-300}"), (r"\sqrt{x^2}", "x"), ("x_1", "x_2")],
)  # fmt: skip
def test_functions(first: str, second: str) -> None:
    one, two = parse(first), parse(second)
    assert one is not None
    assert two is not None
    assert equal(one, two) is symbolic.equal(first, second)
