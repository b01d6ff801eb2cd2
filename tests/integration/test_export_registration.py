"""`stillery export models:/NAME/VERSION`: the files beside the model version in MLflow afterwards."""

import json
from pathlib import Path

import pytest

pytest.importorskip("gguf", reason="the extra `edge` is not installed")
pytest.importorskip("xllamacpp", reason="the extra `edge` is not installed")

from stillery.cli.main import main
from stillery.config import RegisterConfig
from stillery.registry import mlflow_store
from support.export_models import STUDENT
from support.registered_models import register_folder

SIZES = ("export.num_problems=8", "export.max_new_tokens=48", "export.max_positions=150")


@pytest.fixture
def store_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STILLERY_HOME", str(tmp_path / "home"))
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def test_the_command_logs_artifacts_with_manifest_and_card_and_the_reports_of_refused_ones(
    tmp_path: Path, store_uri: str
) -> None:
    version = register_folder("edge", STUDENT, tracking_uri=store_uri)
    arguments = ["export", "--format", "gguf", "--quantization", "Q8_0,Q4_0", "--out", str(tmp_path / "out")]
    settings = (*SIZES, "export.four_bit.max_kl=0", f"register.tracking_uri={store_uri}")
    assert main([*arguments, f"models:/edge/{version}", *settings]) == 0
    with mlflow_store.connect(store_uri, experiment=RegisterConfig().experiment) as store:
        found = store.client.get_model_version("edge", version)
        logged = Path(store.client.download_artifacts(found.run_id, "exports", str(tmp_path)))
    kept = logged / f"edge-v{version}-gguf-Q8_0"
    assert {path.name for path in logged.iterdir()} == {kept.name, f"edge-v{version}-gguf-Q4_0.failed.json"}
    assert {path.name for path in kept.iterdir()} == {"model.gguf", "Modelfile", "manifest.json", "README.md"}
    manifest = json.loads((kept / "manifest.json").read_text())
    assert manifest["source"]["model"] == f"models:/edge/{version}"
    assert manifest["source"]["run_id"] == found.run_id
    assert manifest["parity"]["num_answers"] == 8
    report = json.loads((logged / f"edge-v{version}-gguf-Q4_0.failed.json").read_text())
    assert "kl" in report["failed"]
    tags = {name.removeprefix("stillery.export."): value for name, value in found.tags.items()}
    assert tags["gguf.Q8_0"].startswith(f"{manifest['size_bytes']} bytes, KL ")
    assert tags["gguf.Q4_0"].startswith("refused: ")
    assert "kl" in tags["gguf.Q4_0"]


def test_a_budget_that_nothing_meets_is_told_and_a_relative_folder_in_a_submitted_job_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["export", "--format", "gguf", "--quantization", "Q4_0", "--max-size-mb", "0.1"]
    assert main([*arguments, "--out", str(tmp_path / "out"), "embedded:student", *SIZES]) == 1
    said = capsys.readouterr().out
    assert "nothing fits 0.1 MB: the smallest is gguf Q4_0 with 0.5" in said
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["best"] is None
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert main([*arguments, "embedded:student"]) == 2
    assert "--out exports is relative, and a submitted job's folder is temporary" in capsys.readouterr().err
