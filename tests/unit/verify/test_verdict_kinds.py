"""Answers of each kind as written by models, with their correct verdict, including negative twins."""

import pytest

from stillery.verify import GradingTask, symbolic
from stillery.verify.compare import compare
from stillery.verify.judge import Pending, prepare
from support import verdict_rows, verdict_siblings


@pytest.mark.parametrize(
    ("completion", "gold", "kind", "choices", "is_right"),
    [row for kinds in (verdict_rows, verdict_siblings) for rows in kinds.GRADED.values() for row in rows],
)
def test_completions(completion: str, gold: str, kind: str, choices: tuple[str, ...], is_right: bool) -> None:
    verdict = prepare(GradingTask(completion, gold, answer_kind=kind, choices=choices))
    assert not isinstance(verdict, Pending), "it needs a worker process"
    assert verdict.verdict in (("correct",) if is_right else ("wrong", "unparsed")), verdict.predicted


@pytest.mark.parametrize(
    ("predicted", "gold", "same"),
    [row for kinds in (verdict_rows, verdict_siblings) for rows in kinds.COMPARED.values() for row in rows],
)
def test_answers(predicted: str, gold: str, same: bool) -> None:
    assert compare(predicted, gold, leaf=symbolic.equal) is same
    assert compare(predicted, gold) in (same, None)
