"""The configs for real clusters: each loads, passes every check that needs no cluster, and plans."""

from pathlib import Path

import pytest

from stillery.cluster.placement import Nodes, check_demands, demands_of
from stillery.config import Config, load_config
from stillery.config.passthrough import check_tables
from stillery.pipeline.order import STAGES
from stillery.pipeline.preflight import check
from stillery.plan.estimate import make_plan, read_models

CONFIGS = Path(__file__).parents[3] / "jobs" / "configs"
EIGHT_GPUS = Nodes(1, {"CPU": 96.0, "GPU": 8.0})
NODES = {
    "qwq-32b-to-qwen3-0.6b": EIGHT_GPUS,
    "qwq-32b-to-qwen3-1.7b": EIGHT_GPUS,
    "deepseek-r1-endpoint-to-qwen2.5-7b": EIGHT_GPUS,
    "one-gpu": Nodes(1, {"CPU": 8.0, "GPU": 1.0}),
}


@pytest.fixture(params=sorted(NODES))
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MATH_DIR", "/data/math")
    monkeypatch.setenv("GSM8K_DIR", "/data/gsm8k")
    monkeypatch.setenv("DEEPSEEK_API_KEY", "a key")
    return str(request.param)


def load(name: str, *overrides: str) -> Config:
    return load_config(CONFIGS / f"{name}.yaml", overrides)


def test_it_passes_the_checks_of_a_run_and_fits_the_nodes_it_is_for(name: str) -> None:
    config = load(name)
    check_tables(config)
    check(config)
    check_demands(demands_of(config, {stage.name for stage in STAGES}), [NODES[name]])


def test_it_plans_and_fits(name: str) -> None:
    config = load(name)
    plan = make_plan(config, read_models(config, model_configs={}))
    assert plan.problems == []
    assert plan.gpus <= (config.plan.num_gpus or 0)
    assert plan.seconds is not None
    assert plan.seconds > 3600


def test_the_32b_teacher_is_refused_on_one_gpu_and_told_what_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATH_DIR", "/data/math")
    one = ("teacher.engine.tensor_parallel_size=1", "teacher.num_gpus=1", "plan.gpu_memory_gib=48")
    config = load("qwq-32b-to-qwen3-0.6b", *one)
    (problem,) = make_plan(config, read_models(config, model_configs={})).problems
    assert problem.startswith("teacher: Qwen/QwQ-32B does not fit")
    assert "teacher.engine.tensor_parallel_size=2 with teacher.num_gpus=2" in problem
    fixed = load("qwq-32b-to-qwen3-0.6b", "teacher.engine.tensor_parallel_size=2", "teacher.num_gpus=2", one[2])
    assert make_plan(fixed, read_models(fixed, model_configs={})).fits
