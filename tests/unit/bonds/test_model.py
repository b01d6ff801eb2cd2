"""The learned part of the bonds: masks, exact findings first, distant links, other languages, weights."""

import json
import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from stillery.bonds import analyze
from stillery.bonds.claims.evidence import Evidence
from stillery.bonds.classifiers import Linear, Network, arrays_of, model_of, softmax
from stillery.bonds.model.bonding import BANDS
from stillery.bonds.model.candidates import find_candidates
from stillery.bonds.model.mentions import find_mentions
from stillery.bonds.model.roles import HEADS
from stillery.bonds.training.estimators import fit_linear, fit_network
from stillery.records import BondKind

PROSE = (
    "Okay, let's find the speed of the train.\n\nThe distance is 240 km and the time is 3 hours. "
    "So the speed is 240 / 3 = 80 km/h.\n\nWait, is the time really 3 hours? "
    "Let me check the question again. It leaves at noon and arrives at three, so yes, that's correct.\n\n"
    "Alternatively, maybe we should use the average of both legs. But there is only one leg, so that's no use.\n\n"
    "Therefore, the speed of the train is 80 km/h."
)


@pytest.mark.slow
def test_a_linear_classifier_says_what_scikit_learn_says() -> None:
    from sklearn.linear_model import LogisticRegression

    rows = [["a", "b"], ["a"], ["b", "c"], ["c"], ["a", "c"], []] * 20
    target = np.array([1, 1, 0, 0, 1, 0] * 20, np.float32)
    ours = fit_linear(rows, target[:, None], min_count=1, penalty=1.0, seed=0)
    dense = np.array([[name in row for name in "abc"] for row in rows], float)
    theirs = LogisticRegression(C=1.0, max_iter=30, tol=1e-3, random_state=0).fit(dense, target > 0.5)
    assert ours.scores([*rows, ["unknown"]])[:-1, 0] == pytest.approx(theirs.decision_function(dense), abs=1e-4)
    assert ours.scores([["unknown"]])[0, 0] == pytest.approx(theirs.intercept_[0], abs=1e-5)


def test_a_network_says_what_scikit_learn_says() -> None:
    from sklearn.neural_network import MLPClassifier

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 5)).astype(np.float32)
    classes = (rows[:, 0] > 0).astype(np.int64) + 2 * (rows[:, 1] > 1)
    ours = fit_network(rows, classes, hidden=(8,), seed=0, num_classes=4)
    model = MLPClassifier((8,), max_iter=1, random_state=0)
    model.partial_fit((rows - ours.shift) * ours.scale, classes, classes=np.unique(classes))
    (w, b), (v, c) = ours.layers
    model.coefs_, model.intercepts_ = [w, v[:, model.classes_]], [b, c[model.classes_]]
    found = softmax(ours.scores(rows))
    assert found[:, model.classes_] == pytest.approx(model.predict_proba((rows - ours.shift) * ours.scale), abs=1e-5)


def test_classifiers_survive_their_arrays() -> None:
    linear = Linear({"a b": 0, "c": 1}, np.array([[1.5], [-2.0]], np.float32), np.array([0.25], np.float32))
    again = model_of(arrays_of(linear))
    assert isinstance(again, Linear)
    assert again.scores([["c", "a b"], []]).tolist() == linear.scores([["c", "a b"], []]).tolist()
    ones = np.ones((2, 2), np.float32)
    network = Network(ones[0], ones[0], [(ones, ones[0]), (ones, ones[0])])
    restored = model_of(arrays_of(network))
    assert isinstance(restored, Network)
    assert restored.scores(ones).tolist() == network.scores(ones).tolist()


def test_the_same_text_gives_the_same_molecule() -> None:
    assert analyze(PROSE) == analyze(PROSE)


def test_prose_has_bonds_of_all_kinds_within_their_bands() -> None:
    molecule = analyze(PROSE)
    assert {b.kind for b in molecule.bonds} >= {BondKind.STRONG_LOGIC, BondKind.REFLECTION}
    for bond in molecule.bonds:
        low, high = BANDS[BondKind(bond.kind)]
        assert bond.source < bond.target
        assert low <= bond.strength <= high


def test_evidence_says_what_is_shared_what_it_reads_as_and_how_likely_it_is() -> None:
    learned = [b for b in analyze(PROSE).bonds if b.origin == "model"]
    assert learned
    for bond in learned:
        assert re.fullmatch(
            r"(takes up .+ of|follows on|goes back to) step \d+; reads as [a-z ]+, \d\.\d\d", bond.evidence
        )
        low, high = BANDS[BondKind(bond.kind)]
        said = float(bond.evidence.rpartition(" ")[2])
        assert bond.strength == pytest.approx(low + (high - low) * said, abs=0.005 * (high - low) + 1e-4)


def test_a_question_about_an_earlier_step_reflects_and_a_plain_deduction_does_not() -> None:
    molecule = analyze(PROSE)
    text = {n: atom.text for n, atom in enumerate(molecule.atoms)}
    reflecting = {text[b.target] for b in molecule.bonds if b.kind == BondKind.REFLECTION}
    assert any(t.startswith("Wait, is the time") for t in reflecting)
    assert not any(t.startswith("So the speed is 240") for t in reflecting)


def test_what_claims_decide_overrules_what_is_learned() -> None:
    text = (
        "We want to solve 3x + 2 = 17 for the unknown number x.\n\nSubtracting two from both sides gives 3x = 15.\n\n"
        "Dividing both sides by three we obtain x = 5.\n\nPutting it back, 3*5 + 2 = 17 as the equation demands."
    )
    for markers in (True, False):
        (bond,) = [b for b in analyze(text, markers=markers).bonds if "puts step" in b.evidence]
        assert (bond.kind, bond.origin) == (BondKind.REFLECTION, "claims")


def test_markers_that_are_masked_change_nothing() -> None:
    bare = "The total is 3 + 4 = 7. But the second number was 5 and not 4. So the total is 3 + 5 = 8."
    marked = "The total is 3 + 4 = 7. Hmm. But the second number was 5 and not 4. So the total is 3 + 5 = 8."

    def by_text(text: str) -> set[tuple[str, str, str, float]]:
        molecule = analyze(text, markers=False)
        return {
            (molecule.atoms[b.source].text, molecule.atoms[b.target].text, b.kind, b.strength) for b in molecule.bonds
        }

    assert by_text(bare) == by_text(marked)


def test_a_step_is_found_again_over_two_hundred_others() -> None:
    filler = [
        f"The {noun} of the {place} is also of some interest here.\n"
        for noun in "colour shape weight age".split()
        for place in [f"{a}{b}" for a in "stone river cloud garden window table".split() for b in "abcdefghij"]
    ]
    texts = [r"Let \Omega_7 denote 4187 cubic furlongs.", *filler, r"So \Omega_7 is 4187 cubic furlongs after all."]
    assert len(texts) > 240
    i, j = find_candidates(find_mentions(texts), np.zeros((len(texts), len(HEADS)), np.float32), Evidence())
    assert (0, len(texts) - 1) in set(zip(i.tolist(), j.tolist(), strict=True))
    assert len(i) < 40 * len(texts)


@pytest.mark.parametrize(
    "text",
    [
        "设这个数为 x。已知 3x+2=17，所以 3x=15。于是 x=5。检验：3*5+2=17，与题目相符。因此答案是 5。",
        "Nous cherchons la valeur inconnue. On sait que 3x + 2 = 17, donc 3x = 15. Par conséquent x = 5. "
        "Vérifions maintenant : 3*5 + 2 = 17, ce qui convient parfaitement.",
    ],
    ids=["Chinese", "French"],
)
def test_other_languages_have_exact_evidence_only_and_say_so(text: str) -> None:
    molecule = analyze(text)
    assert len(molecule.atoms) >= 4
    assert any(b.kind == BondKind.REFLECTION for b in molecule.bonds)
    assert all(b.origin == "claims" and "not in English" in b.evidence for b in molecule.bonds)


def test_the_weights_are_in_the_package_and_small() -> None:
    folder = resources.files("stillery.bonds.weights")
    sizes = [len(folder.joinpath(f"{name}.npz").read_bytes()) for name in ("boundaries", "marked", "masked")]
    assert sum(sizes) < 6_000_000
    card = json.loads(folder.joinpath("card.json").read_text(encoding="utf-8"))
    assert card["data"]["licence"] == "Apache-2.0"
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    assert '"bonds/weights/*"' in project
