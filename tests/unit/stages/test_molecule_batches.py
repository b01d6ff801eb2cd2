"""The bonds stage without Ray: the output of a batch of generations, and the counts of its molecules."""

from typing import Any

import pyarrow as pa
import pytest

from stillery.bonds import analyze
from stillery.records import Molecule, from_table
from stillery.stages.bonds import MoleculeCounts, analyze_batch

GOOD = "7 + 9 = 16\n16 + 14 = 30\n<answer>30</answer>"
FALSE = "7 + 9 = 17\n17 + 14 = 33\n<answer>90</answer>"
QUESTIONS = {"p": "Solve for z: 7*z + 5 = 5*z + 11.", "q": "How many?"}


def batch(*rows: tuple[str, str, str]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(("sample_id", "prompt_id", "completion"), row, strict=True)) for row in rows])


def test_a_molecule_for_each_row_in_their_order() -> None:
    made = analyze_batch(batch(("b", "q", GOOD), ("a", "p", "z = 4"), ("c", "q", "")), questions=QUESTIONS)
    molecules = from_table(made, Molecule)
    assert [m.sample_id for m in molecules] == ["b", "a", "c"]
    assert molecules[0] == analyze(GOOD, question="How many?", markers=False, sample_id="b")
    # Each row is read with its own question: that of the second row is what decides its claim.
    assert [c.holds for atom in molecules[1].atoms for c in atom.claims] == [False]
    assert molecules[2].atoms == []


def test_markers_count_for_nothing_in_the_pipeline() -> None:
    rows = batch(("a", "q", f"Wait, let me check.\n{GOOD}"), ("b", "q", f"Maybe.\n{GOOD}"))
    one, two = from_table(analyze_batch(rows, questions=QUESTIONS), Molecule)
    assert [(b.source, b.target, b.kind) for b in one.bonds] == [(b.source, b.target, b.kind) for b in two.bonds]


def test_an_empty_batch_is_an_empty_table_of_molecules() -> None:
    made = analyze_batch(batch(("a", "q", GOOD)).slice(0, 0), questions=QUESTIONS)
    assert from_table(made, Molecule) == []


def test_a_prompt_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError, match="unknown"):
        analyze_batch(batch(("a", "unknown", GOOD)), questions=QUESTIONS)


def test_molecules_are_counted_by_their_verdicts() -> None:
    tally = MoleculeCounts(unstable_below=0.5)
    made = [analyze(text, markers=False, sample_id=name) for name, text in (("a", GOOD), ("b", FALSE), ("c", GOOD))]
    verdicts = iter([("a", "correct"), ("b", "wrong"), ("c", "correct")])
    tally.add(made[:2], verdicts)
    tally.add(made[2:], verdicts)
    summary = tally.summary()
    assert summary["molecules"] == 3
    assert summary["by_verdict"]["correct"] == {
        "traces": 2,
        "mean_stability": round(made[0].stability, 4),
        "unstable": 0,
    }
    assert summary["by_verdict"]["wrong"]["unstable"] == 1
    assert sum(summary["bonds"].values()) == sum(len(molecule.bonds) for molecule in made)


@pytest.mark.parametrize("verdicts", [[("b", "correct"), ("a", "wrong")], [("a", "correct")]])
def test_molecules_out_of_the_verdicts_order_are_never_counted(verdicts: list[tuple[str, str]]) -> None:
    made = [analyze(GOOD, markers=False, sample_id=name) for name in ("a", "b")]
    with pytest.raises(AssertionError, match="out of order"):
        MoleculeCounts(0.5).add(made, iter(verdicts))


def test_a_trace_that_cannot_be_analysed_is_counted_and_named_and_ends_nothing() -> None:
    def break_on_false(text: str, **rest: Any) -> Molecule:
        if text == FALSE:
            raise RecursionError("nested too deeply")
        return analyze(text, **rest)

    rows = batch(("a", "q", GOOD), ("b", "q", FALSE), ("c", "q", GOOD))
    molecules = from_table(analyze_batch(rows, questions=QUESTIONS, analyze=break_on_false), Molecule)
    assert [m.error for m in molecules] == [None, "RecursionError: nested too deeply", None]
    tally = MoleculeCounts(unstable_below=0.5)
    tally.add(molecules, iter([("a", "correct"), ("b", "wrong"), ("c", "correct")]))
    summary = tally.summary()
    assert (summary["molecules"], summary["failed"]) == (2, 1)
    assert summary["failures"] == [["b", "RecursionError: nested too deeply"]]
    assert list(summary["by_verdict"]) == ["correct"]
