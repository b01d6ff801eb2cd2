"""The position of the final answer in a completion."""

import pytest

from stillery.records import AnswerKind
from stillery.verify.boxes import last_boxed
from stillery.verify.extract import extract_answer
from stillery.verify.template import parse_template
from support.cpu_limit import soon_done


def extract(completion: str, kind: str, choices: tuple[str, ...] = (), is_cut: bool = False) -> str | None:
    return extract_answer(parse_template(completion), kind=AnswerKind(kind), choices=choices, is_cut=is_cut)


@pytest.mark.parametrize(
    ("completion", "kind", "expected"),
    [
        ("<think>3</think><answer>17</answer>", "number", "17"),
        (r"<answer>\boxed{\frac{1}{2}}</answer>", "number", r"\frac{1}{2}"),
        ("<answer>The answer is 17.</answer>", "number", "17"),
        ("<answer>She makes 18 dollars every day</answer>", "number", "18"),
        ("<answer>between 3 and 17</answer>", "number", "between 3 and 17"),
        ("<answer>12 + 5 = 17</answer>", "number", "12 + 5 = 17"),
        ("<answer></answer>", "number", None),
        ("<think>17</think>", "number", None),
        ("<think>17 and on", "number", None),
        (r"first \boxed{1}, then \boxed{\frac{1}{\sqrt{2}}}.", "expression", r"\frac{1}{\sqrt{2}}"),
        (r"\boxed{3} though the answer is 4", "number", "3"),
        (r"\boxed{\boxed{5}}", "number", "5"),
        (r"\boxed{5", "number", "5"),
        ("5 + 6 = 11\n#### 11", "number", "11"),
        ("33.333...% are 33\n#### 33", "number", "33"),
        ("$96 - $24 = $<<96-24=72>>72\n#### 72", "number", "72"),
        ("#### Step 1\nthe answer is 12.", "number", "12"),
        ("The answer is 3. Wait. The answer is 1,234 eggs.", "number", "1,234 eggs"),
        ("**Answer:** 42", "number", "42"),
        ("The answer is correct because 3 + 4 = 7", "number", "7"),
        ("So he has 3 apples, then 5 - 2 = 3, and 16 in all", "number", "16"),
        ("It costs $1,250.50 in total", "number", "$1,250.50"),
        ("It fell to -4.", "number", "-4"),
        ("no number here", "number", None),
        ("We get \\(x\\) and \\((3, \\frac{\\pi}{2})\\).", "expression", r"(3, \frac{\pi}{2})"),
        ("It is B because A is wrong. So (B).", "choice", "B"),
        ("I think so. The answer is option C", "choice", "option C"),
        ("So yes, it is heads up", "yes_no", "yes"),
        ("Today is March 21, 2024 and tomorrow is 03/22/2024.", "date", "03/22/2024"),
        ("Let me see.\nnk", "string", "nk"),
        ("So of all of them it is Evelyn who is fastest.", "string", None),
    ],
)
def test_final_answer(completion: str, kind: str, expected: str | None) -> None:
    assert extract(completion, kind) == expected


def test_a_choice_may_be_named_by_its_text() -> None:
    assert extract("It can only be Paris.", "choice", ("London", "Paris")) == "B"


@pytest.mark.parametrize(
    ("completion", "expected"),
    [("so 17", None), ("<think>a</think><answer>17", None), (r"\boxed{17} and", "17"), ("<answer>17</answer>", "17")],
)
def test_a_completion_cut_by_its_limit_has_an_answer_only_if_that_was_closed(
    completion: str, expected: str | None
) -> None:
    assert extract(completion, "number", is_cut=True) == expected


@pytest.mark.parametrize("piece", ["\\boxed{", "{", "}", "9", "$", "answer is ", "\\(", "1,", "\\frac{", "A) "])
@pytest.mark.parametrize("kind", ["number", "expression", "choice", "date"])
def test_a_megabyte_takes_linear_time(piece: str, kind: str) -> None:
    with soon_done():
        extract(piece * (1_000_000 // len(piece)), kind)


def test_boxes_are_balanced() -> None:
    assert last_boxed(r"\boxed{\{1, 2\}}") == r"\{1, 2\}"
    assert last_boxed(r"a } { \boxed{5} {") == "5"
    assert last_boxed(r"\boxed{\boxed{5}") == "5"
    assert last_boxed("no box") is None
