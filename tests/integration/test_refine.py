"""The stage refine with real workers: engines that agree with the trained model, a killed worker, and pairs."""

import datetime
import json
import math
import threading
from pathlib import Path
from typing import Any

import pytest

from integration.test_training_state import is_trained, kill_a_worker
from stillery.config import RefineConfig, SftConfig
from stillery.io.storage import Folder
from stillery.records import Rollout, from_table
from stillery.sampling.models import resolve_model
from stillery.stages.refine import refine
from stillery.training.refine.stopping import LOGPROB_DIFFERENCE, best_step, validations_of
from support.refine_runs import write_tables

pytestmark = pytest.mark.usefixtures("ray_cluster")

TRL: dict[str, Any] = {"per_device_train_batch_size": 8, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Folder]:
    return write_tables(tmp_path_factory.mktemp("tables"))


def run(out: Path, tables: dict[str, Folder], **settings: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Refine the embedded student. Returns the summary and the history."""
    values: dict[str, Any] = {
        "enabled": True, "steps": 4, "num_generations": 4, "max_completion_length": 48, "validate_every": 2,
        "validation_problems": 4, "validation_samples": 2, "trl": TRL, "scratch": str(out / "scratch"),
        "engine": {"max_model_len": 512},
    }  # fmt: skip
    summary = refine(
        RefineConfig(**values | settings), sft=SftConfig(), seed=0, now=datetime.datetime(2026, 1, 1),
        student=resolve_model("embedded:student"), teacher="embedded:teacher", **tables, out=Folder(str(out)),
    )  # fmt: skip
    return summary, json.loads((out / "history.json").read_text())


def test_grpo_samples_with_the_weights_that_learn(tmp_path: Path, tables: dict[str, Folder]) -> None:
    # A reward that varies: how many digits there are.
    rewards = {"support.refine_rewards:digits": 1.0, "correctness": 0.0}
    summary, history = run(tmp_path, tables, num_workers=2, rewards=rewards)
    steps = [row for row in history if "reward" in row]
    assert [row["step"] for row in steps] == [1, 2, 3, 4]
    assert max(row["grad_norm"] for row in steps) > 0
    assert max(row[LOGPROB_DIFFERENCE] for row in steps) < 1e-5, "vLLM samples from other weights than those that learn"
    assert set(validations_of(history)) == {0, 2, 4}
    assert summary["kept_step"] == best_step(history)
    rollouts = from_table(Folder(str(tmp_path)).read_all(Rollout), Rollout)
    assert len(rollouts) == 4 * 16
    for row in rollouts:
        parts = {part.name: part.value for part in row.parts}
        assert row.reward == pytest.approx(parts["support.refine_rewards:digits"])
        assert parts["correctness"] in (0.0, 1.0)
    groups = [rollouts[start : start + 4] for start in range(0, len(rollouts), 4)]
    assert all(len({row.prompt_id for row in group}) == 1 for group in groups)
    assert all(math.isclose(sum(row.advantage for row in group), 0, abs_tol=1e-5) for group in groups)


def test_a_killed_worker_changes_no_step_of_an_adapter(tmp_path: Path, tables: dict[str, Folder]) -> None:
    settings: dict[str, Any] = {
        "rollouts": "transformers",
        "rewards": {"support.refine_rewards:digits": 1.0},
        "steps": 8,
        "peft": {"r": 4},
    }
    _, whole = run(tmp_path / "whole", tables, **settings)
    out = tmp_path / "killed"
    killer = threading.Thread(target=kill_a_worker, args=(out / "ray_train",), daemon=True)
    killer.start()
    _, killed = run(out, tables, **settings)
    assert not killer.is_alive(), "no worker was killed"
    assert _curve(killed) == _curve(whole)
    names = [path.name for path in sorted(out.glob("rollouts-*.parquet"))]
    assert names == [f"rollouts-{step:06d}.parquet" for step in (2, 4, 6, 8)]
    one, other = (from_table(Folder(str(f)).read_all(Rollout), Rollout) for f in (tmp_path / "whole", out))
    assert one == other


def test_dpo_learns_from_pairs(tmp_path: Path, tables: dict[str, Folder]) -> None:
    settings: dict[str, Any] = {"method": "dpo", "rollouts": "transformers", "validate_every": 3, "steps": 3}
    summary, history = run(tmp_path, tables, **settings)
    assert summary["pairs"] == 16
    margins = [row["rewards/margins"] for row in history if "rewards/margins" in row]
    assert margins[0] == pytest.approx(0, abs=1e-6)
    assert margins[-1] > 0
    assert is_trained(tmp_path / "checkpoint") == (summary["kept_step"] > 0)


def test_distillation_draws_an_adapter_to_the_teacher(tmp_path: Path, tables: dict[str, Folder]) -> None:
    # An adapter's weights are merged for each sampling by vLLM.
    settings: dict[str, Any] = {"method": "distill", "steps": 6, "validate_every": 6, "trl": {**TRL, "beta": 0.5}}
    summary, history = run(tmp_path, tables, **settings, peft={"r": 8})
    losses = [row["loss"] for row in history if "loss" in row]
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    assert is_trained(tmp_path / "checkpoint") == (summary["kept_step"] > 0)
    assert (tmp_path / "adapter").exists() == (summary["kept_step"] > 0)


def _curve(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    timed = ("seconds", "tokens_per_s", "step_time", "num_tokens")
    rows = [row for row in history if "train_runtime" not in row]
    return [{k: v for k, v in row.items() if k not in timed and not k.startswith("profiling")} for row in rows]
