"""`stillery bonds FILE --reinforce OUT`: the output, and it can be read again."""

import json
from pathlib import Path

import pytest

from stillery.cli.main import main

STORY = "start 7\nthen picks 9: 7 + 9 = 16\nthen finds 14: 16 + 14 = 30\n<answer>30</answer>"


def test_rows_keep_their_fields_and_say_what_was_inserted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out, again = (tmp_path / name for name in ("in.jsonl", "out.jsonl", "again.jsonl"))
    source.write_text(json.dumps({"id": "a", "completion": STORY, "part": "maths"}) + "\n")
    assert main(["bonds", str(source), "--reinforce", str(out)]) == 0
    assert "1 checks inserted into 1 of 1 traces" in capsys.readouterr().err
    row = json.loads(out.read_text())
    assert (row["id"], row["part"]) == ("a", "maths")
    (span,) = row["inserted"]
    assert row["completion"][slice(*span)] == "check: 30 - 14 = 16, ok\n"
    assert main(["bonds", str(out), "--reinforce", str(again), "--json"]) == 0
    molecule = json.loads(capsys.readouterr().out)
    assert [atom["text"] for atom in molecule["atoms"] if atom["inserted"]] == ["check: 30 - 14 = 16, ok\n"]
    assert json.loads(again.read_text()) == row


def test_plain_text_becomes_a_line_of_json(tmp_path: Path) -> None:
    source, out = tmp_path / "trace.txt", tmp_path / "out.jsonl"
    source.write_text(STORY)
    assert main(["bonds", str(source), "--reinforce", str(out)]) == 0
    assert json.loads(out.read_text())["id"] == "trace"


@pytest.mark.parametrize("inserted", ["[[1]]", "7", '[["a", 2]]'])
def test_spans_that_are_none_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], inserted: str) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(f'{{"text": "7", "inserted": {inserted}}}\n')
    assert main(["bonds", str(source)]) == 2
    assert "is no list of [start, end] pairs" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"text": STORY}) + "\n")
    assert main(["bonds", str(source), "--reinforce", str(tmp_path / "no" / "out.jsonl")]) == 2
    assert "No such file" in capsys.readouterr().err
