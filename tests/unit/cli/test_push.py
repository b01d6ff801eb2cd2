"""The uploads of `stillery push`, with the Hub replaced, and its refusals before uploading anything."""

from pathlib import Path
from typing import Any

import pytest

from stillery.cli.main import main


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The requests to the Hub, with the names of the uploaded files."""
    import huggingface_hub

    asked: list[dict[str, Any]] = []

    class Hub:
        def create_repo(self, to: str, **options: Any) -> str:
            asked.append({"made": to, **options})
            return f"https://hub.example/{to}"

        def upload_folder(self, *, folder_path: Path, **options: Any) -> None:
            asked.append({"files": sorted(path.name for path in folder_path.iterdir()), **options})

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    return asked


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "student-gguf-Q8_0"
    folder.mkdir()
    for name in ("model.gguf", "README.md", "manifest.json"):
        (folder / name).write_text("{}")
    return folder


def finished_run(home: Path) -> None:
    stage = home / "runs" / "mine" / "stages" / "curate" / "f00"
    (stage / "choices").mkdir(parents=True)
    (home / "runs" / "mine" / "run.yaml").write_text("run: {}")
    for name in ("samples-00000.parquet", "README.md", "choices/choices-00000.parquet"):
        (stage / name).write_text(name)
    (stage / "manifest.json").write_text('{"stage": "curate", "fingerprint": "f00", "finished": "2026"}')


def test_an_artifact_goes_up_as_it_is(
    artifact: Path, hub: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(artifact), "--to", "me/student", "--private"]) == 0
    assert hub[0] == {"made": "me/student", "repo_type": "model", "private": True, "exist_ok": True}
    assert hub[1]["files"] == ["README.md", "manifest.json", "model.gguf"]
    assert (
        capsys.readouterr().out
        == "https://hub.example/me/student: 3 files, 0.0 MB, as a model; its card states no licence\n"
    )


def test_a_training_set_goes_up_as_a_data_set_without_what_was_left_out(
    tmp_path: Path, hub: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLERY_HOME", str(tmp_path))
    finished_run(tmp_path)
    assert main(["push", "mine", "--to", "me/traces"]) == 0
    assert hub[1]["repo_type"] == "dataset"
    assert hub[1]["files"] == ["README.md", "samples-00000.parquet"]


def test_a_folder_shows_what_would_go_up(
    artifact: Path, tmp_path: Path, hub: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "look"
    (artifact / "README.md").write_text("---\nlicense: mit\n---\n")
    assert main(["push", str(artifact), "--out", str(out)]) == 0
    assert "as a model; licence mit; nothing was uploaded" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "manifest.json", "model.gguf"]
    assert main(["push", str(artifact), "--out", str(out)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert hub == []


def test_what_cannot_be_pushed_is_named(
    artifact: Path, hub: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(artifact)]) == 2
    assert "give --to ORG/NAME, or --out FOLDER" in capsys.readouterr().err
    (artifact / "README.md").unlink()
    assert main(["push", str(artifact), "--to", "me/student"]) == 2
    assert "has no README.md; write a model card" in capsys.readouterr().err
    assert main(["push", "nothing", "--to", "me/student"]) == 2
    assert "no run nothing" in capsys.readouterr().err
    assert hub == []


def test_what_the_hub_refuses_is_one_line(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Tests run without the Hub, and a name that it could not have is refused before that.
    assert main(["push", str(artifact), "--to", "not a name"]) == 2
    assert "push: not a name: " in capsys.readouterr().err
    assert main(["push", str(artifact), "--to", "me/student"]) == 2
    assert "push: me/student: " in capsys.readouterr().err
