"""A refined student in a real MLflow: its own version, with the fine-tuned one as its parent, both gated."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from integration.test_registry import checkpoint, make_outputs, refuse_to_measure, score_rows
from stillery.config import Config
from stillery.io.run_folder import Output, Run
from stillery.io.storage import Folder
from stillery.metrics import summarize
from stillery.records import Score
from stillery.stages import register
from stillery.stages.stage import StageContext

__all__ = ["checkpoint"]

TUNED, REFINED = 0.5, 1.0


def make_job(folder: Path, home: Path) -> StageContext:
    """The registration of a run in which refinement has raised accuracy."""
    outputs = dict(make_outputs(folder, before=0.25, after=REFINED))
    run = Run(Folder(str(folder)), "abc123")
    rows = score_rows(TUNED)
    run.stage_folder("evaluate_sft", "fp-evaluate_sft").write_rows("scores.parquet", rows, Score)
    history = [{"step": 0, "validation/pass@1": 0.5}, {"step": 1, "loss": 0.1, "reward": 0.5}]
    run.stage_folder("refine", "fp-refine").write_bytes("history.json", json.dumps(history).encode())
    protocol = {"sampling": {"temperature": 1.0}}
    summaries = {"refine": {"kept_step": 1}, "evaluate_sft": {**summarize(rows, ks=[1, 4]), "protocol": protocol}}
    for stage, summary in summaries.items():
        made: Output = run.complete(stage, f"fp-{stage}", version=1, settings={}, inputs={}, summary=summary)
        outputs[stage] = made
    config = Config()
    config.refine.enabled = True
    config.register.tracking_uri = f"sqlite:///{home}/mlflow.db"
    return StageContext(config, run, outputs, run.stage_folder("register", "fp-register"))


def place_checkpoints(job: StageContext, checkpoint: Path) -> None:
    for stage in ("sft", "refine"):
        folder = job.folder(stage).local / "checkpoint"
        folder.mkdir(parents=True, exist_ok=True)
        for path in checkpoint.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())


def register_of(job: StageContext) -> dict[str, Any]:
    return register.STAGE.run(job)


def test_the_fine_tuned_student_is_the_parent_of_the_refined_one(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setattr(register, "measure_model", lambda *_: refuse_to_measure(checkpoint))
    job = make_job(tmp_path / "run", tmp_path)
    place_checkpoints(job, checkpoint)
    refined = register_of(job)
    assert (refined["version"], refined["parent"]) == ("2", "1")
    assert refined["aliases"] == ["challenger", "champion"]
    assert "beats champion version 1" in refined["decision"]
    uri = job.config.register.tracking_uri
    client = mlflow.MlflowClient(uri, uri)
    tuned = client.get_model_version("stillery-student", "1")
    assert "stillery.fingerprint.refine" not in tuned.tags
    model = client.get_logged_model(tuned.source.removeprefix("models:/"))
    assert {m.key: m.value for m in model.metrics}["student_after/test/pass_at_1"] == pytest.approx(0.5)
    run_id = client.get_model_version("stillery-student", "2").run_id or ""
    assert [m.value for m in client.get_metric_history(run_id, "refine/reward")] == [0.5]
    # A second refinement of the same student finds its parent there.
    again = dataclasses.replace(job, out=job.run.stage_folder("register", "fp-register-2"))
    other = register_of(again)
    assert (other["version"], other["parent"]) == ("3", "1")
