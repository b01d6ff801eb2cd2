"""Promotion, rollback and resolving against a real MLflow on SQLite."""

import json
from pathlib import Path
from typing import Any

import pytest

from stillery.benchmark.forgetting import compare, record_of
from stillery.config import RegisterConfig
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Score
from stillery.registry import mlflow_store
from stillery.registry.benchmarks import log_receipt
from stillery.registry.promotion import DECISION_TAG, champions, promote, roll_back
from stillery.registry.resolve import ServedModel, fetch, find_version
from stillery.sampling.models import resolve_model
from support.receipts import receipt_of
from support.registered_models import PROTOCOL, register_folder, scores_at

STUDENT = Path(resolve_model("embedded:student"))


def connected():
    return mlflow_store.connect(mlflow_store.resolve_tracking_uri(None), experiment=RegisterConfig().experiment)


def register_line(*rates: float) -> None:
    """Versions 1, 2, … of the model `coin`, each right at its rate, all from one untouched student."""
    for rate in rates:
        register_folder("coin", STUDENT, after=scores_at(rate), before=scores_at(0.2))


def champion() -> str:
    return find_version("models:/coin@champion", tracking_uri=None).version


def test_the_gate_decides_and_rollback_returns_to_the_one_before() -> None:
    register_line(0.4, 0.8, 0.6)
    assert promote("coin", "1").startswith("models:/coin/1 is the champion now (beats the untouched student")
    promote("coin", "2")
    assert promote("coin", "2") == "models:/coin/2 is the champion already"
    with pytest.raises(UserError, match="does not beat champion version 2"):
        promote("coin", "3")
    assert champion() == "2"

    promote("coin", "3", force="the champion leaks prompts")
    assert champion() == "3"
    with connected() as store:
        record = json.loads(store.client.get_model_version("coin", "3").tags[DECISION_TAG])
        assert (record["promote"], record["forced"]) == (False, "the champion leaks prompts")
        assert [entry["version"] for entry in champions(store, "coin")] == ["1", "2", "3"]

    assert roll_back("coin") == "models:/coin/2 is the champion again (version 3 was)"
    assert champion() == "2"
    # Rolling back twice goes further back, not to and fro.
    roll_back("coin")
    assert champion() == "1"


def test_a_version_that_forgot_a_task_is_refused_and_keeps_its_receipt(tmp_path: Path) -> None:
    register_line(0.8)
    (tmp_path / "run" / "stages").mkdir(parents=True)
    with connected() as store:
        store.client.set_model_version_tag("coin", "1", "stillery.run_uri", str(tmp_path / "run"))
        run_id = store.client.get_model_version("coin", "1").run_id
    changes = compare({"t": scores_at(0.8)}, {"t": scores_at(0.4)}, max_loss=0.02)
    receipt = receipt_of(0.4) | {"forgetting": record_of(changes, against="base", max_loss=0.02)}
    served = find_version("models:/coin/1", tracking_uri=None)
    assert log_receipt(served, receipt, tracking_uri=None).startswith("logged beside models:/coin/1")
    with connected() as store:
        assert store.client.get_run(run_id).data.metrics["benchmark/t/avg_at_5"] == pytest.approx(0.4)
        assert len(store.client.list_artifacts(run_id, "benchmarks")) == 1
    (kept,) = (tmp_path / "run" / "benchmarks").iterdir()
    assert json.loads(kept.read_text()) == receipt
    with pytest.raises(UserError, match=r"coin/1 forgot more than 2 points against base: t -40\.0 points"):
        promote("coin", "1")
    promote("coin", "1", force="the task is not ours")
    assert champion() == "1"


def test_only_what_was_measured_in_one_way_is_compared(tmp_path: Path) -> None:
    """The champion is measured again with the settings of the version's own run, whose location it is given."""
    cold = {**PROTOCOL, "sampling": {"temperature": 0.0}}
    register_folder("coin", STUDENT, after=scores_at(0.4), before=scores_at(0.2))
    register_folder("coin", STUDENT, after=scores_at(0.8), before=scores_at(0.2), protocol=cold)
    promote("coin", "1")
    asked: list[tuple[str, ...]] = []

    def measure(run_uri: str, config: str, prompts: str, checkpoint: Path) -> tuple[Folder, dict[str, Any]]:
        asked.append((run_uri, config, prompts))
        assert (checkpoint / "model.safetensors").read_bytes() == (STUDENT / "model.safetensors").read_bytes()
        Folder(str(tmp_path)).write_rows("scores.parquet", scores_at(0.6), Score)
        return Folder(str(tmp_path)), {"protocol": cold}

    with pytest.raises(UserError, match=r"temperature 1\.0 against 0\.0.*not registered by a run"):
        promote("coin", "2", measure_as_in=measure)
    with connected() as store:
        version = store.client.get_model_version("coin", "2")
        store.client.set_model_version_tag("coin", "2", "stillery.run_uri", "/a/run")
        store.client.log_text(version.run_id, "run: {seed: 7}", "config.yaml")
        inputs = {"prompts.measured": {"fingerprint": "f00", "content": "c00"}}
        store.client.log_dict(version.run_id, {"inputs": inputs}, "manifests/evaluate_after.json")
    with pytest.raises(UserError, match="nothing here measures"):
        promote("coin", "2")
    assert "beats champion version 1: test pass@1 +20.0 points" in promote("coin", "2", measure_as_in=measure)
    assert asked == [("/a/run", "run: {seed: 7}", "f00")]


def test_a_champion_that_was_set_by_hand_can_be_rolled_back_to() -> None:
    register_line(0.4, 0.8)
    with connected() as store:
        store.client.set_registered_model_alias("coin", "champion", "1")
    promote("coin", "2")
    roll_back("coin")
    assert champion() == "1"


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="no such registered model"):
        promote("coin", "1")
    with pytest.raises(UserError, match="has no such model"):
        find_version("models:/coin@champion", tracking_uri=None)
    register_line(0.4)
    with pytest.raises(UserError, match=r"no such version \(versions: 1\)"):
        promote("coin", "7")
    with pytest.raises(UserError, match=r"no such version \(versions: 1\)"):
        find_version("models:/coin/7", tracking_uri=None)
    with pytest.raises(UserError, match="no version has this alias"):
        find_version("models:/coin@champion", tracking_uri=None)
    with pytest.raises(UserError, match="no champion to roll back from"):
        roll_back("coin")
    promote("coin", "1")
    with pytest.raises(UserError, match="no champion before version 1"):
        roll_back("coin")
    with pytest.raises(UserError, match="expected models:/NAME@ALIAS"):
        find_version("models:/coin", tracking_uri=None)
    with pytest.raises(UserError, match="reason"):
        promote("coin", "1", force=" ")


def test_a_version_without_scores_is_promoted_by_force_only() -> None:
    register_folder("coin", STUDENT)
    with pytest.raises(UserError, match="its run has no scores"):
        promote("coin", "1")
    promote("coin", "1", force="the first one")
    assert champion() == "1"


def test_a_version_is_fetched_once_and_then_without_the_registry(tmp_path: Path) -> None:
    register_line(0.4)
    served = find_version("models:/coin/1", tracking_uri=None)
    folder = Path(fetch(served, tracking_uri=None))
    assert (folder / "model.safetensors").read_bytes() == (STUDENT / "model.safetensors").read_bytes()
    assert [p for p in folder.parent.iterdir() if p.name.endswith(".partial")] == []
    Path(mlflow_store.resolve_tracking_uri(None).removeprefix("sqlite:///")).unlink()
    assert Path(fetch(served, tracking_uri=None)) == folder


def test_a_version_whose_files_are_gone_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    version = register_folder("coin", tmp_path / "nowhere")
    served = ServedModel(version, f"models:/coin/{version}")
    with pytest.raises(UserError, match="models:/coin/1 could not be fetched"):
        fetch(served, tracking_uri=None)
    with pytest.raises(UserError, match="could not be fetched"):
        fetch(served, tracking_uri=None)


def test_a_folder_is_no_registered_version(tmp_path: Path) -> None:
    assert find_version(str(STUDENT), tracking_uri=None).version == "unregistered"
    with pytest.raises(UserError, match="not a Hugging Face model folder"):
        find_version(str(tmp_path), tracking_uri=None)
