"""The section on refinement states what was kept, even if nothing new was."""

from typing import Any

from stillery.records import RewardPart, Rollout
from stillery.report.data import Refinement
from stillery.report.page import render
from support.report_runs import AFTER, make_evaluation, make_report

HISTORY: list[dict[str, Any]] = [
    {"step": 0, "validation/pass@1": 0.5, "validation/standard_error": 0.1},
    {"step": 1, "loss": 0.1, "reward": 0.4, "part/correctness": 0.4, "kl": 0.01, "entropy": 0.3, "seconds": 2.0},
    {"step": 2, "loss": 0.1, "reward": 0.6, "part/correctness": 0.6, "kl": 0.02, "entropy": None, "seconds": 2.0},
    {"step": 2, "validation/pass@1": 0.4, "validation/standard_error": 0.1},
]
ROLLOUT = Rollout(1, "p", "coins", "<script>", 3, "stop", [RewardPart("correctness", None)], None, 0.0)


def summary(**changes: Any) -> dict[str, Any]:
    values = {"kept_step": 0, "last_step": 2, "stopped": None, "validation_before": 0.5, "validation_after": 0.5,
              "validation_last": 0.4}  # fmt: skip
    errors = {f"validation_{name}_standard_error": 0.1 for name in ("before", "after", "last")}
    return {**values, **errors, **changes}


def page(**changes: Any) -> str:
    refined = Refinement(summary(**changes), HISTORY, [ROLLOUT])
    return render(make_report(refined=refined, tuned=make_evaluation(AFTER)))


def test_a_run_without_refinement_says_nothing_of_it() -> None:
    assert 'id="refinement"' not in render(make_report())


def test_a_refinement_that_helped_nothing_says_so() -> None:
    text = page(stopped="the entropy went from 1 to 9")
    assert "No checkpoint was better than the fine-tuned student" in text
    assert "50.0% ± 10.0 before and 40.0% ± 10.0 after the last step" in text
    assert "It stopped by itself: the entropy went from 1 to 9." in text
    assert "Student fine-tuned" in text


def test_a_kept_checkpoint_is_said_to_be_the_best_of_several() -> None:
    assert "The checkpoint of step 2 was kept" in page(kept_step=2)


def test_rollouts_are_escaped_and_show_every_part() -> None:
    text = page()
    assert "&lt;script&gt;" in text
    assert "<script>" not in text
    assert "correctness –" in text
