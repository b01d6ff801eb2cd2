"""The signals of the step roles: what they hold, and what they must not depend on."""

import re

import pytest

from stillery.bonds.claims.reading import read_steps
from stillery.bonds.model.role_weights import MARKED_WEIGHTS, WEIGHTS
from stillery.bonds.model.roles import Role, pick_role, role_odds
from stillery.bonds.model.signals import Signals, add_marker_signals, step_signals
from stillery.bonds.steps.segmentation import segment

QUESTION = "Tom has 14 apples and buys 25 more. How many has he?"
TRACE = (
    "Tom has 14 apples.\n14 + 25 = 39.\nSo the answer is 39.\n\nWait, but is it really 39?\n"
    "Let me check: 39 - 25 = 14.\nHmm, maybe a basket counts too.\nSo he has 39 apples.\n"
)
MARKER = re.compile(r"(?:Wait|Hmm|Let me check)[,:] |maybe ", re.IGNORECASE)


def signals(text: str, *, markers: bool = False) -> list[Signals]:
    spans = segment(text)
    steps = read_steps(text, spans, question=QUESTION)
    found = step_signals(steps, text=text, question=QUESTION)
    if markers:
        add_marker_signals(found, [text[span.start : span.end] for span in spans])
    return found


def test_signals_say_where_a_step_stands_and_what_it_does() -> None:
    first, sums, answers, doubts, undoes, _, repeats = signals(TRACE)
    assert (first["question_values"], first["settled"], first["restates_near"]) == (1, 0, 0)
    assert (sums["computes"], sums["new_result"], sums["final"]) == (1, 1, 1)
    assert (answers["opens_so"], answers["answer"], answers["computes"]) == (1, 1, 0)
    assert (doubts["opens_but"], doubts["asks_back"], doubts["doubt"], doubts["paragraph"]) == (1, 1, 1, 1)
    assert (undoes["settled"], undoes["seen_values"], undoes["repeats"]) == (1, 1, 0)
    assert repeats["restates_near"] < 1
    assert repeats["of_question"] > 0


def test_context_fades_with_each_step_between() -> None:
    found = signals(TRACE)
    assert [round(s["before:doubt"], 2) for s in found] == [0, 0, 0, 0, 1, 0.8, 0.64]
    assert [round(s["after:doubt"], 2) for s in found] == [0.64, 0.8, 1, 0, 0, 0, 0]


def test_no_signal_but_those_of_markers_depends_on_a_marker() -> None:
    plain = MARKER.sub("", TRACE)
    assert plain != TRACE
    assert signals(plain) == signals(TRACE)
    assert signals(plain, markers=True) != signals(TRACE, markers=True)


@pytest.mark.parametrize("markers", [True, False])
def test_every_signal_has_its_weights(markers: bool) -> None:
    weights = MARKED_WEIGHTS if markers else WEIGHTS
    for found in signals(TRACE, markers=markers):
        assert found.keys() == weights.keys()
        assert sum(role_odds(found, weights).values()) == pytest.approx(1)


def test_a_return_is_picked_from_a_third_on() -> None:
    odds = {Role.DERIVES: 0.4, Role.RETURNS: 0.36, Role.EXPLORES: 0.04, Role.OTHER: 0.2}
    assert pick_role(odds) is Role.RETURNS
    assert pick_role(odds | {Role.RETURNS: 0.3, Role.OTHER: 0.26}) is Role.DERIVES
