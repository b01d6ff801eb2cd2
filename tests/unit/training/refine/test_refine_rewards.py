"""The total reward passed to TRL, and the table of its parts."""

import math
from collections import defaultdict
from typing import Any

import pytest

from stillery.config import RewardWeights
from stillery.records import RewardPart, Rollout, from_table, to_table
from stillery.training.refine.grpo import SummedReward, rollouts_of
from stillery.training.refine.rewards import Part, load_parts, total


def parts(**weights: float) -> list[Part]:
    return [Part(name, lambda *_, **__: [], weight) for name, weight in weights.items()]


def test_the_sum_is_weighted_and_a_row_without_a_verdict_is_left_out() -> None:
    scores: dict[str, list[float | None]] = {"a": [1.0, 0.5, None], "b": [2.0, None, 1.0], "watched": [9.0, 9.0, 9.0]}
    assert total(parts(a=1.0, b=0.25, watched=0.0), scores) == [1.5, None, None]
    assert total(parts(a=1.0, b=0.0, watched=0.0), scores) == [1.0, 0.5, None]


def test_the_combined_reward_takes_the_configs_weights() -> None:
    (part,) = load_parts({"combined": 1.0}, RewardWeights(malformed=-0.5))
    assert list(part.function(["q"], ["nothing"], answer=["1"])) == [-0.5]


def test_what_a_batch_logs_becomes_rollouts() -> None:
    logged: dict[str, list[Any]] = defaultdict(list)
    metrics: dict[str, float] = {}
    reward = SummedReward(load_parts({"correctness": 2.0, "repetition": 0.0}, RewardWeights()), stops=[7])
    texts = ["<think>\nhm\n</think>\n<answer>4</answer>", "<think>\nhm"]
    totals = reward(
        ["q", "q"], texts, [[1, 7], [1, 2]], log_extra=lambda key, values: logged[key].extend(values),
        log_metric=metrics.__setitem__, answer=["4", "4"], prompt_id=["p", "p"], task=["t", "t"],
    )  # fmt: skip
    assert totals == [2.0, 0.0]
    assert metrics == {"part/correctness": 0.5, "part/repetition": 0.0}
    logs = {"extra": logged, "completion": texts, "rewards": {"total": [2.0, math.nan]}, "advantages": [1.0, 0.0]}
    rows = rollouts_of(logs, step=3)
    assert rows[0] == Rollout(
        3, "p", "t", texts[0], 2, "stop", [RewardPart("correctness", 1.0), RewardPart("repetition", 0.0)], 2.0, 1.0
    )
    assert (rows[1].finish_reason, rows[1].reward) == ("length", None)
    assert from_table(to_table(rows, Rollout), Rollout) == rows


def test_an_answer_that_was_cut_off_earns_nothing() -> None:
    logged: dict[str, list[Any]] = defaultdict(list)
    reward = SummedReward(load_parts({"correctness": 1.0}, RewardWeights()), stops=[7])
    text = "<think>\nhm\n</think>\n<answer>4"
    given = {"answer": ["4", "4"], "prompt_id": ["p", "p"], "task": ["t", "t"]}
    totals = reward(
        ["q", "q"], [text, text], [[1, 7], [1, 2]], log_extra=lambda key, values: logged[key].extend(values),
        log_metric=lambda *_: None, **given,
    )  # fmt: skip
    assert totals == [1.0, 0.0]
    assert logged["finish_reason"] == ["stop", "length"]


def test_an_unknown_reward_is_an_error_when_it_is_loaded() -> None:
    with pytest.raises(Exception, match="no reward 'format'"):
        load_parts({"format": 1.0}, RewardWeights())
