"""Attempts of a trace to look stable: each is worth at most its honest twin, and errors cost."""

import re

import pytest

from stillery.bonds import analyze

QUESTION = "Tom has 14 apples and buys 25 more. He doubles them, then gives 13 away. How many apples does he have?"
LINES = (
    "He has 14 + 25 = 39 apples.\n",
    "He doubles them: 39 * 2 = 78 apples.\n",
    "He gives 13 away: 78 - 13 = 65 apples.\n",
    "The answer is 65.\n",
)
HONEST = "".join(LINES)
EQUATION = "Solve for m: 4*m + 7 = 31."
SOLVED = (
    "start: 4 * m + 7 = 31\n4 * m = 31 - 7 = 24\nm = 24 / 4 = 6\n"
    "check: 4 * 6 + 7 = 24 + 7 = 31, had 31, ok\n<answer>6</answer>"
)
ASKED = pytest.mark.parametrize("question", [QUESTION, None])


def stability(text: str, question: str | None) -> float:
    return analyze(text, question=question, markers=False).stability


def insert(*lines: str, at: int = 3) -> str:
    return "".join([*LINES[:at], *(f"{line}\n" for line in lines), *LINES[at:]])


@ASKED
@pytest.mark.parametrize(
    "lines",
    [
        ["Wait. Hmm, let me double-check. Okay.", "Actually, wait, maybe. Let me verify."],
        ["check: 65 = 65, had 65, ok"],
        ["check: 1 = 1, ok", "check: 0 + 1 = 1, had 1, ok"],
        ["check: 65 + 0 = 65, had 65, ok"],
        ["check: 65 * 1 = 65, had 65, ok"],
        ["check: 60 + 5 = 65, had 65, ok"],
        ["Another way: 13 * 5 = 65, which agrees."],
        ["check: (14 + 25) * 2 - 13 = 65, had 65, ok"],
        ["check: 78 - 13 = 65, had 65, ok"],
        ["check: 6 * 9 = 54, had 54, ok"],
        ["Let me verify: 6 * 9 = 54. Yes, it holds."],
        ["17 + 18 = 35", "check: 35 - 18 = 17, had 17, ok"],
        ["65 + 17 = 82", "82 - 17 = 65"],
        ["By the lemma of sums, 78 ⊕ 13 is consistent with 65, as verified."],
        [r"\int_0^{65} \mathrm{d}\mu(78) \models 13, which verifies 65."],
        [f"{n} + 100 = {n + 100}." for n in range(301, 340)],
        ["The number of apples is 65.", "So 65 apples are left.", "That makes 65."],
        ["check: 30 + 9 = 39, had 39, ok"],
        ["check: 80 - 41 = 39, had 39, ok", "check: 39 + 39 = 78, had 78, ok"],
        ["check: (14 + 25) * 2 = 78, had 78, ok"],
        ["check: 156 / 2 = 78, had 78, ok"],
        ["20 * 3 = 60.", "2 + 3 = 5.", "60 + 5 = 65."],
        ["65 * 78 = 5070", "5070 / 78 = 65"],
        ["65, had 65, ok", "65, expected 65, ok"],
        ["14 + 25 + 39 - 13 = 65."],
    ],
)
def test_what_proves_nothing_pays_nothing(lines: list[str], question: str | None) -> None:
    assert stability(insert(*lines), question) <= stability(HONEST, question)


@ASKED
@pytest.mark.parametrize(
    "again",
    [
        "check: 65 + 13 = 78, had 78, ok",
        "check: 13 + 65 = 78, had 78, ok",
        "Indeed 78 is what 65 and 13 make: 65 + 13 = 78.",
        "65 plus 13 equals 78, once more.",
    ],
)
def test_the_same_check_in_other_words_pays_once(again: str, question: str | None) -> None:
    once = insert("check: 65 + 13 = 78, had 78, ok")
    assert stability(once, question) > stability(HONEST, question)
    assert stability(insert("check: 65 + 13 = 78, had 78, ok", again), question) <= stability(once, question)


@ASKED
@pytest.mark.parametrize(
    "wrong",
    [
        "check: 65 + 13 = 79, had 79, ok",
        "check: 65 + 13 = 78, had 79, ok",
        "check: 65 + 13 = 78, had 78, no",
        "maybe 65 + 13 = 70 + 8 = 79, had 78, no",
        "check: 6 * 9 = 54, had 54, ok",
        "maybe twice 20: 20 * 2 = 50",
    ],
)
def test_what_is_wrong_costs_wherever_it_stands(wrong: str, question: str | None) -> None:
    assert stability(insert(wrong), question) < stability(HONEST, question)


@pytest.mark.parametrize(
    ("line", "least"),
    [
        ("maybe m = 2: 4 * 2 + 7 = 24 + 7 = 31, had 31, no", 0.3),
        ("maybe m = 2: 4 * 2 + 7 = 8 + 7 = 15, had 31, ok", 0.3),
        ("check: 6 * 9 = 54, had 54, ok", 0.1),
    ],
)
def test_a_try_that_is_wrong_in_itself_costs(line: str, least: float) -> None:
    first, rest = SOLVED.split("\n", 1)
    assert stability(f"{first}\n{line}\n{rest}", EQUATION) <= stability(SOLVED, EQUATION) - least


def test_an_honest_try_that_fails_costs_little() -> None:
    first, rest = SOLVED.split("\n", 1)
    tried = analyze(
        f"{first}\nmaybe m = 2: 4 * 2 + 7 = 8 + 7 = 15, had 31, no\n{rest}", question=EQUATION, markers=False
    )
    assert tried.conflict == 0
    assert stability(SOLVED, EQUATION) - 0.2 < tried.stability <= stability(SOLVED, EQUATION)


@ASKED
@pytest.mark.parametrize("at", [0, 1, 2])
def test_planted_errors_never_pay(at: int, question: str | None) -> None:
    value = re.findall(r"= (\d+)", LINES[at])[0]
    wrong = LINES[at].replace(f"= {value}", f"= {int(value) + 1}")
    for mend in (f"Wait, no: {LINES[at]}", f"That is wrong. {LINES[at]}", f"Not {int(value) + 1}: {LINES[at]}"):
        assert stability("".join([*LINES[:at], wrong, mend, *LINES[at + 1 :]]), question) <= stability(HONEST, question)
    checked = insert("check: 65 + 13 = 78, had 78, ok")
    planted = checked.replace(LINES[at], f"{wrong}wait, redo: {LINES[at]}")
    assert stability(planted, question) <= stability(checked, question)


def test_a_check_in_another_equation_is_no_check_of_the_solution() -> None:
    bare = SOLVED.replace("check: 4 * 6 + 7 = 24 + 7 = 31, had 31, ok\n", "")
    checked = stability(SOLVED, EQUATION)
    assert stability(bare, EQUATION) < checked
    for other in ("5 * 6 + 1 = 31", "4 * 5 + 11 = 31", "30 + 1 = 31"):
        line = f"check: {other}, had 31, ok\n"
        assert stability(bare.replace("<answer>", f"{line}<answer>"), EQUATION) <= stability(bare, EQUATION), other
        assert stability(SOLVED.replace("<answer>", f"{line}<answer>"), EQUATION) <= checked, other


def test_one_check_confirms_no_two_steps() -> None:
    once = insert("65 + 13 = 78")
    assert stability(insert("Let x = 65. x = 65. x + 13 = 78. 65 + 13 = 78."), None) <= stability(once, None)


@ASKED
def test_marker_spam_changes_nothing(question: str | None) -> None:
    spammed = "".join(f"Wait, let me check. Hmm. {line}" for line in LINES)
    assert stability(spammed, question) == stability(HONEST, question)


def test_an_answer_without_reasoning_is_below_a_derived_one() -> None:
    for bare in (
        "The answer is 65.\n",
        "Everything was verified twice. The answer is 65.\n",
        "65 = 65. The answer is 65.\n",
    ):
        assert stability(bare, QUESTION) < stability(HONEST, QUESTION) - 0.3


def test_numbers_from_nowhere_cost_where_the_question_is_known() -> None:
    invented = "He has 41 + 37 = 78 apples.\nHe gives 13 away: 78 - 13 = 65 apples.\nThe answer is 65.\n"
    assert stability(invented, QUESTION) < stability(HONEST, QUESTION) - 0.1
    asked = "The black bag holds 40 pens. The white bag holds 28 pens. How many do both hold?"
    right = "black = 40\nwhite = 28\n40 + 28 = 68\nThe answer is 68.\n"
    assert stability(right.replace("black = 40\nwhite = 28", "black = 28\nwhite = 40"), asked) < stability(right, asked)


def test_an_answer_that_is_anothers_state_costs() -> None:
    question = "Ann has the cup, Bob has the ball. Ann and Bob swap. What does Ann have now? Choices: ball, cup."
    trace = "start: Ann cup, Bob ball\nswap Ann, Bob: Ann ball, Bob cup\n<answer>{}</answer>"
    assert stability(trace.format("cup"), question) < stability(trace.format("ball"), question) - 0.3
    coin = "start heads\nthen Finn flips: tails\n<answer>{}</answer>"
    asked = "A coin is heads up. Finn flips it. Is the coin still heads up?"
    assert stability(coin.format("yes"), asked) < stability(coin.format("no"), asked) - 0.3
