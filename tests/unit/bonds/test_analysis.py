"""`analyze`: the bonds, the claims, and what they rest on."""

import re
from collections.abc import Sequence
from fractions import Fraction

import pytest

from stillery.bonds import analyze, backward_verification, consistency_check, exploration_paths
from stillery.bonds.model.bonding import BANDS
from stillery.records import BondKind, Claim, Molecule, from_table, to_table

STORY = "start 7\nthen picks 9: 7 + 9 = 16\ncheck: 16 - 9 = 7, ok\nthen finds 14: 16 + 14 = 30\n<answer>30</answer>"
COIN = (
    "start heads\nthen Nina flips: tails\nthen Bo does not: tails\ncheck: 1 flips, odd, tails, ok\n<answer>no</answer>"
)
SWAP = "start: Ann cup, Bob ball\nswap Ann, Bob: Ann ball, Bob cup\n<answer>ball</answer>"
QUESTION = "Solve for z: 7*z + 5 = 5*z + 11."
SOLVED = "coefficient = 7 - 5 = 2\nconstant = 11 - 5 = 6\nz = 6 / 2 = 3\ncheck: 7 * 3 + 5 = 21 + 5 = 26, ok\n"


def bonds(molecule: Molecule, kind: BondKind) -> set[tuple[int, int]]:
    return {(bond.source, bond.target) for bond in molecule.bonds if bond.kind == kind}


def claims(molecule: Molecule) -> list[Claim]:
    return [claim for atom in molecule.atoms for claim in atom.claims]


def test_a_result_is_a_strong_bond_and_its_undoing_a_reflection() -> None:
    molecule = analyze(STORY, markers=False)
    assert (1, 3) in bonds(molecule, BondKind.STRONG_LOGIC)
    assert (3, 4) in bonds(molecule, BondKind.STRONG_LOGIC)
    assert (1, 2) in bonds(molecule, BondKind.REFLECTION)
    (check,) = [b for b in molecule.bonds if b.kind == BondKind.REFLECTION and b.target == 2]
    assert check.evidence == "step 2 undoes step 1's 7 + 9 = 16 by 16 - 9 = 7"
    assert check.origin == "claims"


def test_strengths_lie_in_the_band_of_their_kind() -> None:
    text = f"{STORY}\nMaybe another way would do? Alternatively, suppose he had 5. Wait, is 30 really right?"
    for bond in analyze(text).bonds:
        low, high = BANDS[BondKind(bond.kind)]
        assert low <= bond.strength <= high
        assert bond.source < bond.target


def test_states_are_replayed_and_carried_on() -> None:
    coin = analyze(COIN)
    assert [c.holds for c in claims(coin) if c.kind == "state"] == [None, True, True, True]
    assert {(0, 1), (1, 2)} <= bonds(coin, BondKind.STRONG_LOGIC)
    assert (2, 3) in bonds(coin, BondKind.REFLECTION)
    wrong = analyze(COIN.replace("does not: tails", "does not: heads"))
    assert [c.holds for c in claims(wrong) if c.kind == "state"][2] is False
    swapped = analyze(SWAP)
    assert (0, 1) in bonds(swapped, BondKind.STRONG_LOGIC)
    assert [c.holds for c in claims(analyze(SWAP.replace("Ann ball, Bob cup", "Ann cup, Bob ball")))][1] is False


def test_letters_are_claims() -> None:
    text = "word car: e\ncheck: c a r ends in r, not e\nwait, redo: word car: r\n"
    molecule = analyze(text, question="Take the last letter of each of these words: car.")
    assert [(c.text, c.holds, c.corrected_by) for c in claims(molecule)] == [
        ("e", False, 2), ("c a r ends in r", True, None), ("r", True, None)
    ]  # fmt: skip
    assert (0, 1) in bonds(molecule, BondKind.REFLECTION)


def test_a_solution_is_tested_against_the_question() -> None:
    right = analyze(SOLVED, question=QUESTION)
    assert [c.holds for c in claims(right) if c.text.startswith("z =")] == [True]
    assert (2, 3) in bonds(right, BondKind.REFLECTION)
    wrong = analyze("z = 4\n", question=QUESTION)
    assert [c.holds for c in claims(wrong)] == [False]


def test_a_correction_is_found() -> None:
    text = "14 + 5 = 18\nwait, redo: 14 + 5 = 19\n"
    (first, second) = claims(analyze(text))
    assert (first.holds, first.corrected_by, second.holds) == (False, 1, True)


def test_an_answer_is_compared_with_the_right_one() -> None:
    assert [c.holds for c in claims(analyze("<answer>30 apples</answer>", answer="30"))] == [True]
    assert [c.holds for c in claims(analyze("<answer>31</answer>", answer="30"))] == [False]
    assert [c.holds for c in claims(analyze(r"So \boxed{\frac{1}{2}}.", answer="0.5")) if c.kind == "answer"] == [True]


def test_a_supposition_or_a_question_is_no_false_claim() -> None:
    for text in ("Is 4 + 9 = 14?", "if 4 + 9 = 14 the sum is even.", "4 + 9 = 14, no", "it is not 4 + 9 = 13"):
        assert all(claim.holds is not False for claim in claims(analyze(text)))


def test_a_computation_on_the_way_to_a_rejection_is_a_claim() -> None:
    for text in ("maybe 2: 4 * 2 + 7 = 24 + 7 = 31, had 31, no", "4 + 9 = 14, not 13", "4 + 9 = 14, had 13, no"):
        assert next(claim.holds for claim in claims(analyze(text))) is False, text


def test_markers_may_inform_bonds_but_not_stability() -> None:
    text = "So the sum is 14.\n\nHmm, wait. The first number could be larger.\n\nAlternatively, take the last one."
    with_markers, without = analyze(text), analyze(text, markers=False)
    assert (with_markers.stability, with_markers.conflict) == (without.stability, without.conflict)


def test_a_labeller_has_the_last_word_and_sees_each_pair_once() -> None:
    seen: list[tuple[str, str]] = []

    def label(pairs: object) -> list[BondKind | None]:
        seen.extend(pairs)  # type: ignore[arg-type]
        return [BondKind.EXPLORATION, *[None] * (len(seen) - 1)]

    molecule = analyze(STORY, labels=label)
    assert [(b.kind, b.origin) for b in molecule.bonds] == [(BondKind.EXPLORATION, "labels")]
    assert len(seen) == len(set(seen))


def test_chinese_steps_bond_like_english_ones() -> None:
    molecule = analyze(
        "小明有 3 + 14 = 17 个苹果。又买了 17 * 2 = 34 个。检查一下:34 / 2 = 17。答案是34。", markers=False
    )
    assert (0, 1) in bonds(molecule, BondKind.STRONG_LOGIC)
    assert (1, 2) in bonds(molecule, BondKind.REFLECTION)
    assert [c.holds for c in claims(molecule) if c.kind == "arithmetic"] == [True, True, True]


def test_backward_verification_and_consistency() -> None:
    text = "14 + 5 = 18\n18 * 2 = 36\nthe check fails: 36 / 2 = 18, 18 - 5 = 13, not 14\n14 + 5 = 19\n"
    molecule = analyze(text)
    found = backward_verification(molecule, 3)
    assert len(found.checked) <= 3
    check = consistency_check(molecule, 3)
    assert check.contradicts == [0]
    assert check.corrected_by == 3
    assert "14+5" in check.reasons[0]
    assert consistency_check(molecule, 1).agrees
    with pytest.raises(IndexError, match="4 atoms"):
        backward_verification(molecule, 9)


def test_verification_depth_bounds_what_is_looked_at() -> None:
    text = "".join(f"{n} + 11 = {n + 11}\n" for n in range(20, 200, 11))
    molecule = analyze(text)
    assert [len(backward_verification(molecule, 10, depth=d).checked) for d in (1, 3, 5)] == [1, 3, 5]


def test_the_exploration_that_led_to_the_answer_comes_first() -> None:
    text = (
        "We need the total price of all tickets.\n"
        "Alternatively, maybe they could want tickets grouped by colour instead?\n"
        "Alternatively, suppose we could try one price for all tickets, p = 25?\n"
        "14 * 25 = 350.\n"
        "350 + 17 = 367.\n"
        "The answer is 367.\n"
    )

    def label(pairs: Sequence[tuple[str, str]]) -> list[BondKind | None]:
        kinds = {True: BondKind.EXPLORATION, False: BondKind.STRONG_LOGIC}
        return [None if "colour" in a + b else kinds[b.startswith("Alternatively")] for a, b in pairs]

    molecule = analyze(text, labels=label)
    paths = exploration_paths(molecule, keep=3)
    assert paths
    assert (paths[0].target, paths[0].led_to) == (2, [2, 3, 4, 5])
    assert paths[0].value == max(path.value for path in paths)
    assert len(exploration_paths(molecule, keep=1)) == 1


def test_a_molecule_is_a_row() -> None:
    molecule = analyze(STORY, sample_id="s")
    assert from_table(to_table([molecule], Molecule), Molecule) == [molecule]


def test_evidence_names_steps_and_values() -> None:
    for bond in analyze(STORY).bonds:
        assert re.search(rf"\bstep {bond.target}\b", bond.evidence)


def test_values_are_never_evaluated_as_code() -> None:
    molecule = analyze("__import__('os').system('true') = 3\n9**9**9**9 = 1\n")
    assert all(claim.holds is None for claim in claims(molecule))
    assert Fraction(1) == 1


def test_what_goes_by_a_phrase_in_one_case_is_not_revised_in_the_next() -> None:
    text = "Take 1, 2, 3.\nTheir sum is 6, not 8.\nTake 0, 1, 2.\nTheir sum is 3, not 8.\nTake 3, 4, 5.\n"
    text += "Their sum is 12.\n"
    assert not any("revises" in bond.evidence for bond in analyze(text, markers=False).bonds)
    revised = analyze("x = 7\n2 * 7 = 14, not 16\nx = 8\n", markers=False)
    assert any(bond.evidence == "step 2 revises step 0's x" for bond in revised.bonds)
