"""The required contents of a new replica's answer to the probe."""

from typing import Any

import pytest

from stillery.serving.backend import Opening
from stillery.serving.model_server import engine_class, judge_probe, placement_bundles
from stillery.serving.settings import EngineSettings, ProbeSettings


def answered(text: str, finish_reason: str = "stop") -> Opening:
    tokens: list[dict[str, Any]] = [{"token": letter} for letter in text]
    choice = {"finish_reason": finish_reason, "message": {}, "logprobs": {"content": tokens}}
    return Opening(200, "3", {"choices": [choice]})


@pytest.mark.parametrize(
    ("text", "require", "complaint"),
    [
        ("<think>1 + 1 = 2</think><answer>2</answer>", "thinking", ""),
        ("<answer>2</answer>", "answer", ""),
        ("<answer>2</answer>", "thinking", "without thinking"),
        ("<think> </think><answer>2</answer>", "thinking", "without thinking"),
        ("babble", "answer", "no answer"),
        ("<think>1</think><answer>2", "answer", "no answer"),
        ("<answer></answer>", "answer", "no answer"),
        ("babble", "stop", ""),
    ],
)
def test_an_answer_holds_what_is_required(text: str, require: str, complaint: str) -> None:
    judged = judge_probe(answered(text), ProbeSettings(require=require))
    assert complaint in judged
    assert bool(judged) == bool(complaint)


@pytest.mark.parametrize("require", ["answer", "thinking", "stop"])
def test_a_completion_that_does_not_stop_fails(require: str) -> None:
    opening = answered("<think>1</think><answer>2</answer>", "length")
    assert "did not stop" in judge_probe(opening, ProbeSettings(require=require))


def test_an_error_fails() -> None:
    assert "500" in judge_probe(Opening(500, "3", {"error": {}}), ProbeSettings())


@pytest.mark.parametrize(
    ("num_gpus", "expected"),
    [
        (0.0, [{"CPU": 2.0}]),
        (1.0, [{"CPU": 2.0, "GPU": 1.0}]),
        (0.5, [{"CPU": 2.0, "GPU": 0.5}]),
        (2.0, [{"CPU": 2.0, "GPU": 1.0}, {"GPU": 1.0}]),
    ],
)
def test_a_replica_takes_its_cpus_and_a_bundle_for_each_gpu(num_gpus: float, expected: list[dict[str, float]]) -> None:
    assert placement_bundles(EngineSettings(num_cpus=2, num_gpus=num_gpus)) == expected


@pytest.mark.parametrize(
    "engine", [EngineSettings(num_gpus=1), EngineSettings(kwargs={"tensor_parallel_size": 2})], ids=["GPU", "spread"]
)
def test_only_an_engine_of_one_cpu_worker_keeps_it_in_its_process(engine: EngineSettings) -> None:
    assert engine_class(engine) is None
