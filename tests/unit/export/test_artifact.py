"""The result on disk: a complete artifact, or a report, and never anything in between."""

import json
import os
from pathlib import Path

import pytest

from stillery.config import ExportConfig
from stillery.errors import UserError
from stillery.export.artifact import Exporter
from stillery.export.checkpoint import open_checkpoint
from stillery.export.parity.figures import ask_reference
from stillery.export.sources import ExportSource
from stillery.records import Prompt
from support.export_models import STUDENT
from support.table_runtime import END, TableFormat, TableRuntime, decode, table_for


def exporter(out: Path) -> Exporter:
    problem = Prompt("1", "sum", "1+1", "42", "number", [], "test", "test", None, None)
    reference = ask_reference(
        TableRuntime(table_for("42")), [problem], [], end_tokens=(END,), decode=decode, max_new_tokens=8,
        max_positions=20, context=100,
    )  # fmt: skip
    source = ExportSource("student", "embedded:student", STUDENT)
    return Exporter(source, open_checkpoint(STUDENT), reference, ExportConfig(), [], out)


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), UserError("can't be expressed"), OSError(28, "full")])
def test_an_export_that_breaks_off_leaves_nothing(tmp_path: Path, fault: BaseException) -> None:
    with pytest.raises(type(fault)):
        exporter(tmp_path).make(TableFormat(fault), "fp32")
    assert list(tmp_path.iterdir()) == []


def test_a_runtime_that_fails_leaves_the_report_and_no_file(tmp_path: Path) -> None:
    """The process that measures speed knows no format `table`, as one whose runtime crashes."""
    earlier = tmp_path / "student-table-int4"
    earlier.mkdir()
    (earlier / "table.json").write_text("of another checkpoint")
    outcome = exporter(tmp_path).make(TableFormat(), "int4")
    assert outcome.folder is None
    assert outcome.failed == ["converter:runs"]
    assert [path.name for path in tmp_path.iterdir()] == ["student-table-int4.failed.json"]
    report = json.loads((tmp_path / "student-table-int4.failed.json").read_text())
    assert report["failed"] == ["converter:runs"]
    assert "format 'table' isn't known" in report["checks"][0]["detail"]


def test_what_a_killed_export_left_is_removed_and_a_running_ones_is_not(tmp_path: Path) -> None:
    dead, alive = tmp_path / ".partial-4194304999-x", tmp_path / f".partial-{os.getpid()}-x"
    dead.mkdir()
    alive.mkdir()
    exporter(tmp_path).make(TableFormat(), "fp32")
    assert not dead.exists()
    assert alive.exists()


def test_a_full_disk_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000_000})())
    with pytest.raises(UserError, match=r"0\.0 GB free.*choose another --out"):
        exporter(tmp_path).make(TableFormat(), "fp32")
    assert list(tmp_path.iterdir()) == []
