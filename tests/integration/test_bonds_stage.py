"""The bonds stage on a real Ray, alone: tables in, tables out, in order."""

from dataclasses import replace
from pathlib import Path

import pytest

from stillery.config import BondsConfig
from stillery.io.storage import Folder
from stillery.records import Generation, Molecule, Prompt, Score, Verdict, from_table, to_table
from stillery.stages import bonds as stage
from support.score_rows import make_scores

pytestmark = pytest.mark.usefixtures("ray_cluster")

SIZES = (400, 3, 300)


def generation(number: int, completion: str) -> Generation:
    return Generation(
        f"s{number:04d}", "p", number, 0, "", completion, "stop", 1, 1, None, "m", "{}", 0, False, None
    )  # fmt: skip


def write_inputs(root: Path) -> dict[str, Folder]:
    """Generations in three files, the first ones by far the longest, so that later batches are done before them."""
    folders = {name: Folder(str(root / name)) for name in ("generations", "verdicts", "prompts", "out")}
    prompt = Prompt("p", "t", "How many?", "30", "number", [], "test", "train", None, None)
    folders["prompts"].write_table("prompts.parquet", to_table([prompt], Prompt))
    number = 0
    for part, size in enumerate(SIZES):
        rows = [
            generation(n, f"{n} + 9 = {n + 9}\n" * (30 if part == 0 else 1) + f"<answer>{n + 9}</answer>")
            for n in range(number, number + size)
        ]
        verdicts = [
            Verdict(row.sample_id, "p", None, None, None, "correct" if part else "wrong", "ok", [], None)
            for row in rows
        ]
        folders["generations"].write_table(f"generations-{part:05d}.parquet", to_table(rows, Generation))
        folders["verdicts"].write_table(f"verdicts-{part:05d}.parquet", to_table(verdicts, Verdict))
        number += size
    return folders


def run(folders: dict[str, Folder]) -> dict[str, object]:
    named = {name: folders[name] for name in ("generations", "verdicts", "prompts", "out")}
    return stage.find_molecules(BondsConfig(), **named)


def test_molecules_lie_in_the_order_of_the_generations(tmp_path: Path) -> None:
    folders = write_inputs(tmp_path)
    summary = run(folders)
    molecules = from_table(folders["out"].read_all(Molecule), Molecule)
    assert [m.sample_id for m in molecules] == [f"s{n:04d}" for n in range(sum(SIZES))]
    assert summary["molecules"] == sum(SIZES)
    by_verdict = summary["by_verdict"]
    assert isinstance(by_verdict, dict)
    assert (by_verdict["wrong"]["traces"], by_verdict["correct"]["traces"]) == (SIZES[0], sum(SIZES[1:]))


def test_verdicts_of_other_samples_are_refused(tmp_path: Path) -> None:
    folders = write_inputs(tmp_path)
    last = from_table(folders["verdicts"].read_table("verdicts-00002.parquet", Verdict), Verdict)
    folders["verdicts"].write_table("verdicts-00002.parquet", to_table(last[::-1], Verdict))
    with pytest.raises(AssertionError, match="out of order"):
        run(folders)


def test_no_generations_make_an_empty_summary(tmp_path: Path) -> None:
    folders = {name: Folder(str(tmp_path / name)) for name in ("generations", "verdicts", "prompts", "out")}
    assert run(folders) == {"molecules": 0, "bonds": {}, "by_verdict": {}, "failed": 0, "failures": []}


def test_evaluated_models_are_compared_on_the_test_split(tmp_path: Path) -> None:
    folders = {role: Folder(str(tmp_path / role)) for role in ("teacher", "student_before", "student_after")}
    outcomes = {"teacher": "++++", "student_after": "++--"}
    for role, signs in outcomes.items():
        rows = [
            replace(score, sample_id=f"{role}/{score.sample_id}")
            for problem, split in (("p", "test"), ("q", "validation"))
            for score in make_scores(problem, signs, split=split)
        ]
        folders[role].write_rows("scores.parquet", rows, Score)
    out = Folder(str(tmp_path / "out"))
    summary = stage.compare_models(scores=folders, out=out)
    assert {role: model["molecules"] for role, model in summary["models"].items()} == {"teacher": 4, "student_after": 4}
    assert list(summary["divergence"]) == ["student_after"]
    assert summary["failed"] == 0
    assert out.names(".parquet") == ["student_after-00000.parquet", "teacher-00000.parquet"]
    assert len(out.read_rows("teacher-00000.parquet", Molecule)) == 8
