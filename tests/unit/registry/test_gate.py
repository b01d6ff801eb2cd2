"""The gate: promotion takes a gain beyond chance, on the same problems."""

import pytest

from stillery.records import Score
from stillery.registry.gate import decide


def _scores(rates: dict[str, float], *, split: str = "test", samples: int = 10) -> list[Score]:
    """`samples` scores a problem, of which the given share is correct."""
    return [
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
    after = _scores(_problems(0.2)) + _scores({"long": 1.0}, split="longer")
    before = _scores(_problems(0.2)) + _scores({"long": 0.0}, split="longer")
    assert not decide(after, untouched=before, champion=None).promote


def test_a_champion_measured_on_other_problems_stays() -> None:
    champion = _scores({f"other{n}": 0.0 for n in range(20)})
    decision = decide(_scores(_problems(1.0)), untouched=_scores(_problems(0.0)), champion=champion)
    assert not decision.promote
    assert decision.gain is None
    assert decision.reason.startswith("not comparable with champion: it was measured on other test problems (40 of 40")
    assert "same prompts settings" in decision.reason
    assert decision.reason.endswith("champion unchanged")


def test_a_champion_without_scores_stays() -> None:
    decision = decide(_scores(_problems(1.0)), untouched=_scores(_problems(0.0)), champion=[])
    assert not decision.promote
    assert "no scores on the test split" in decision.reason


def test_one_problem_proves_nothing() -> None:
    decision = decide(_scores({"p": 1.0}), untouched=_scores({"p": 0.0}), champion=None)
    assert not decision.promote
    assert "give no interval" in decision.reason
