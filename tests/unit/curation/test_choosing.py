"""Rejection sampling: what is kept, in which order, and every sample is accounted for."""

import dataclasses
import json
from collections import Counter

import pytest

from stillery.config import CurateConfig
from stillery.curation.choosing import choose, load_filters
from stillery.errors import UserError
from stillery.metrics import StoppingRule
from stillery.records import Generation, Verdict


def generation(index: int, *, prompt: str = "p", text: str | None = None) -> Generation:
    return Generation(
        sample_id=f"{prompt}{index}", prompt_id=prompt, sample_index=index, seed=0, rendered="q",
        completion=f"<think>\n{index}\n</think>\n<answer>1</answer>" if text is None else text, finish_reason="stop",
        num_prompt_tokens=1, num_tokens=5, mean_logprob=-0.1, model="T", sampling="{}", attempt=0, surplus=False,
        error=None,
    )  # fmt: skip


def verdict(row: Generation, kind: str = "correct", template: str = "ok") -> Verdict:
    return Verdict(row.sample_id, row.prompt_id, "t", "1", "1", kind, template, [], None)


def chosen(
    config: CurateConfig, rows: list[tuple[Generation, Verdict]], **options: object
) -> tuple[list[Generation], Counter[str]]:
    """The kept samples, and how many were dropped for each reason. Every row has one choice, kept ones no reason."""
    kept, choices = choose(config, rows, **options)  # type: ignore[arg-type]
    assert sorted(c.sample_id for c in choices) == sorted(g.sample_id for g, _ in rows)
    assert {c.sample_id for c in choices if c.reason is None} == {g.sample_id for g in kept}
    return kept, Counter(c.reason for c in choices if c.reason is not None)


def test_the_first_k_by_sample_index_are_kept_whatever_order_they_came_in() -> None:
    rows = [generation(i) for i in (5, 1, 3, 2)]
    kept, dropped = chosen(CurateConfig(max_per_prompt=2), [(row, verdict(row)) for row in rows])
    assert [row.sample_index for row in kept] == [1, 2]
    assert dropped == {"beyond max_per_prompt": 2}


def test_every_reason_is_counted_and_nothing_is_lost() -> None:
    rows = [generation(i) for i in range(5)]
    kinds = [("wrong", "ok"), ("truncated", "unclosed"), ("correct", "no_think"), ("correct", "ok"), ("timeout", "ok")]
    kept, dropped = chosen(CurateConfig(), [(r, verdict(r, *k)) for r, k in zip(rows, kinds, strict=True)])
    assert [row.sample_index for row in kept] == [3]
    assert dropped == {"wrong": 1, "truncated": 1, "template: no_think": 1, "timeout": 1}
    assert len(kept) + sum(dropped.values()) == len(rows)


def test_exact_repeats_are_dropped() -> None:
    rows = [generation(0, text="x"), generation(1, text="x "), generation(2, text="y")]
    kept, dropped = chosen(CurateConfig(), [(row, verdict(row)) for row in rows])
    assert [row.sample_id for row in kept] == ["p0", "p2"]
    assert dropped == {"duplicate": 1}


def test_repeats_that_are_not_dropped_count_as_solved() -> None:
    rows = [(row, verdict(row)) for row in (generation(0, text="x"), generation(1, text="x"))]
    band = {"min_pass_rate": 0.9}
    assert chosen(CurateConfig(**band), rows) == ([], {"duplicate": 1, "pass rate too low": 1})
    assert len(chosen(CurateConfig(**band, deduplicate=False), rows)[0]) == 2


def test_flags_drop_only_where_the_config_says_so() -> None:
    row = generation(0)
    flagged = [(row, dataclasses.replace(verdict(row), flags=["repetition", "code_block"]))]
    assert chosen(CurateConfig(), flagged)[0] == [row]
    assert chosen(CurateConfig(drop_flags=["code_block"]), flagged) == ([], {"flag: code_block": 1})


def rated(outcomes: str, *, surplus_from: int = 99) -> list[tuple[Generation, Verdict]]:
    rows = [dataclasses.replace(generation(i), surplus=i >= surplus_from) for i in range(len(outcomes))]
    return [(r, verdict(r, "correct" if kind == "+" else "wrong")) for r, kind in zip(rows, outcomes, strict=True)]


@pytest.mark.parametrize(
    ("outcomes", "wanted", "surplus_from", "rate"),
    [
        ("++--", None, 99, 2 / 4),
        ("+-+", 2, 99, 1 / 2),
        ("+---", 2, 99, 1 / 4),
        ("+-+++", 2, 3, 1 / 2),
    ],
)
def test_a_band_goes_by_the_rate_that_fits_the_stopping_rule(
    outcomes: str, wanted: int | None, surplus_from: int, rate: float
) -> None:
    rows = rated(outcomes, surplus_from=surplus_from)
    above = CurateConfig(min_pass_rate=rate + 0.01)
    below = CurateConfig(max_pass_rate=rate - 0.01)
    num_right = outcomes.count("+")
    stopping = None if wanted is None else StoppingRule(len(outcomes), wanted)
    assert chosen(above, rows, stopping=stopping)[1]["pass rate too low"] == num_right
    assert chosen(below, rows, stopping=stopping)[1]["pass rate too high"] == num_right
    inside = CurateConfig(min_pass_rate=rate - 0.01, max_pass_rate=rate + 0.01)
    assert len(chosen(inside, rows, stopping=stopping)[0]) == num_right


def again(row: Generation, kind: str = "correct") -> tuple[Generation, Verdict]:
    """A second try at a sample."""
    second = dataclasses.replace(row, attempt=1, sample_id=f"{row.sample_id}r", completion=f"{row.completion} again")
    return second, verdict(second, kind)


def test_a_second_try_replaces_an_accepted_first() -> None:
    """Both were counted as accepted of one sample, which ended the stage."""
    first = generation(0)
    second = again(first)
    kept, dropped = chosen(CurateConfig(min_pass_rate=1.0), [(first, verdict(first)), second])
    assert kept == [second[0]]
    assert dropped == {"tried again": 1}
    assert chosen(CurateConfig(), [(first, verdict(first)), again(first, "wrong")]) == (
        [],
        {"tried again": 1, "wrong": 1},
    )


@pytest.mark.parametrize("kind", ["error", "timeout"])
def test_failures_of_ours_make_no_problem_difficult(kind: str) -> None:
    rows = [*rated("++"), *[(row, verdict(row, kind)) for row in (generation(2), generation(3))]]
    kept, dropped = chosen(CurateConfig(min_pass_rate=1.0), rows)
    assert len(kept) == 2
    assert dropped == {kind: 2}
    # A second try that failed says nothing of the first, which was cut off.
    cut = generation(4)
    rows += [(cut, verdict(cut, "truncated")), again(cut, kind)]
    assert len(chosen(CurateConfig(min_pass_rate=1.0), rows)[0]) == 2


def refuse_even(row: Generation, _: Verdict) -> str | None:
    return "even" if row.sample_index % 2 == 0 else None


def fail(row: Generation, _: Verdict) -> str | None:
    raise KeyError(row.sample_id)


def test_a_function_of_ones_own_leaves_samples_out_with_its_reason() -> None:
    rows = [(row, verdict(row)) for row in map(generation, range(4))]
    kept, choices = choose(CurateConfig(), rows, filters=[("mine:refuse_even", refuse_even)])
    assert [row.sample_index for row in kept] == [1, 3]
    assert choices[0].reason == "filter: mine:refuse_even"
    assert json.loads(choices[0].evidence or "null") == {"reason": "even"}
    with pytest.raises(UserError, match=r"mine:fail raised KeyError.* on sample p0"):
        choose(CurateConfig(), rows, filters=[("mine:fail", fail)])
    with pytest.raises(UserError, match=r"returned 1 on sample"):
        choose(CurateConfig(), rows, filters=[("mine:one", lambda *_: 1)])


@pytest.mark.parametrize("name", ["json", "json:", "jsno:dumps", "json:dmups", "json:__doc__"])
def test_a_function_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(UserError, match=r"curate\.filters: "):
        load_filters([name])


def test_what_is_left_out_shows_why() -> None:
    rows = [generation(0, text="x"), generation(1, text="x"), generation(2, text="y")]
    flagged = dataclasses.replace(verdict(rows[2]), flags=["repetition"], flag_evidence=["'la la' at 3"])
    config = CurateConfig(drop_flags=["repetition"])
    _, choices = choose(config, [(rows[0], verdict(rows[0])), (rows[1], verdict(rows[1])), (rows[2], flagged)])
    assert [json.loads(c.evidence or "null") for c in choices] == [
        None,
        {"of": "p0"},
        {"predicted": "1", "flags": {"repetition": "'la la' at 3"}},
    ]
