"""The artifacts that `stillery parity` accepts, and its message for an unknown one."""

import json
from pathlib import Path

import pytest

from stillery.cli.main import main
from stillery.errors import UserError
from stillery.export.parity.artifact import open_artifact, quantization_of

pytest.importorskip("gguf", reason="the extra `edge` is not installed")
pytest.importorskip("xllamacpp", reason="the extra `edge` is not installed")


def test_a_file_and_the_folder_around_it_are_the_same_artifact(tmp_path: Path) -> None:
    file = tmp_path / "some-model.Q4_K_M.gguf"
    file.write_bytes(b"GGUF")
    for given in (file, tmp_path):
        edge_format, path = open_artifact(given)
        assert (edge_format.name, path) == ("gguf", file)


def test_one_file_of_several_is_that_one(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    assert open_artifact(tmp_path / "b.gguf")[1] == tmp_path / "b.gguf"
    with pytest.raises(UserError, match=r"a folder with one; found a\.gguf, b\.gguf"):
        open_artifact(tmp_path)


def test_a_folder_of_weights_is_for_vllm_and_one_with_a_file_of_another_format_is_not(tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    (tmp_path / "config.json").write_text("{}")
    edge_format, path = open_artifact(tmp_path)
    assert (edge_format.name, path) == ("vllm", tmp_path)
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    assert open_artifact(tmp_path)[0].name == "gguf"


def test_what_is_no_artifact_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file or folder"):
        open_artifact(tmp_path / "gone.gguf")
    with pytest.raises(UserError, match=r"found none of \*.gguf, genai_config.json"):
        open_artifact(tmp_path)


def test_the_quantization_is_the_manifests_or_the_headers_or_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"no header")
    edge_format, _ = open_artifact(file)
    with pytest.raises(UserError, match=r"m\.gguf: is no whole GGUF file"):
        quantization_of(edge_format, file)
    (tmp_path / "manifest.json").write_text(json.dumps({"quantization": "Q5_0"}))
    assert quantization_of(edge_format, file) == "Q5_0"


def test_the_command_says_it_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", "embedded:student", str(tmp_path / "gone.gguf")]) == 2
    assert "gone.gguf: there is no such file or folder" in capsys.readouterr().err
