"""`stillery patterns`: its output for one corpus and for two, and its refusals."""

import json
from pathlib import Path

import pytest

from stillery.cli.main import main

STEADY = "start {a}\nthen picks 9: {a} + 9 = {b}\nthen finds 14: {b} + 14 = {c}\n<answer>{c}</answer>"
CHECKED = (
    "start {a}\nthen picks 9: {a} + 9 = {b}\ncheck: {b} - 9 = {a}, ok\n"
    "then finds 14: {b} + 14 = {c}\ncheck: {c} - 14 = {b}, ok\n<answer>{c}</answer>"
)


def write_corpus(path: Path, form: str, *, num_traces: int = 12, question: bool = True) -> Path:
    rows: list[dict[str, str]] = []
    for n in range(num_traces):
        row = {"id": str(n), "text": form.format(a=20 + n, b=29 + n, c=43 + n)}
        if question:
            row["question"] = f"Ann starts with {20 + n} marbles, picks 9 and finds 14. How many?"
        rows.append(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, object]]:
    assert main(["patterns", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_two_corpora_that_differ_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = write_corpus(tmp_path / "a.jsonl", STEADY), write_corpus(tmp_path / "b.jsonl", CHECKED)
    found = report(capsys, str(one), str(two))
    marginal = found["divergence"]["marginal"]
    assert marginal["value"] > marginal["null_high"]  # type: ignore[index, operator]
    assert marginal["p_value"] < 0.05  # type: ignore[index]
    shares = [found["corpora"][name]["marginal"]["reflection_verification"] for name in ("a.jsonl", "b.jsonl")]  # type: ignore[index]
    assert shares[0]["value"] == 0 < shares[1]["low"] <= shares[1]["value"] <= shares[1]["high"]


def test_a_corpus_does_not_differ_from_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = write_corpus(tmp_path / "a.jsonl", CHECKED), write_corpus(tmp_path / "b.jsonl", CHECKED)
    marginal = report(capsys, str(one), str(two))["divergence"]["marginal"]
    assert marginal["value"] == pytest.approx(0)  # type: ignore[index]
    assert marginal["p_value"] > 0.5  # type: ignore[index]


def test_the_patterns_of_a_corpus_have_conditions_and_triggers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = report(capsys, str(write_corpus(tmp_path / "a.jsonl", CHECKED)))
    checks = [p for p in found["patterns"] if p["kind"] == "reflection_verification"]  # type: ignore[index, attr-defined]
    assert checks[0]["conditions"] == {"reach": "next", "source": "arithmetic", "target": "arithmetic"}  # type: ignore[index]
    assert "opens with “check”" in [trigger["name"] for trigger in checks[0]["triggers"]]  # type: ignore[index]
    assert found["divergence"] is None
    assert found["matches"] is None


def test_the_best_pattern_for_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_corpus(tmp_path / "a.jsonl", CHECKED)
    rows = [{"id": f"c{n}", "text": "start heads\nthen Bo flips: tails\n<answer>no</answer>", "question": q}
            for n, q in enumerate(["A coin shows heads. Bo flips it. Heads?"] * 12)]  # fmt: skip
    path.write_text(path.read_text() + "".join(json.dumps(row) + "\n" for row in rows))
    matches = report(capsys, str(path), "--problem", "A coin shows tails. Ann flips it. Is it heads?")["matches"]
    assert matches[0]["pattern"]["conditions"]["target"] in ("state", "answer")  # type: ignore[index]
    assert matches[0]["lift"] > 1  # type: ignore[index]


def test_isomers_of_one_problem_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.jsonl"
    texts = [form.format(a=20, b=29, c=43) for form in (STEADY, CHECKED)]
    path.write_text("".join(json.dumps({"text": text, "prompt_id": "p"}) + "\n" for text in texts))
    isomers = report(capsys, str(path))["isomers"]
    assert (isomers["num_problems"], isomers["num_pairs"]) == (1, 1)
    # Ids of the same name are told apart by their lines.
    assert main(["patterns", str(path)]) == 0
    assert "Isomers: " in capsys.readouterr().out


def test_the_report_for_a_person(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = write_corpus(tmp_path / "a.jsonl", STEADY), write_corpus(tmp_path / "b.jsonl", CHECKED, question=False)
    assert main(["patterns", str(one), str(two), "--problem", "marbles"]) == 0
    out = capsys.readouterr().out
    for part in ("share of bonds", "then logic", "Divergence in bits", "Effective patterns", "For this problem:"):
        assert part in out
    assert "a.jsonl: 12 traces" in out
    assert "Isomers: not looked for" in out


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, [], "No such file"),
        ("", [], "is empty"),
        ('{"text": "hello"}\n', [], "no trace has a bond (1 read)"),
        ('{"text": "7 + 9 = 16\\n16 + 14 = 30"}\n', ["--problem", "x"], "has its question"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, arguments: list[str], message: str
) -> None:
    path = tmp_path / "in.jsonl"
    if content is not None:
        path.write_text(content)
    assert main(["patterns", str(path), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
