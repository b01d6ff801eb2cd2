"""Agreement with steps that were labelled by reading, and the weights that were fitted to them."""

from collections import Counter

import pytest
from labelled_steps import (
    UNSEEN,
    agreement,
    fit,
    keyword_counts,
    load_all,
    load_excerpts,
    precision_recall,
    training_rows,
)

from stillery.bonds.model.role_weights import MARKED_WEIGHTS, WEIGHTS


def f1(counts: Counter[tuple[str, str]]) -> float:
    precision, recall = precision_recall(counts, "R")
    return 2 * precision * recall / (precision + recall)


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


def test_reflection_is_found_far_better_than_by_keywords_where_nothing_was_fitted() -> None:
    unseen = [trace for half in UNSEEN for trace in load_all(half)]
    ours, by_keywords = f1(agreement(unseen, markers=True)), f1(keyword_counts(unseen))
    assert ours > 0.62
    assert by_keywords < 0.48


@pytest.mark.parametrize("markers", [True, False])
def test_the_weights_are_those_that_the_tune_half_gives(markers: bool) -> None:
    fitted = fit(list(training_rows(load_all("tune"), markers=markers)))
    stored = MARKED_WEIGHTS if markers else WEIGHTS
    assert fitted.keys() == stored.keys()
    for signal, weights in fitted.items():
        assert weights == pytest.approx(stored[signal], abs=0.03), signal
