"""LiteRT's own environment: the message if it is absent, and a process in it that ends."""

import sys
from pathlib import Path

import pytest

from stillery.errors import UserError
from stillery.export.candidates import find_candidates
from stillery.export.formats import all_formats, format_named
from stillery.export.formats.litert.format import FILE, LitertFormat
from stillery.export.formats.litert.runtime import VARIABLE
from stillery.export.parity.gate import weight_bits
from support.export_models import STUDENT


@pytest.fixture
def other_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without LiteRT: this one."""
    monkeypatch.setenv(VARIABLE, sys.executable)


def test_without_an_environment_the_error_says_how_to_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(UserError, match=rf"\${VARIABLE} is not set: `uv venv .* litert-torch==.*{VARIABLE}=DIR"):
        format_named("litert")
    assert "litert" not in all_formats()
    monkeypatch.setenv(VARIABLE, "/nowhere/python")
    with pytest.raises(UserError, match="/nowhere/python is no interpreter"):
        find_candidates(["litert"], [])


@pytest.mark.usefixtures("other_python")
def test_all_includes_it_where_its_environment_is_named() -> None:
    assert all_formats()[-1] == "litert"
    assert [q for _, q in find_candidates(["litert"], [])] == ["int8", "int4"]
    assert [weight_bits(q) for q in LitertFormat().quantizations] == [32, 8, 4]


@pytest.mark.usefixtures("other_python")
def test_an_environment_without_its_packages_is_told_with_the_end_of_its_output(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"litert converter(.|\n)*No module named 'litert_torch'"):
        LitertFormat().write(STUDENT, tmp_path, quantization="fp32", calibration=())
    (tmp_path / FILE).write_bytes(b"LITERTLM")
    with pytest.raises(UserError, match=r"ended with exit code 1(.|\n)*No module named 'litert_lm'"):
        LitertFormat().load(tmp_path)


@pytest.mark.usefixtures("other_python")
def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="litert has no quantization 'Q4_0'; it has fp32, int8, int4"):
        LitertFormat().write(STUDENT, tmp_path, quantization="Q4_0", calibration=())
    with pytest.raises(UserError, match=f"has no {FILE}; export the model again"):
        LitertFormat().load(tmp_path)


@pytest.mark.usefixtures("other_python")
def test_the_commands_name_the_file_and_each_device() -> None:
    text = LitertFormat().how_to_run(Path("exports/student-int8"))
    for said in ('Engine("exports/student-int8/model.litertlm"', "adb push exports/", "litertlm-android", "LiteRTLM"):
        assert said in text
