"""The gate: promotion requires a significant gain on the same problems, measured in the same way."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from stillery.records import Score
from stillery.registry.gate import MeasuredModel, decide

PROTOCOL = {"sampling": {"temperature": 1.0, "max_tokens": 512}, "samples_per_prompt": 10, "verifier": {"version": 2}}


def _scores(rates: dict[str, float], *, split: str = "test", samples: int = 10) -> MeasuredModel:
    """`samples` scores a problem, of which the given share is correct."""
    scores = [
        Score(
            model="m",
            prompt_id=problem,
            sample_id=f"{problem}-{index}",
            sample_index=index,
            task="t",
            split=split,
            num_steps=None,
            question="q",
            gold="1",
            completion="c",
            predicted="1",
            verdict="correct" if index < round(rate * samples) else "wrong",
            template="ok",
            num_tokens=5,
            finish_reason="stop",
        )
        for problem, rate in rates.items()
        for index in range(samples)
    ]
    return MeasuredModel(scores, PROTOCOL)


def _problems(rate: float, *, count: int = 20) -> dict[str, float]:
    return {f"p{n}": rate for n in range(count)}


def test_the_first_champion_must_beat_the_untouched_student() -> None:
    decision = decide(_scores(_problems(0.8)), untouched=_scores(_problems(0.2)), champion=None)
    assert decision.promote
    assert decision.gain is not None
    assert decision.gain.mean == pytest.approx(0.6)
    assert decision.reason.startswith("beats the untouched student: test pass@1 +60.0 points")


def test_no_gain_over_the_untouched_student_sets_no_champion() -> None:
    decision = decide(_scores(_problems(0.2)), untouched=_scores(_problems(0.2)), champion=None)
    assert not decision.promote
    assert "does not beat the untouched student" in decision.reason
    assert decision.reason.endswith("no champion is set")


def test_a_champion_is_the_opponent_where_there_is_one() -> None:
    untouched, champion = _scores(_problems(0.1)), _scores(_problems(0.8))
    decision = decide(
        _scores(_problems(0.6)), untouched=untouched, champion=champion, champion_name="champion version 3"
    )
    assert not decision.promote
    assert decision.against == "champion version 3"
    assert decision.reason.endswith("champion unchanged")


def test_a_gain_within_chance_is_not_enough() -> None:
    before = {f"p{n}": 0.5 for n in range(10)}
    after = {f"p{n}": 1.0 if n < 6 else 0.0 for n in range(10)}
    decision = decide(_scores(after), untouched=_scores(before), champion=None)
    assert decision.gain is not None
    assert decision.gain.mean > 0 > decision.gain.low
    assert not decision.promote


def test_only_the_test_split_counts() -> None:
    after, before = (
        MeasuredModel([*_scores(_problems(0.2)).scores, *_scores({"long": rate}, split="longer").scores], PROTOCOL)
        for rate in (1.0, 0.0)
    )
    assert not decide(after, untouched=before, champion=None).promote


def challenge(champion: MeasuredModel, challenger: MeasuredModel | None = None) -> str:
    """The reason for which a challenger that is always right is not promoted."""
    after = challenger or _scores(_problems(1.0))
    decision = decide(after, untouched=_scores(_problems(0.0)), champion=champion)
    assert not decision.promote
    assert decision.reason.endswith("champion unchanged")
    return decision.reason


def test_a_champion_measured_on_other_problems_stays() -> None:
    reason = challenge(_scores({f"other{n}": 0.0 for n in range(20)}))
    assert reason.startswith("not comparable with champion: it was measured on other test problems (40 of 40 have only")


def changed(evaluation: MeasuredModel, **fields: Any) -> MeasuredModel:
    return MeasuredModel([dataclasses.replace(score, **fields) for score in evaluation.scores], evaluation.protocol)


@pytest.mark.parametrize("fields", [{"question": "another q"}, {"gold": "2"}])
def test_a_champion_measured_on_other_questions_with_the_same_ids_stays(fields: dict[str, str]) -> None:
    """Promoted before at +100 points: the ids alone were compared."""
    reason = challenge(changed(_scores(_problems(0.0)), **fields))
    assert "measured on other test problems (20 of 20 differ in their question, answer or number of samples" in reason


def test_a_champion_with_fewer_samples_stays() -> None:
    assert "number of samples" in challenge(_scores(_problems(0.0), samples=4))


@pytest.mark.parametrize(
    ("protocol", "named"),
    [
        ({**PROTOCOL, "sampling": {"temperature": 0.2, "max_tokens": 512}}, "sampling.temperature 0.2 against 1.0"),
        ({**PROTOCOL, "sampling": {"temperature": 1.0}}, "sampling.max_tokens null against 512"),
        ({**PROTOCOL, "verifier": {"version": 1}}, "verifier.version 1 against 2"),
        ({**PROTOCOL, "asking": {"instruction": "Think."}}, 'asking {"instruction": "Think."} against null'),
        ({key: PROTOCOL[key] for key in ("sampling", "verifier")}, "samples_per_prompt null against 10"),
        (None, "it is not on record how it was measured"),
    ],
)
def test_a_champion_measured_in_another_way_stays(protocol: dict[str, Any] | None, named: str) -> None:
    """Promoted before at +100 points: how they were measured was not compared."""
    assert named in challenge(MeasuredModel(_scores(_problems(0.0)).scores, protocol))


def test_a_champion_without_scores_stays() -> None:
    assert "no scores on the test split" in challenge(MeasuredModel([], None))


def failing(evaluation: MeasuredModel, failed: Sequence[int], *, verdict: str = "error") -> MeasuredModel:
    """The same with the samples of these indices failed."""
    return MeasuredModel(
        [dataclasses.replace(s, verdict=verdict) if s.sample_index in failed else s for s in evaluation.scores],
        evaluation.protocol,
    )


def test_failures_of_ours_are_no_wrong_answers() -> None:
    after = failing(_scores(_problems(0.8)), [9])
    decision = decide(after, untouched=_scores(_problems(0.8)), champion=None)
    assert decision.gain is not None
    assert decision.gain.mean == pytest.approx(8 / 9 - 8 / 10)
    assert decide(
        failing(_scores(_problems(0.8)), [9], verdict="timeout"), untouched=_scores(_problems(0.2)), champion=None
    ).promote


def test_a_champion_that_only_failed_is_not_beaten() -> None:
    assert "0 test problem(s) have answers of both" in challenge(failing(_scores(_problems(0.0)), range(10)))


def test_failures_that_could_undo_a_gain_promote_nobody() -> None:
    """All that the challenger got wrong is missing."""
    after = failing(_scores(_problems(0.8)), [8, 9])
    decision = decide(after, untouched=_scores(_problems(0.8)), champion=None)
    assert not decision.promote
    assert "may beat the untouched student" in decision.reason
    assert "40 samples failed" in decision.reason


def test_one_problem_proves_nothing() -> None:
    decision = decide(_scores({"p": 1.0}), untouched=_scores({"p": 0.0}), champion=None)
    assert not decision.promote
    assert "give no interval" in decision.reason
