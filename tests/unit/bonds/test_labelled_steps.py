"""Agreement with steps that were labelled by reading, and the weights that were fitted to them."""

import pytest
from labelled_steps import agreement, fit, load_all, load_excerpts, precision_recall, training_rows

from stillery.bonds.role_weights import MARKED_WEIGHTS, WEIGHTS

# Precision and recall of the words "wait", "but", "let me check" and their like on the same steps: 0.54 and 0.44.
KEYWORD_F1 = 0.48


def test_the_excerpts_are_labelled_within_their_text() -> None:
    traces = load_excerpts()
    assert sum(len(trace.steps) for trace in traces) > 150
    for trace in traces:
        for start, end, letters, targets in trace.steps:
            assert trace.text[start:end].strip()
            assert set(letters) <= set("RLENC")
            assert all(target < start for target in targets)


def test_reflection_is_told_from_the_rest_on_the_excerpts() -> None:
    precision, recall = precision_recall(agreement(load_excerpts(), markers=True), "R")
    assert precision > 0.5
    assert recall > 0.5


@pytest.mark.parametrize(("half", "least"), [("report", 0.58), ("held_out", 0.62)])
def test_reflection_is_found_far_better_than_by_keywords(half: str, least: float) -> None:
    precision, recall = precision_recall(agreement(load_all(half), markers=True), "R")
    f1 = 2 * precision * recall / (precision + recall)
    assert f1 > least > KEYWORD_F1


@pytest.mark.parametrize("markers", [True, False])
def test_the_weights_are_those_that_the_tune_half_gives(markers: bool) -> None:
    fitted = fit(list(training_rows(load_all("tune"), markers=markers)))
    stored = MARKED_WEIGHTS if markers else WEIGHTS
    for role, weights in fitted.items():
        assert weights == pytest.approx(stored[role], abs=0.03)
