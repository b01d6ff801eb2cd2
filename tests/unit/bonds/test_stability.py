"""What stability must and must not reward: see "Stability" in docs/concepts/bonds.md."""

import itertools
import json
import random
import re

import pytest

from stillery.bonds import analyze, is_unstable
from stillery.problems.tasks import TASKS
from stillery.tiny_models.traces import PROGRAMS, write_trace
from support.shared_data import shared_data

STORY = (
    "Tom has 14 apples and buys 25 more, so he has 14 + 25 = 39 apples.\n"
    "He doubles them: 39 * 2 = 78 apples.\n"
    "He gives 13 away: 78 - 13 = 65 apples.\n"
    "The answer is 65.\n"
)
LINES = STORY.splitlines(keepends=True)
CHECK = "Undoing the last step, 65 + 13 = 78.\n"


def stability(text: str, question: str | None = None) -> float:
    return analyze(text, question=question, markers=False).stability


def insert(position: int, *lines: str) -> str:
    return "".join([*LINES[:position], *lines, *LINES[position:]])


@pytest.mark.parametrize("number", ["39", "78", "65"])
def test_a_false_claim_lowers_it_and_its_correction_raises_it_again(number: str) -> None:
    at = next(i for i, line in enumerate(LINES) if f"= {number}" in line)
    wrong = LINES[at].replace(f"= {number}", f"= {int(number) + 1}")
    planted = "".join([*LINES[:at], wrong, *LINES[at + 1 :]])
    corrected = "".join([*LINES[:at], wrong, f"Wait, redo: {LINES[at]}", *LINES[at + 1 :]])
    assert stability(planted) < stability(STORY)
    assert stability(planted) < stability(corrected) <= stability(STORY)


def test_a_check_by_another_route_raises_it_once() -> None:
    assert stability(insert(3, CHECK)) > stability(STORY)
    assert stability(insert(3, CHECK, CHECK)) <= stability(insert(3, CHECK))
    reworded = "Once more: 65 + 13 = 78, as it should be.\n"
    assert stability(insert(3, CHECK, reworded)) <= stability(insert(3, CHECK))


@pytest.mark.parametrize(
    "padding",
    [
        LINES[1],
        "So he has 78 apples.\n",
        "Let me double-check. Yes, that is right. Wait, yes.\n",
        "Everything is consistent and verified and correct.\n",
        "".join(f"{n} + 100 = {n + 100}.\n" for n in range(301, 340)),
        "78 = 78.\n",
    ],
)
def test_padding_raises_nothing(padding: str) -> None:
    assert stability(insert(2, padding)) <= stability(STORY)


def test_length_alone_pays_nothing() -> None:
    def chain(length: int) -> float:
        values = [17 * n for n in range(2, length + 3)]
        steps = "".join(f"{a} + 17 = {b}\n" for a, b in itertools.pairwise(values))
        return stability(f"{steps}The answer is {values[-1]}.\n")

    assert chain(5) == chain(20) == chain(80)


def test_an_answer_that_was_never_found_is_a_conflict() -> None:
    wrong = STORY.replace("answer is 65", "answer is 99")
    assert analyze(wrong).conflict == 1
    assert stability(wrong) < stability(STORY)
    assert analyze("The coin is heads.\n<answer>tails</answer>").conflict == 1


def test_a_name_with_two_values_is_a_conflict_unless_it_is_revised() -> None:
    assert analyze("x = 7\nso y = 12\nx = 8\n").conflict == 0.5
    assert analyze("x = 7\n2 * 7 = 14, not 16\nx = 8\n").conflict == 0
    assert analyze("If x = 7, fine.\nIf x = 8, fine.\n").conflict == 0


@pytest.mark.parametrize(
    "text",
    [
        "That makes five pages each.\nSo total so far: 1-5 and 6-10 = 10.\n",
        "Since n=6 is even, the sum is -3.\nUsing the formula: n=5 is odd, so the sum is 3.\n",
    ],
)
def test_a_range_and_a_case_are_no_conflicts(text: str) -> None:
    assert analyze(text).conflict == 0


def test_a_difference_below_zero_is_still_checked() -> None:
    assert analyze("6 - 10 = 4\n").conflict == 1
    assert analyze("10-6 = 5\n").conflict == 1
    assert analyze("n = 6\nn = 5\n").conflict == 0.5


def test_unstable_traces_are_flagged() -> None:
    false = "3 + 4 = 8\n8 * 2 = 17\nThe answer is 90.\n"
    assert is_unstable(analyze(false))
    assert not is_unstable(analyze(STORY))
    assert is_unstable(analyze(STORY), threshold=2)


def test_the_sum_is_the_strengths_minus_conflict() -> None:
    molecule = analyze(STORY.replace("= 65", "= 66"))
    assert molecule.stability_sum == pytest.approx(sum(b.strength for b in molecule.bonds) - molecule.conflict)


@pytest.mark.parametrize(
    ("old", "new"),
    [("wait", ""), ("wait", "hmm"), ("let me check", ""), ("actually", "alternatively"), ("hmm", "")],
)
def test_markers_count_for_nothing(old: str, new: str) -> None:
    text = f"{LINES[0]}Hmm, let me check: 39 - 25 = 14. Wait. {LINES[1]}Actually, {LINES[2]}Wait, {LINES[3]}"
    one = analyze(text, markers=False)
    two = analyze(re.sub(old, new, text, flags=re.IGNORECASE), markers=False)
    assert (one.stability, one.conflict) == (two.stability, two.conflict)
    shapes = [[(b.source, b.target, b.kind, b.strength) for b in m.bonds] for m in (one, two)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (STORY, {"Tom": "Wilhelmina"}),
        ("3*x + 4 = 28\n3*x = 24\nx = 24 / 3 = 8\n3 * 8 + 4 = 28\n", {"x": "t"}),
        (
            "start: Ann cup, Bob ball\nswap Ann, Bob: Ann ball, Bob cup\n<answer>ball</answer>",
            {"Ann": "Zoe", "Bob": "Al"},
        ),
        ("start heads\nthen Nina flips: tails\n<answer>no</answer>", {"Nina": "Jo"}),
    ],
)
def test_names_count_for_nothing(text: str, names: dict[str, str]) -> None:
    renamed = re.sub(r"\b(?:" + "|".join(names) + r")\b", lambda m: names[m.group()], text)
    one, two = analyze(text, markers=False), analyze(renamed, markers=False)
    assert (one.stability, one.conflict) == (two.stability, two.conflict)
    assert [(b.source, b.target, b.kind, b.strength) for b in one.bonds] == [
        (b.source, b.target, b.kind, b.strength) for b in two.bonds
    ]


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(PROGRAMS))
def test_embedded_traces_that_err_and_correct_are_no_better_than_right_ones(task: str) -> None:
    rng = random.Random(0)
    tried = 0
    for seed in range(40):
        problem = TASKS[task](rng, 3)
        program = PROGRAMS[task](problem)
        right = write_trace(problem, seed=seed, style="checked")
        guess = program.steps[0].guess({}, rng)
        wrong = write_trace(problem, seed=seed, style="checked", mistakes={0: guess})
        if not wrong.mistakes:
            continue
        tried += 1
        assert stability(wrong.text, problem.question) <= stability(right.text, problem.question), wrong.text
        assert analyze(wrong.text, question=problem.question).conflict == 0, wrong.text
        assert analyze(right.text, question=problem.question).conflict == 0, right.text
    assert tried > 10


@pytest.mark.parametrize("task", sorted(PROGRAMS))
def test_an_error_that_an_embedded_trace_leaves_lowers_it(task: str) -> None:
    rng = random.Random(1)
    for seed in range(20):
        problem = TASKS[task](rng, 3)
        step = PROGRAMS[task](problem).steps[0]
        value, guess = step.value({}), step.guess({}, rng)
        right = write_trace(problem, seed=seed, style="terse").text
        line, wrong = f"{step.head({})} {value}\n", f"{step.head({})} {guess}\n"
        assert line in right
        if guess != value:
            planted, corrected = right.replace(line, wrong, 1), right.replace(line, f"{wrong}wait, redo: {line}", 1)
            before, low, after = (stability(text, problem.question) for text in (right, planted, corrected))
            assert low < after <= before, planted


@pytest.mark.slow
def test_planted_errors_in_worked_solutions() -> None:
    rows = [json.loads(line) for line in shared_data("gsm8k/test.jsonl").read_text().splitlines()][:200]
    rng = random.Random(0)
    counts = {"planted": 0, "lowered": 0, "raised again": 0, "at most as before": 0}
    for row in rows:
        right = re.sub(r"<<[^>]*>>", "", row["answer"])
        results = list(re.finditer(r"=\s*\$?(\d+)(?![\d.,])", right))
        if not results:
            continue
        chosen = rng.choice(results)
        wrong = f"{right[: chosen.start(1)]}{int(chosen[1]) + 1}{right[chosen.end(1) :]}"
        at = right[: chosen.end()].count("\n")
        lines = wrong.split("\n")
        corrected = "\n".join([*lines[: at + 1], f"Wait, no: {right.split(chr(10))[at]}", *lines[at + 1 :]])
        before, planted, after = (stability(text, row["question"]) for text in (right, wrong, corrected))
        counts["planted"] += 1
        counts["lowered"] += planted < before
        counts["raised again"] += after > planted
        counts["at most as before"] += after <= before
    assert counts["at most as before"] == counts["planted"]
    assert counts["lowered"] / counts["planted"] > 0.93
    assert counts["raised again"] / counts["planted"] > 0.93
