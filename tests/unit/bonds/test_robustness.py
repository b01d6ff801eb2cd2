"""No text of a model makes the analysis raise, hang or lose a character, and its time is linear."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillery.bonds import analyze
from support.cpu_limit import soon_done
from support.shared_data import shared_data

MIXED = st.text(alphabet=st.sampled_from("abx 123+-*/=^().,:;?!\n\\{}$%<>|_有3对≈√²½\0\u202e\ud800"), max_size=120)
LARGE = 200_000


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(MIXED, MIXED)
def test_no_text_raises_and_the_atoms_are_the_text(text: str, question: str) -> None:
    molecule = analyze(text, question=question, answer="3")
    assert "".join(atom.text for atom in molecule.atoms) == text
    ends = [0, *(atom.end for atom in molecule.atoms)]
    assert [atom.start for atom in molecule.atoms] == ends[:-1]
    for atom in molecule.atoms:
        assert all(atom.start <= claim.start <= claim.end <= atom.end for claim in atom.claims)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "",
        "(" * LARGE,
        "[{(" * (LARGE // 3),
        "9**9**9**9 = 1\n" * 2000,
        "a\0b = \0 3\n" * 5000,
        r"\frac{" * (LARGE // 6),
        "מספר 3 + 4 = 7 \u202e 5 + 5 = 10\n" * 2000,
        " " * LARGE,
        "a" + " " * LARGE + "b",
        "\n" * LARGE,
        "=" * LARGE,
        "= 1 " * (LARGE // 4),
        "7" * LARGE + " = 1",
        "$" * LARGE,
        r"\boxed{" * (LARGE // 7),
        "<answer>" * (LARGE // 8),
        "<think>" * (LARGE // 7),
        "```\n" * (LARGE // 4),
        r"\begin{align}" * (LARGE // 13),
        "wait, " * (LARGE // 6),
        "-" * LARGE + "1 = 2",
        "1," * (LARGE // 2),
        "not " * (LARGE // 4),
        "(a+b+c+d+e)^30 = 1\n" * 500,
        "\ud800 = 3",
        "1/0 = 3. 0/0 = 1. 0^-1 = 2. 1e400 = 2",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_hostile_text_is_soon_done(text: str) -> None:
    with soon_done():
        molecule = analyze(text, question=text[:5000], answer=text[:100])
    assert "".join(atom.text for atom in molecule.atoms) == text


def test_time_is_linear_up_to_32k_tokens() -> None:
    rows = shared_data("trace_topology/math500_deepseek_r1.jsonl").read_text().splitlines()
    trace = max((json.loads(line)["reasoning_trace"] for line in rows), key=len)

    def seconds(num_chars: int) -> float:
        text = (trace * (num_chars // len(trace) + 1))[:num_chars]
        start = time.process_time()
        analyze(text)
        return time.process_time() - start

    seconds(8_000)
    # Four characters a token: 4k and 32k tokens.
    # Linear would be 8 times, quadratic 64.
    assert seconds(128_000) < 8 * 4 * seconds(16_000) + 0.1
