"""Reinforcement: which checks are inserted, each of them verifies something, and nothing else changes."""

import json
import re
from collections.abc import Sequence
from fractions import Fraction

import pytest

from stillery.bonds import analyze, reinforce
from stillery.bonds.claims.equations import find_equations
from stillery.bonds.claims.reinforcement import CheckRequest
from stillery.bonds.claims.routes import substitute_into, undo
from stillery.bonds.claims.tokens import prepare, tokenize
from stillery.records import BondKind
from support.shared_data import shared_data

STORY = (
    "Tom has 14 apples and buys 25 more, so he has 14 + 25 = 39 apples.\n"
    "He doubles them: 39 * 2 = 78 apples.\n"
    "He gives 13 away: 78 - 13 = 65 apples.\n"
    "The answer is 65.\n"
)
SOLVED = "coefficient = 7 - 5 = 2\nconstant = 11 - 5 = 6\nz = 6 / 2 = 3\n<answer>3</answer>"
EQUATION = "Solve for z: 7*z + 5 = 5*z + 11."
COIN = "start heads\nthen Nina flips: tails\nthen Bo flips: heads\n<answer>yes</answer>"


def undone(text: str) -> list[str]:
    tokens = prepare(tokenize(text))
    return [way for equation in find_equations(tokens) for way in undo(equation, tokens)]


def test_a_check_goes_in_behind_each_step_that_uses_a_result() -> None:
    made = reinforce(STORY)
    lines = made.text.splitlines()
    assert lines[2] == "Check: 78 / 2 = 39."
    assert lines[4] == "Check: 65 + 13 = 78."
    assert [line for line in lines if not line.startswith("Check")] == STORY.splitlines()
    assert (made.num_computed, made.num_written, made.unchecked) == (2, 0, [])


def test_inserted_steps_are_marked_and_verify() -> None:
    made = reinforce(STORY)
    inserted = [i for i, atom in enumerate(made.molecule.atoms) if atom.inserted]
    assert [made.text[start:end].strip() for start, end in made.inserted] == [
        made.molecule.atoms[i].text.strip() for i in inserted
    ]
    checks = {(b.source, b.target) for b in made.molecule.bonds if b.kind == BondKind.REFLECTION}
    assert {(i - 1, i) for i in inserted} <= checks
    assert made.molecule.stability > analyze(STORY, markers=False).stability
    assert made.molecule.conflict == 0


@pytest.mark.parametrize(("text", "question"), [(STORY, None), (SOLVED, EQUATION), (STORY.replace("\n", " "), None)])
def test_a_second_run_inserts_nothing(text: str, question: str | None) -> None:
    once = reinforce(text, question=question)
    again = reinforce(once.text, question=question, inserted=once.inserted)
    assert once.num_computed > 0
    assert (again.text, again.inserted, again.num_computed) == (once.text, once.inserted, 0)
    # Also where what was inserted is no longer known.
    assert reinforce(once.text, question=question).text == once.text


def test_a_solution_is_put_into_the_question() -> None:
    made = reinforce(SOLVED, question=EQUATION)
    assert "z = 6 / 2 = 3\ncheck: 7*(3) + 5 = 5*(3) + 11, ok\n<answer>" in made.text


def test_what_is_checked_already_is_left_alone() -> None:
    checked = STORY.replace("He gives", "Indeed, 78 / 2 = 39. He gives")
    assert reinforce(checked).text.count("Check:") == 1


@pytest.mark.parametrize("false", [STORY.replace("= 78", "= 79"), SOLVED.replace("= 3", "= 4")])
def test_a_false_step_gets_no_check(false: str) -> None:
    made = reinforce(false, question=EQUATION if "z" in false else None)
    wrong = {i for i, atom in enumerate(made.molecule.atoms) if any(c.holds is False for c in atom.claims)}
    assert wrong
    assert not any(made.molecule.atoms[i + 1].inserted for i in wrong if i + 1 < len(made.molecule.atoms))
    assert made.molecule.conflict == analyze(false, question=EQUATION if "z" in false else None).conflict


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7 + 9 = 16", "16 - 9 = 7"),
        ("20 - 3 - 4 = 13", "13 + 4 + 3 = 20"),
        ("3 * (4 + 5) = 27", "27 / (4 + 5) = 3"),
        ("20 - 2 * 8 = 4", "4 + 2 * 8 = 20"),
        ("12 apples / 4 apples = 3", "3 * 4 = 12"),
        (r"\frac{12}{4} = 3", "3 * 4 = 12"),
        ("5 - 8 = -3", "-3 + 8 = 5"),
        ("0.5 * 3 = 1.5", "1.5 / 3 = 0.5"),
        ("$80 * 25% = $20", "20 / 25% = 80"),
    ],
)
def test_a_computation_is_undone(text: str, expected: str) -> None:
    assert undone(text)[0] == expected
    (equation,) = find_equations(prepare(tokenize(expected)))
    assert equation.holds is True


@pytest.mark.parametrize("text", ["10 / 3 = 3.33", "7 + 9 = 17", "x + 2 = 5", "3^2 = 9", "0 * 5 = 0"])
def test_what_cannot_be_undone_exactly_is_not(text: str) -> None:
    for way in undone(text):
        (equation,) = find_equations(prepare(tokenize(way)))
        assert equation.holds is True
        assert text != way
    assert undone("10 / 3 = 3.33") == undone("7 + 9 = 17") == undone("x + 2 = 5") == undone("3^2 = 9") == []


def test_a_value_is_put_in_for_a_name_only() -> None:
    assert substitute_into("3x + max = 2x + 4", "x", Fraction(4)) == "3(4) + max = 2(4) + 4"
    assert substitute_into("3y = 6", "x", Fraction(4)) is None
    assert substitute_into("3x = 1", "x", Fraction(1, 3)) is None


def test_the_teacher_writes_what_cannot_be_computed() -> None:
    seen: list[CheckRequest] = []

    def write(requests: Sequence[CheckRequest]) -> list[str]:
        seen.extend(requests)
        return ["check: 2 flips, even,\nheads, ok" for _ in requests]

    made = reinforce(COIN, sample_id="s", write=write)
    assert [request.step for request in seen] == ["then Nina flips: tails", "then Bo flips: heads"]
    assert seen[1].before == COIN[: COIN.index("<answer>")]
    assert seen[1].evidence == "step 2 goes on from the state after step 1"
    # The same count is right of the second flip and wrong of the first, so it stands behind the second only.
    assert made.text == COIN.replace("Bo flips: heads\n", "Bo flips: heads\ncheck: 2 flips, even, heads, ok\n")
    assert (made.num_written, made.unchecked) == (1, [1])


@pytest.mark.parametrize(
    "reply", ["", "Yes, that is right.", "heads\n\nheads", "2 + 2 = 5", "x" * 5000, "<answer>no</answer>"]
)
def test_what_verifies_nothing_is_not_inserted(reply: str) -> None:
    made = reinforce(COIN, write=lambda requests: [reply for _ in requests])
    assert (made.text, made.num_written) == (COIN, 0)


def test_replies_for_other_requests_are_an_error() -> None:
    with pytest.raises(ValueError, match="2 checks were asked for, 1 came back"):
        reinforce(COIN, write=lambda _: ["one"])


@pytest.mark.parametrize("text", ["", "\n", "no numbers here", "1 = 1", "\ud800 7 + 9 = 16. 16 + 2 = 18."])
def test_any_text_goes_through(text: str) -> None:
    made = reinforce(text)
    assert "".join(atom.text for atom in made.molecule.atoms) == made.text
    parts = [made.text[a:b] for a, b in made.inserted]
    bare = made.text
    for part in parts:
        bare = bare.replace(part, "", 1)
    assert bare.rstrip() == text.rstrip()


@pytest.mark.slow
def test_worked_solutions_are_reinforced_without_harm() -> None:
    rows = [json.loads(line) for line in shared_data("gsm8k/test.jsonl").read_text().splitlines()][:60]
    num_wanted = num_left = 0
    for row in rows:
        text = re.sub(r"<<[^>]*>>", "", row["answer"])
        before, made = analyze(text, question=row["question"], markers=False), reinforce(text, question=row["question"])
        assert made.molecule.stability >= before.stability
        assert made.molecule.conflict <= before.conflict
        num_wanted += made.num_computed + len(made.unchecked)
        num_left += len(made.unchecked)
    assert num_wanted > 80
    assert num_left < 0.1 * num_wanted
