"""docs/concepts/verification.md, read as a table of tests: each example of each rule, and the names that it lists."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from stillery.records import AnswerKind
from stillery.verify import symbolic
from stillery.verify.compare import compare
from stillery.verify.readability import FLAGS

PAGE = (Path(__file__).parents[3] / "docs" / "concepts" / "verification.md").read_text(encoding="utf-8")
CHOICES = ("London", "Paris", "Rome")
POLICY = re.search(r"## When two answers are the same\n(.*?)\n## ", PAGE, re.DOTALL)


def rows(section: str) -> list[list[str]]:
    """The cells of the body rows of a section's tables."""
    lines = [line.strip().strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in cells] for cells in lines if not set("".join(cells)) <= set("-: ")]


def examples(cell: str) -> list[tuple[str, str]]:
    """The pairs of a cell: `prediction` `gold` · `prediction` `gold`."""
    pairs = [re.findall(r"`([^`]+)`", example) for example in cell.split(" · ") if example.strip()]
    assert all(len(pair) == 2 for pair in pairs), cell
    return [(predicted, gold) for predicted, gold in pairs]


def cases() -> list[tuple[str, str, str, bool]]:
    assert POLICY is not None
    sections = re.split(r"^### (\w+)\n", POLICY[1], flags=re.MULTILINE)
    return [
        (kind, predicted, gold, same)
        for kind, section in pairwise(sections[1:])
        if kind in set(AnswerKind)
        for cells in rows(section)
        if cells[0] != "question"
        for cell, same in ((cells[2], True), (cells[3], False))
        for predicted, gold in examples(cell)
    ]


def test_every_kind_and_every_rule_has_examples() -> None:
    assert POLICY is not None
    assert {kind for kind, *_ in cases()} == set(AnswerKind) - {AnswerKind.NONE, AnswerKind.CODE, AnswerKind.JUDGED}
    rules = [cells for cells in rows(POLICY[1]) if cells[0] != "question"]
    assert len(rules) >= 30
    assert all(examples(same) + examples(different) for _, _, same, different in rules)


@pytest.mark.parametrize(("kind", "predicted", "gold", "same"), cases())
def test_the_documented_examples_hold(kind: str, predicted: str, gold: str, same: bool) -> None:
    choices = CHOICES if kind == "choice" else ()
    assert compare(predicted, gold, answer_kind=kind, choices=choices, leaf=symbolic.equal) is same
    assert compare(predicted, gold, choices=choices, leaf=symbolic.equal) is same
    assert compare(predicted, gold, answer_kind=kind, choices=choices) in (same, None)


def test_the_documented_flags_are_those_that_exist() -> None:
    section = PAGE.partition("## Readability flags")[2].partition("\n## ")[0]
    assert tuple(cells[0].strip("`") for cells in rows(section) if cells[0] != "flag") == FLAGS
