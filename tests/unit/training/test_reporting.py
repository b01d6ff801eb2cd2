"""Live curves: the reporters that a config selects, refusals before the first stage, and what reaches MLflow."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from stillery.config import load_config
from stillery.config.passthrough import check_tables
from stillery.config.reporters import is_installed, reporters_of
from stillery.errors import UserError
from stillery.training.reporting import live_callbacks, prompts_of, reporting_arguments


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({}, ["mlflow"]),
        ({"report_to": "none"}, []),
        ({"report_to": []}, []),
        ({"report_to": "wandb"}, ["wandb"]),
        ({"report_to": ["tensorboard", "mlflow"]}, ["tensorboard", "mlflow"]),
    ],
)
def test_what_a_table_means(table: dict[str, Any], expected: list[str]) -> None:
    assert reporters_of(table) == expected


def test_all_are_those_that_are_installed() -> None:
    found = reporters_of({"report_to": "all"})
    assert "mlflow" in found
    assert all(map(is_installed, found))


def test_a_reporter_that_is_not_there_is_refused_with_its_remedy() -> None:
    with pytest.raises(UserError, match=r"sft\.trl.report_to: no reporter 'wandbb'; did you mean wandb"):
        check_tables(load_config(overrides=["sft.trl.report_to=wandbb"]))
    if is_installed("comet_ml"):
        pytest.skip("comet_ml is installed")
    with pytest.raises(UserError, match=r"refine\.trl.report_to: comet_ml is not installed; pip install comet_ml"):
        check_tables(load_config(overrides=["refine.enabled=true", "refine.trl.report_to=[comet_ml]"]))


def test_tensorboards_files_outlive_the_nodes_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    told = {"out": str(tmp_path), "run_name": "demo sft"}
    assert reporting_arguments({**told, "reporters": ["mlflow"]}) == {"report_to": "none", "run_name": "demo sft"}
    assert reporting_arguments({**told, "reporters": ["mlflow", "tensorboard"]})["report_to"] == ["tensorboard"]
    import os

    assert os.environ.pop("TENSORBOARD_LOGGING_DIR") == str(tmp_path / "tensorboard")


@pytest.mark.slow
def test_curves_and_generations_reach_mlflow_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from stillery.config import RegisterConfig
    from stillery.registry import mlflow_store
    from stillery.registry.live import live_run
    from stillery.training import live_mlflow

    monkeypatch.setattr(live_mlflow, "generations", lambda model, _, prompts: f"{model} {len(prompts)}")
    config = RegisterConfig(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    told = {"trl": {}, "name": "demo sft", "out": "/runs/demo/stages/sft/f0", "settings": {"sft": {"student": "s"}}}
    state = TrainerState(log_history=[], is_world_process_zero=True)
    with live_run(config, **told) as live:
        assert live is not None
        (callback,) = live_callbacks({"live": live}, shown=[[1, 2], [3]])
        arguments: Any = argparse.Namespace(fsdp=[], deepspeed=None, spec=TrainingArguments)
        callback.on_train_begin(arguments, state, TrainerControl())
        for step, loss in ((10, 2.0), (20, float("nan")), (30, 1.0)):
            state.global_step = step
            state.log_history.append({"loss": loss, "step": step})
            callback.on_log(arguments, state, TrainerControl())
        callback.on_evaluate(arguments, state, TrainerControl(), model="m", processing_class="t")
    with live_run(config, **told) as again:
        assert again == live, "a run that goes on goes on there"
    with mlflow_store.connect(str(config.tracking_uri), experiment=config.experiment) as store:
        run = store.client.get_run(live["run_id"])
        assert run.info.status == "FINISHED"
        assert run.data.params["sft.student"] == "s"
        points = store.client.get_metric_history(live["run_id"], "loss")
        assert [(point.step, point.value) for point in points] == [(10, 2.0), (30, 1.0)]
        assert [a.path for a in store.client.list_artifacts(live["run_id"], "samples")] == ["samples/step-000030.txt"]


def test_a_store_on_another_machine_or_one_that_fails_ends_nothing(tmp_path: Path) -> None:
    from transformers import TrainerControl, TrainerState

    from stillery.training.live_mlflow import LiveMlflow

    gone = {"tracking_uri": f"sqlite:///{tmp_path}/gone.db", "run_id": "r"}
    assert live_callbacks({"live": gone}) == []
    assert live_callbacks({"live": None}) == []
    callback = LiveMlflow("file-of-no-store://x", "r")

    class Failing:
        calls = 0

        def log_batch(self, *_: Any, **__: Any) -> None:
            self.calls += 1
            raise ConnectionError("refused")

    failing = Failing()
    callback._client = failing
    state = TrainerState(log_history=[{"loss": 1.0, "step": 1}], is_world_process_zero=True)
    callback.on_log(argparse.Namespace(), state, TrainerControl())
    state.log_history.append({"loss": 1.0, "step": 2})
    callback.on_log(argparse.Namespace(), state, TrainerControl())
    assert failing.calls == 1, "it is told of once, and not asked again"


@pytest.mark.slow
def test_an_unreachable_server_stops_only_those_who_asked_for_it() -> None:
    from stillery.config import RegisterConfig
    from stillery.registry.live import live_run

    config = RegisterConfig(tracking_uri="http://127.0.0.1:9")
    told = {"name": "n", "out": "o", "settings": {}}
    with live_run(config, trl={}, **told) as live:
        assert live is None
    with pytest.raises(UserError, match="cannot be used"), live_run(config, trl={"report_to": "mlflow"}, **told):
        pass
    with live_run(config, trl={"report_to": "none"}, **told) as live:
        assert live is None


def test_prompts_are_what_no_loss_falls_on() -> None:
    from datasets import Dataset

    rows = Dataset.from_list([{"input_ids": [5, 6, 7], "labels": [-100, -100, 7]}] * 3)
    assert prompts_of(rows) == [[5, 6], [5, 6]]
    assert prompts_of(None) == []
