"""Runs: outputs are complete or absent, fingerprints identify their inputs, one driver works at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from stillery.config import Config, load_config
from stillery.errors import UserError
from stillery.io.run_folder import Output, fingerprint_of, open_run, run_uri
from stillery.io.storage import Folder
from stillery.records import Message


def config_at(path: Path) -> Config:
    return load_config(None, [f"run.dir={path}"])


def test_an_output_is_complete_only_with_its_manifest(tmp_path: Path) -> None:
    with open_run(config_at(tmp_path / "run")) as run:
        folder = run.stage_folder("curate", "f00")
        folder.write_rows("rows.parquet", [Message("user", "hi")], Message)
        assert run.output("curate", "f00") is None
        run.complete("curate", "f00", version=1, settings={"a": 1}, inputs={}, summary={"rows": 1})
        output = run.output("curate", "f00")
    assert output is not None
    assert output.summary == {"rows": 1}
    assert output.folder.read_rows("rows.parquet", Message) == [Message("user", "hi")]


def test_nothing_half_written_is_left_behind(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write_bytes("a.json", b"{}")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stages").write_text("a file where a folder is needed")
    with open_run(config_at(tmp_path / "run")) as run, pytest.raises(UserError, match="cannot write"):
        run.stage_folder("curate", "f00").write_bytes("x", b"1")


def test_fingerprint_covers_settings_inputs_and_version() -> None:
    base = fingerprint_of("s", version=1, settings={"a": 1}, inputs={"p": "x"})
    assert base == fingerprint_of("s", version=1, settings={"a": 1}, inputs={"p": "x"})
    others = {
        fingerprint_of("s", version=2, settings={"a": 1}, inputs={"p": "x"}),
        fingerprint_of("s", version=1, settings={"a": 2}, inputs={"p": "x"}),
        fingerprint_of("s", version=1, settings={"a": 1}, inputs={"p": "y"}),
        fingerprint_of("t", version=1, settings={"a": 1}, inputs={"p": "x"}),
    }
    assert len(others) == 4
    assert base not in others


def test_a_second_driver_of_the_same_run_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    code = (
        "import sys, time; from stillery.config import load_config; from stillery.io.run_folder import open_run\n"
        f"with open_run(load_config(None, ['run.dir={tmp_path}'])): print('held', flush=True); time.sleep(60)"
    )
    root = str(Path(__file__).parents[3] / "platform")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env={"PYTHONPATH": root}) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another process is working"), open_run(config_at(tmp_path)):
            pass
        other.kill()
        other.wait()
        with open_run(config_at(tmp_path)) as run:
            assert run.folder.local == tmp_path


def test_relative_run_folders_are_refused_inside_a_submitted_job(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(None, ["run.dir=out"])
    assert Path(run_uri(config)).is_absolute()
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(UserError, match="absolute path"):
        run_uri(config)


def test_a_run_works_on_another_file_system() -> None:
    folder = Folder("memory://bucket/run")
    folder.write_rows("m.parquet", [Message("user", "hi")], Message)
    assert folder.names(".parquet") == ["m.parquet"]
    assert folder.read_rows("m.parquet", Message) == [Message("user", "hi")]
    with pytest.raises(UserError, match="not a local path"):
        _ = folder.local


def test_an_output_is_told_by_what_it_holds_not_by_what_made_it(tmp_path: Path) -> None:
    def made(fingerprint: str, text: str, **summary: object) -> Output:
        run.stage_folder("curate", fingerprint).write_rows("rows.parquet", [Message("user", text)], Message)
        return run.complete("curate", fingerprint, version=1, settings={"a": fingerprint}, inputs={}, summary=summary)

    with open_run(config_at(tmp_path)) as run:
        first, same = made("f1", "hi", rows=1, seconds=3.0), made("f2", "hi", rows=1, seconds=9.0)
        assert (first.content, first.told) == (same.content, same.told)
        assert run.output("curate", "f1") == first
        other_report = made("f3", "hi", rows=2, seconds=3.0)
        assert (other_report.content == first.content, other_report.told == first.told) == (True, False)
        other_rows = made("f4", "ho", rows=1)
        assert (other_rows.content == first.content, other_rows.told == first.told) == (False, False)
        run.stage_folder("curate", "f5").write_bytes("history.json", b"[1]")
        with_json = made("f5", "hi", rows=1)
        assert with_json.content != first.content
