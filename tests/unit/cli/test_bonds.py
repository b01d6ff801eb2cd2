"""`stillery bonds`: its output, its drawings and its refusals."""

import json
from pathlib import Path

import pytest

from stillery.cli.main import main

FALSE = "<think>\nstart 14\nthen buys 5: 14 + 5 = 18\n</think>\n<answer>18</answer>"
CORRECTED = FALSE.replace("</think>", "wait, redo: then buys 5: 14 + 5 = 19\n</think>").replace("18</a", "19</a")


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    rows = [
        {"id": "false", "text": FALSE},
        {"sample_id": "corrected", "completion": CORRECTED, "question": "14 and 5?"},
    ]
    path = tmp_path / "traces.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_line_each_and_a_false_claim_shows(traces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bonds", str(traces)]) == 0
    _, false, corrected = capsys.readouterr().out.splitlines()
    assert (false.split()[0], corrected.split()[0]) == ("false", "corrected")
    conflicts = [float(line.removesuffix("unstable").split()[-2]) for line in (false, corrected)]
    assert conflicts[0] > 0 == conflicts[1]


def test_json_holds_every_character_of_the_trace(traces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bonds", str(traces), "--json", "--trace", "2"]) == 0
    molecule = json.loads(capsys.readouterr().out)
    assert "".join(atom["text"] for atom in molecule["atoms"]) == CORRECTED
    assert molecule["sample_id"] == "corrected"


@pytest.mark.parametrize(("suffix", "start"), [(".html", b"<!doctype html"), (".svg", b"<svg"), (".png", b"\x89PNG")])
def test_drawings(traces: Path, tmp_path: Path, suffix: str, start: bytes) -> None:
    out = tmp_path / f"drawn{suffix}"
    assert main(["bonds", str(traces), "--trace", "2", "--draw", str(out)]) == 0
    assert out.read_bytes().lower().startswith(start.lower())


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, [], "No such file"),
        ("", [], "is empty"),
        ("{not json", [], "line 1 is not JSON"),
        ('{"prompt": "x"}', [], "line 1 has no text"),
        ("1 + 1 = 2", ["--trace", "3"], "no trace 3, it holds 1"),
        ("1 + 1 = 2", ["--draw", "x.gif"], "draws .html, .svg or .png"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, arguments: list[str], message: str
) -> None:
    path = tmp_path / "in.jsonl"
    if content is not None:
        path.write_text(content)
    assert main(["bonds", str(path), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
