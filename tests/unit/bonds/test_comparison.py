"""The bonds of several models on the same problems, as plain data."""

import json

from stillery.bonds import analyze
from stillery.bonds.corpus.comparison import compare
from stillery.records import Molecule

CHAIN = "7 + 9 = 16\n16 + 14 = 30\n30 + 12 = 42\n<answer>42</answer>"
CHECKED = "7 + 9 = 16\ncheck: 16 - 9 = 7, ok\n16 + 14 = 30\ncheck: 30 - 14 = 16, ok\n<answer>30</answer>"


def traces(role: str, text: str, number: int) -> list[Molecule]:
    return [analyze(text, markers=False, sample_id=f"{role}-{i}") for i in range(number)]


def test_each_model_has_its_mix_and_each_student_its_distance() -> None:
    found = {"teacher": traces("t", CHECKED, 8), "student_before": traces("b", CHAIN, 8), "student_after": []}
    found["student_after"] = traces("a", CHECKED, 8)
    problems = {m.sample_id: m.sample_id[-1] for molecules in found.values() for m in molecules}
    summary = compare(found, problems=problems)
    assert json.loads(json.dumps(summary)) == summary
    checks = {role: model["shares"]["reflection_verification"] for role, model in summary["models"].items()}
    assert checks["student_before"] == [0.0, 0.0, 0.0]
    assert checks["teacher"] == checks["student_after"]
    assert checks["teacher"][0] > 0.2
    distance = summary["divergence"]
    assert distance["student_after"]["marginal"]["value"] == 0.0
    assert distance["student_before"]["marginal"]["value"] > 0.05
    assert distance["student_before"]["marginal"]["p_value"] < 0.05


def test_models_without_bonds_or_a_common_problem_have_no_distance() -> None:
    broken = Molecule("x-0", [], [], 0.0, 0.0, 0.0, [], "RecursionError")
    found = {"teacher": traces("t", CHAIN, 2), "student_before": [broken], "student_after": traces("a", CHAIN, 1)}
    summary = compare(found, problems={"t-0": "0", "t-1": "1", "a-0": "another"})
    assert summary["divergence"] == {}
    assert summary["models"]["student_before"]["molecules"] == 0
    assert summary["models"]["student_before"]["shares"] == {}
