"""Weights from bonds: the path to the answer above abandoned branches, a mean of 1, and traces without bonds."""

import pytest

from stillery.bonds import analyze
from stillery.config import CurateConfig
from stillery.curation.weights import bond_spans, corrected_spans, holds, weights_of
from stillery.records import Atom, Bond, BondKind, Claim, Molecule

STRONG, CHECK, TRIED = BondKind.STRONG_LOGIC, BondKind.REFLECTION, BondKind.EXPLORATION


def molecule(num_steps: int, *bonds: tuple[int, int, BondKind, float], error: str | None = None) -> Molecule:
    """Steps of ten characters, the last of them the answer."""
    atoms = [Atom(10 * i, 10 * i + 10, "x" * 10, "line", [], inserted=False) for i in range(num_steps - 1)]
    atoms.append(Atom(10 * num_steps - 10, 10 * num_steps, "y" * 10, "answer", [], inserted=False))
    return Molecule("s", atoms, [Bond(*bond, "claims", "") for bond in bonds], 0.0, 1.0, 1.0, [], error)


def test_a_step_is_held_by_the_weakest_bond_of_its_firmest_chain() -> None:
    found = holds(
        molecule(
            6,
            (0, 2, STRONG, 0.95),
            (0, 4, TRIED, 0.4),
            (1, 2, TRIED, 0.5),
            (2, 5, STRONG, 0.9),
            (1, 3, STRONG, 0.99),
            (4, 5, STRONG, 0.95),
        )
    )
    # Step 3 was derived from a step on the way, and left.
    assert found == [0.9, 0.5, 0.9, 0.0, 0.95, 1.0]


def test_a_check_counts_by_what_it_checks() -> None:
    bonds = ((0, 1, CHECK, 0.78), (0, 5, STRONG, 0.95), (2, 3, CHECK, 0.78), (4, 1, STRONG, 0.9))
    # Step 4 comes after the check in this list only to show that what a check rests on counts with it.
    assert holds(molecule(6, *bonds)) == [0.95, 0.78, 0.0, 0.0, 0.78, 1.0]


def test_weights_have_a_mean_of_one_over_the_characters_that_are_learnt() -> None:
    trace = molecule(4, (0, 2, STRONG, 0.9), (2, 3, STRONG, 1.0))
    trace.atoms[2] = Atom(20, 50, "z" * 30, "line", [], inserted=False)
    trace.atoms[3] = Atom(50, 60, "y" * 10, "answer", [], inserted=False)
    spans = bond_spans(trace, share=0.5)
    raw = [0.95, 0.5, 1.0, 1.0]
    mean = (10 * 0.95 + 10 * 0.5 + 30 + 10) / 60
    assert [weight for _, _, weight in spans] == pytest.approx([weight / mean for weight in raw])
    assert sum((end - start) * weight for start, end, weight in spans) == pytest.approx(60)
    assert [weight for _, _, weight in bond_spans(trace, share=0.0)] == [1.0] * 4


def test_a_step_that_is_corrected_later_carries_no_loss_and_counts_in_no_mean() -> None:
    trace = molecule(4, (0, 2, STRONG, 0.9), (2, 3, STRONG, 0.9))
    wrong = Claim(10, 20, "2 + 2 = 5", "arithmetic", False, 2)
    trace.atoms[1] = Atom(10, 20, "x" * 10, "line", [wrong], inserted=False)
    spans = weights_of(CurateConfig(bond_weight=0.5), trace)
    assert spans[1] == [10.0, 20.0, 0.0]
    assert sum(weight for _, _, weight in spans) == pytest.approx(3)
    assert weights_of(CurateConfig(mask_corrected=True), trace) == corrected_spans(trace) == [[10.0, 20.0, 0.0]]
    assert weights_of(CurateConfig(), trace) == []


@pytest.mark.parametrize(
    "trace",
    [
        molecule(3),
        molecule(3, (0, 1, STRONG, 0.9)),
        Molecule("s", [], [], 0.0, 0.0, 0.0, [], "RecursionError: too deep"),
    ],
    ids=["no bonds", "none to the answer", "not analysed"],
)
def test_where_bonds_say_nothing_of_the_answer_every_step_weighs_one(trace: Molecule) -> None:
    assert weights_of(CurateConfig(bond_weight=1.0), trace) == []


def test_a_guess_that_is_given_up_weighs_less_than_the_way_to_the_answer() -> None:
    text = (
        "<think>\nmaybe a = 8: 8 * 8 - 22 = 64 - 22 = 42, had 34, no\nconstant = 34 + 22 = 56\n"
        "check: 56 - 22 = 34, had 34, ok\na = 56 / 8 = 7\n</think>\n<answer>7</answer>"
    )
    found = analyze(text, question="Solve for a: 8*a - 22 = 34.", markers=False)
    guess, constant, check, solved, answer = (weight for _, _, weight in bond_spans(found, share=0.5))
    assert guess < check < constant == solved < answer
