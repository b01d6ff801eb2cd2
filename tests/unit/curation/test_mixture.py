"""Shares of parts, teachers and bands that hold at once, impossible shares, and traces that repeat across problems."""

import random
from collections import Counter
from pathlib import Path

import pytest

from stillery.bonds import analyze
from stillery.config import CurateConfig, load_config
from stillery.curation.checks import check_curation
from stillery.curation.mixture import Cell, difficulty_of, fit_rates, shares_of
from stillery.curation.teacher_patterns import count_pattern, differing
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Choice, Generation, Molecule, Prompt, Sample, Verdict, from_table
from stillery.stages.curate import curate


def cells(**counts: int) -> dict[Cell, float]:
    """Counts by `part_teacher_task`, of one length and difficulty."""
    return {(*name.split("_"), "256-511", "mostly"): float(count) for name, count in counts.items()}


def left(counts: dict[Cell, float], config: CurateConfig) -> dict[str, float]:
    rates = fit_rates(counts, shares_of(config, counts))
    assert max(rates.values()) == pytest.approx(1.0), "what is scarcest for its share stays whole"
    return {"_".join(cell[:3]): count * rates[cell] for cell, count in counts.items()}


def test_named_shares_of_parts_and_teachers_hold_at_once() -> None:
    counts = cells(reasoning_A_maths=600, reasoning_B_maths=200, general_A_chat=100, general_B_chat=300)
    found = left(counts, CurateConfig(mixture={"reasoning": 0.8, "general": 0.2}, sources={"A": 1, "B": 3}))
    total = sum(found.values())
    assert (found["reasoning_A_maths"] + found["reasoning_B_maths"]) / total == pytest.approx(0.8, abs=0.01)
    assert (found["reasoning_A_maths"] + found["general_A_chat"]) / total == pytest.approx(0.25, abs=0.01)
    only = left(counts, CurateConfig(sources={"A": 1}))
    assert only["general_B_chat"] == 0
    assert only["reasoning_A_maths"] == 600


def test_balance_evens_out_by_a_power() -> None:
    counts = cells(reasoning_A_maths=400, reasoning_A_code=100)
    equal = left(counts, CurateConfig(balance={"task": 0.0}))
    half = left(counts, CurateConfig(balance={"task": 0.5}))
    assert equal == {"reasoning_A_maths": pytest.approx(100), "reasoning_A_code": pytest.approx(100)}
    assert half == {"reasoning_A_maths": pytest.approx(200), "reasoning_A_code": pytest.approx(100)}
    assert left(counts, CurateConfig(balance={"task": 1.0})) == {"_".join(c[:3]): n for c, n in counts.items()}
    assert [difficulty_of(*n) for n in ((0, 0), (4, 4), (2, 4), (1, 4))] == ["unknown", "always", "mostly", "seldom"]


def test_a_ratio_that_cannot_be_met_is_an_error() -> None:
    with pytest.raises(UserError, match=r"sources asks for 50% of C, and there is none of it; there is A \(10\)"):
        left(cells(reasoning_A_maths=10), CurateConfig(sources={"A": 1, "C": 1}))
    apart = cells(reasoning_A_maths=100, general_B_chat=100)
    with pytest.raises(UserError, match="cannot be had together with"):
        left(apart, CurateConfig(mixture={"reasoning": 0.8, "general": 0.2}, sources={"A": 0.5, "B": 0.5}))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("curate.balance={colour: 0.5}", "no groups by 'colour'"),
        ("curate.balance={task: 2}", "between 0"),
        ("curate.sources={A: -1}", "must not be negative"),
        ("curate.near_duplicate_traces=1.2", "at most 1"),
    ],
)
def test_settings_that_cannot_be_meant(override: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_curation(load_config(None, [override]))


WORDS = [f"word{n}" for n in range(400)]


def write(root: Path, *, per_file: int = 20) -> dict[str, Folder]:
    """Two files of problems with a trace of each of two teachers; the last five of the second file have, but for two
    words, the traces of the first five of the first."""
    rng = random.Random(0)
    texts = {n: [rng.choices(WORDS, k=120) for _ in "AB"] for n in range(2 * per_file - 5)}
    for n in range(5):
        texts[2 * per_file - 5 + n] = [[*words[:60], "other", *words[60:-1]] for words in texts[n]]
    prompts: list[Prompt] = []
    folders = {name: Folder(str(root / name)) for name in ("prompts", "generations", "verdicts")}
    for file in range(2):
        rows: list[Generation] = []
        for n in range(file * per_file, (file + 1) * per_file):
            prompts.append(Prompt(f"p{n}", "t", f"q{n}?", "1", "number", [], "x", "train", None, None))
            for index, (teacher, words) in enumerate(zip("AB", texts[n], strict=True)):
                text = f"<think>\n{' '.join(words)}\n</think>\n<answer>1</answer>"
                rows.append(
                    Generation(
                        f"p{n}{teacher}", f"p{n}", index, 0, "", text, "stop", 1, 130, None, teacher, "{}", 0, False,
                        None,
                    )
                )  # fmt: skip
        folders["generations"].write_rows(f"generations-{file:05d}.parquet", rows, Generation)
        found = [Verdict(g.sample_id, g.prompt_id, None, "1", "1", "correct", "ok", [], None) for g in rows]
        folders["verdicts"].write_rows(f"verdicts-{file:05d}.parquet", found, Verdict)
    folders["prompts"].write_rows("prompts.parquet", prompts, Prompt)
    return folders


def test_traces_that_repeat_another_problem_s_go_with_evidence_and_sources_by_weight(tmp_path: Path) -> None:
    folders, out = write(tmp_path), Folder(str(tmp_path / "out"))
    config = CurateConfig(near_duplicate_traces=0.8, sources={"A": 0.75, "B": 0.25}, balance={"difficulty": 0.5})
    summary = curate(config, **folders, stopping=None, out=out, seed=3)
    choices = from_table((out / "choices").read_all(Choice), Choice)
    repeated = {c.sample_id: c.evidence for c in choices if c.reason == "near-duplicate trace"}
    assert set(repeated) == {f"p{n}{t}" for n in range(35, 40) for t in "AB"}
    assert '"of": "p0A"' in (repeated["p35A"] or "")
    assert summary["dropped"]["near-duplicate trace"] == 10
    kept = from_table(out.read_all(Sample), Sample)
    teachers = Counter(sample.teacher for sample in kept)
    assert teachers["A"] == 35
    assert 5 <= teachers["B"] <= 20
    assert summary["stay"]["teacher"]["B"] == pytest.approx(1 / 3, abs=0.01)
    assert summary["kept"] == len(kept) == sum(choice.reason is None for choice in choices)
    assert (out / "signatures").names() == []
    again = Folder(str(tmp_path / "again"))
    curate(config, **folders, stopping=None, out=again, seed=3)
    assert [s.sample_id for s in from_table(again.read_all(Sample), Sample)] == [s.sample_id for s in kept]


def test_teachers_of_differing_bond_patterns_are_named() -> None:
    plain = "Tom has 3 apples.\nHe gets 4 more, 3 + 4 = 7.\nSo he has 7."
    checking = "3 + 4 = 7.\nLet me check: 7 - 4 = 3, which is right.\nWait, maybe there is another way.\nSo it is 7."

    def told(*teachers: tuple[str, str]) -> list[str]:
        counts = Counter[str]()
        for teacher, text in teachers:
            molecule: Molecule = analyze(text)
            for _ in range(20):
                count_pattern(counts, teacher, molecule)
        return list(differing(counts))

    (line,) = told(("A", plain), ("B", checking))
    assert "the bond patterns of A and B differ by" in line
    assert told(("A", plain), ("B", plain)) == []
