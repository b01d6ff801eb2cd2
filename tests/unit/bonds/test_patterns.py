import math
from collections.abc import Sequence

import numpy as np
import pytest

from stillery.bonds.corpus.effective import extract_patterns, match_patterns
from stillery.bonds.corpus.isomers import find_isomers, formula
from stillery.bonds.corpus.patterns import KINDS, bond_divergence, bond_statistics
from stillery.records import Atom, Bond, BondKind, Claim, Molecule

LOGIC, CHECK, IDEA = KINDS
STRENGTH = {LOGIC: 0.9, CHECK: 0.7, IDEA: 0.4}


def molecule(
    sample_id: str,
    bonds: Sequence[tuple[int, int, str]],
    *,
    texts: Sequence[str] = (),
    claims: dict[int, Sequence[Claim]] | None = None,
) -> Molecule:
    """A molecule by hand; steps without a text of their own are called by their number."""
    size = max([len(texts), *(target + 1 for _, target, _ in bonds)])
    atoms: list[Atom] = []
    for index in range(size):
        text = texts[index] if index < len(texts) else f"step {index}"
        atoms.append(Atom(10 * index, 10 * index + 10, text, "line", list((claims or {}).get(index, [])), False))
    made = [Bond(s, t, kind, STRENGTH[kind], "claims", f"{s} to {t}") for s, t, kind in bonds]
    return Molecule(sample_id, atoms, made, 0.0, 0.0, 0.0, [])


def claim(text: str, *, holds: bool | None = True, corrected_by: int | None = None) -> Claim:
    return Claim(0, len(text), text, "arithmetic", holds, corrected_by)


def chain(sample_id: str, kinds: Sequence[str]) -> Molecule:
    """Each step bound to the one before it."""
    return molecule(sample_id, [(i, i + 1, kind) for i, kind in enumerate(kinds)])


def sampled(name: str, *, num: int, shares: Sequence[float], seed: int) -> list[Molecule]:
    rng = np.random.default_rng(seed)
    return [chain(f"{name}{i}", [KINDS[k] for k in rng.choice(3, size=20, p=shares)]) for i in range(num)]


def test_marginal_and_transitions_of_a_chain() -> None:
    found = bond_statistics([chain("a", [LOGIC, LOGIC, CHECK, LOGIC, IDEA])])
    assert {kind: share.value for kind, share in found.marginal.items()} == {LOGIC: 0.6, CHECK: 0.2, IDEA: 0.2}
    after_logic = {kind: round(share.value, 6) for kind, share in found.transitions[LOGIC].items()}
    assert after_logic == {LOGIC: 0.333333, CHECK: 0.333333, IDEA: 0.333333}
    assert found.transitions[CHECK][LOGIC].value == 1.0
    # Nothing ever follows an exploration here, so there is no row for it rather than a made-up one.
    assert IDEA not in found.transitions
    assert (found.num_traces, found.num_bonds, found.num_transitions) == (1, 5, 4)


def test_a_step_with_many_bonds_counts_once_in_the_transitions() -> None:
    # Step 2 rests on two steps; step 4 follows it over step 3, at which no bond arrives.
    found = bond_statistics([molecule("a", [(0, 1, LOGIC), (0, 2, LOGIC), (1, 2, CHECK), (2, 4, IDEA)])])
    assert found.num_transitions == 2
    # Half a step each from logic to logic and to the check, and half a step from logic on to the idea.
    assert [found.transitions[LOGIC][kind].value for kind in KINDS] == pytest.approx([1 / 3] * 3)
    assert found.transitions[CHECK][IDEA].value == 1.0


@pytest.mark.slow
def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    shares = (0.6, 0.25, 0.15)
    covered = 0
    for seed in range(60):
        found = bond_statistics(sampled("a", num=40, shares=shares, seed=seed), num_resamples=400)
        covered += sum(found.marginal[k].low <= p <= found.marginal[k].high for k, p in zip(KINDS, shares, strict=True))
    assert 0.88 <= covered / 180 <= 0.99


def test_statistics_are_the_same_for_the_same_seed() -> None:
    corpus = sampled("a", num=10, shares=(0.5, 0.3, 0.2), seed=1)
    assert bond_statistics(corpus, seed=3) == bond_statistics(corpus, seed=3)
    assert bond_statistics(corpus, seed=3) != bond_statistics(corpus, seed=4)


def test_traces_of_one_problem_widen_the_interval() -> None:
    # Ten problems of ten identical traces each hold ten observations, not a hundred.
    base = sampled("a", num=10, shares=(0.5, 0.3, 0.2), seed=2)
    corpus = [Molecule(f"{m.sample_id}.{i}", m.atoms, m.bonds, 0.0, 0.0, 0.0, []) for m in base for i in range(10)]
    problems = {m.sample_id: m.sample_id.split(".")[0] for m in corpus}
    naive, grouped = (bond_statistics(corpus, problems=p).marginal[LOGIC] for p in (None, problems))
    assert grouped.high - grouped.low > 2 * (naive.high - naive.low)


def test_a_corpus_without_bonds_is_refused() -> None:
    with pytest.raises(ValueError, match="none of 1 molecules has a bond"):
        bond_statistics([molecule("a", [], texts=["only step"])])
    with pytest.raises(ValueError, match="the right corpus"):
        bond_divergence([chain("a", [LOGIC])], [molecule("b", [], texts=["only step"])])


def test_corpora_without_a_kind_in_common_are_one_bit_apart() -> None:
    found = bond_divergence([chain("a", [LOGIC] * 3)], [chain("b", [IDEA] * 3)]).marginal
    assert found.value == pytest.approx(1.0)
    assert bond_divergence([chain("a", [LOGIC])], [chain("b", [LOGIC])]).marginal.value == 0.0


def test_the_divergence_is_the_entropy_that_the_corpus_explains() -> None:
    left, right = chain("a", [LOGIC] * 7 + [CHECK] * 2 + [IDEA]), chain("b", [LOGIC] + [CHECK] * 5 + [IDEA] * 4)
    p, q = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.5, 0.4])

    def entropy(x: np.ndarray) -> float:
        return float(-(x * np.log2(x)).sum())

    expected = entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
    assert bond_divergence([left], [right]).marginal.value == pytest.approx(expected)


def test_different_corpora_stand_out_of_the_null_and_equal_ones_do_not() -> None:
    left = sampled("a", num=30, shares=(0.7, 0.2, 0.1), seed=1)
    apart = bond_divergence(left, sampled("b", num=30, shares=(0.4, 0.3, 0.3), seed=2), num_resamples=500)
    assert apart.marginal.value > 3 * apart.marginal.null_high
    assert apart.marginal.p_value == pytest.approx(1 / 501)
    assert apart.marginal.split_left is not None
    assert apart.marginal.split_left < apart.marginal.value / 3
    same = bond_divergence(left, sampled("b", num=30, shares=(0.7, 0.2, 0.1), seed=3), num_resamples=500)
    assert same.marginal.p_value > 0.05
    assert same.transitions.p_value > 0.05


@pytest.mark.slow
def test_p_values_are_uniform_where_there_is_no_difference() -> None:
    shares = (0.6, 0.3, 0.1)
    values = [
        bond_divergence(
            sampled("a", num=8, shares=shares, seed=2 * s),
            sampled("b", num=8, shares=shares, seed=2 * s + 1),
            num_resamples=99,
        ).marginal.p_value
        for s in range(60)
    ]
    assert sum(p <= 0.2 for p in values) <= 22
    assert 0.35 < np.mean(values) < 0.65


def test_order_alone_is_a_difference_of_transitions_not_of_shares() -> None:
    alternating = [chain(f"a{i}", [LOGIC, CHECK] * 10) for i in range(6)]
    blocks = [chain(f"b{i}", [LOGIC] * 10 + [CHECK] * 10) for i in range(6)]
    found = bond_divergence(alternating, blocks, num_resamples=200)
    assert found.marginal.value == 0.0
    assert found.marginal.p_value == 1.0
    assert found.transitions.value > 0.5
    assert found.transitions.p_value < 0.01


def test_shares_alone_are_no_difference_of_transitions() -> None:
    # In both, what follows does not depend on what went before, beyond the shares of two kinds in a cycle.
    cycle = [chain(f"a{i}", [LOGIC, CHECK, IDEA] * 6 + [LOGIC]) for i in range(4)]
    tails = [chain(f"b{i}", [LOGIC, CHECK]) for i in range(4)]
    found = bond_divergence(cycle, tails, num_resamples=50)
    assert found.marginal.value > 0.05
    assert found.transitions.value == pytest.approx(0.0, abs=1e-12)


def test_within_problems_the_problems_own_difference_is_no_difference_of_corpora() -> None:
    # Easy problems give logic, hard ones checks; the left corpus merely holds more of the easy ones.
    easy = [chain(f"e{i}", [LOGIC] * 5) for i in range(12)]
    hard = [chain(f"h{i}", [CHECK] * 5) for i in range(12)]
    problems = {m.sample_id: m.sample_id[0] for m in [*easy, *hard]}
    left, right = easy[:9] + hard[:3], easy[9:] + hard[3:]
    assert bond_divergence(left, right, num_resamples=500).marginal.p_value < 0.05
    assert bond_divergence(left, right, problems=problems, num_resamples=500).marginal.p_value == 1.0
    with pytest.raises(ValueError, match="no problem has traces in both"):
        bond_divergence(easy, hard, problems=problems)


def checking(sample_id: str, *, wait: bool = True) -> Molecule:
    """Two chained computations, the first of them wrong, and a check of it."""
    opening = "Wait, let me recompute" if wait else "So then"
    return molecule(
        sample_id,
        [(0, 1, LOGIC), (0, 2, CHECK), (1, 3, IDEA)],
        texts=["First 3 * 4 = 13", "and 13 + 1 = 14", f"{opening}: 3 * 4 = 12", "Maybe try another way"],
        claims={
            0: [claim("3 * 4 = 13", holds=False, corrected_by=2)],
            1: [claim("13 + 1 = 14")],
            2: [claim("3 * 4 = 12")],
        },
    )


def test_patterns_are_the_recurring_bonds_above_one_half() -> None:
    library = extract_patterns([checking("a"), checking("b"), chain("c", [LOGIC])])
    assert {p.kind for p in library.patterns} == {LOGIC, CHECK}
    check = next(p for p in library.patterns if p.kind == CHECK)
    assert check.conditions == {"reach": "near", "source": "arithmetic", "target": "arithmetic"}
    assert (check.num_bonds, check.num_traces, check.share) == (2, 2, 2 / 5)
    assert (check.strength_low, check.strength_high) == (pytest.approx(0.6), pytest.approx(0.8))
    assert {e.sample_id for e in check.examples} == {"a", "b"}
    # The bond of "c" alone has other conditions, and one trace makes no pattern.
    assert all(p.num_traces == 2 for p in library.patterns)
    assert library.counts == [[1, 1], [1, 1], [0, 0]]


def test_triggers_are_what_goes_with_a_pattern_more_than_with_others() -> None:
    corpus = [m for i in range(10) for m in (checking(f"a{i}"), chain(f"b{i}", [LOGIC] * 4))]
    check = next(p for p in extract_patterns(corpus).patterns if p.kind == CHECK)
    names = {t.name: t for t in check.triggers}
    assert {"later step corrects the earlier", "opens with “wait”"} <= names.keys()
    assert (names["opens with “wait”"].num_bonds, names["opens with “wait”"].num_traces) == (10, 10)
    assert all(t.z >= 2 for t in check.triggers)
    assert not any("step" in name and "opens" in name for name in names)


def test_what_one_trace_keeps_saying_triggers_nothing() -> None:
    chatty = molecule("chatty", [(i, i + 1, CHECK) for i in range(30)], texts=["hexagon"] * 31)
    plain = [molecule(f"p{i}", [(0, 1, CHECK), (1, 2, LOGIC)], texts=["now"] * 3) for i in range(5)]
    check = next(p for p in extract_patterns([chatty, *plain]).patterns if p.kind == CHECK)
    assert check.num_bonds == 35
    assert not any("hexagon" in t.name for t in check.triggers)


def test_a_problem_is_matched_to_what_traces_of_similar_problems_do() -> None:
    apples, coins = "Tom has 12 apples and eats 5 apples", "A coin is heads up and Ann flips the coin"
    molecules = [m for i in range(6) for m in (checking(f"apple{i}"), chain(f"coin{i}", [LOGIC] * 3))]
    questions = {m.sample_id: apples if m.sample_id.startswith("apple") else coins for m in molecules}
    library = extract_patterns(molecules, questions=questions)
    best = match_patterns(library, "Ann eats 3 apples of 20 apples", top=1)[0]
    assert best.pattern.conditions["source"] == "arithmetic"
    assert best.lift > 1.2
    (check,) = match_patterns(library, "Eve eats 3 apples", kind=CHECK)
    assert check.pattern.kind == CHECK
    coin = match_patterns(library, "Bob flips the coin")[0]
    assert (coin.pattern.kind, coin.pattern.conditions["source"]) == (LOGIC, "no claim")
    shares = [m.expected_share for m in match_patterns(library, "Bob flips the coin", top=99)]
    assert math.isclose(sum(shares), 1.0)
    # A problem like none here gets the corpus as it is: lift 1, the most common first.
    strange = match_patterns(library, "Prove Fermat's theorem")
    assert [m.lift for m in strange] == pytest.approx([1.0] * 3)
    assert strange[0].expected_share == max(p.share for p in library.patterns)


def test_chinese_problems_match_without_spaces() -> None:
    molecules = [m for i in range(3) for m in (checking(f"a{i}"), chain(f"b{i}", [LOGIC] * 3))]
    questions = {m.sample_id: "小明有12个苹果" if m.sample_id[0] == "a" else "硬币正面朝上" for m in molecules}
    best = match_patterns(extract_patterns(molecules, questions=questions), "小红吃了苹果")[0]
    assert best.pattern.conditions["source"] == "arithmetic"


def test_matching_needs_questions_and_patterns() -> None:
    with pytest.raises(ValueError, match="give extract_patterns `questions`"):
        match_patterns(extract_patterns([checking("a"), checking("b")]), "How many apples?")
    with pytest.raises(ValueError, match="no pattern"):
        match_patterns(extract_patterns([checking("a")], questions={"a": "apples"}), "How many apples?")


def claiming(sample_id: str, bonds: Sequence[tuple[int, int, str]], claims: Sequence[str]) -> Molecule:
    return molecule(sample_id, bonds, texts=claims, claims={i: [claim(text)] for i, text in enumerate(claims)})


def test_isomers_share_their_claims_and_differ_in_bonds() -> None:
    claims = ["3 × 4 = 12", "12 + 1 = 13", "13 - 1 = 12"]
    respelled = ["3*4=12", "$12+1 = 13$.", "13 − 1 = 12"]
    base = [(0, 1, LOGIC), (1, 2, LOGIC)]
    corpus = [
        claiming("base", base, claims),
        claiming("same", base, respelled),
        claiming("kind", [(0, 1, LOGIC), (1, 2, CHECK)], claims),
        claiming("other", [(0, 1, LOGIC), (0, 2, CHECK)], claims),
        claiming("foreign", base, ["1 + 1 = 2", "2 + 2 = 4", "4 + 4 = 8"]),
        claiming("elsewhere", base, claims),
    ]
    problems = {m.sample_id: "p" for m in corpus} | {"elsewhere": "q"}
    report = find_isomers(corpus, problems=problems)
    relations = {(p.left, p.right): (p.relation, round(p.bond_distance, 3)) for p in report.pairs}
    assert relations == {
        ("base", "same"): ("identical", 0.0),
        ("base", "kind"): ("by_kind", 0.667),
        ("same", "kind"): ("by_kind", 0.667),
        ("base", "other"): ("constitutional", 0.667),
        ("same", "other"): ("constitutional", 0.667),
        ("kind", "other"): ("constitutional", 0.667),
    }
    assert (report.num_problems, report.num_pairs, report.num_same_formula, report.num_isomers) == (2, 10, 6, 5)


def test_only_bonds_between_shared_claims_are_compared() -> None:
    left = claiming("left", [(0, 1, LOGIC), (1, 2, LOGIC)], ["2*3=6", "6+1=7", "7+0=7"])
    right = claiming("right", [(0, 1, LOGIC), (0, 2, CHECK)], ["2*3=6", "6+1=7", "6/3=2"])
    problems = {"left": "p", "right": "p"}
    (pair,) = find_isomers([left, right], problems=problems).pairs
    assert (pair.num_shared, pair.overlap, pair.relation) == (2, 0.5, "identical")
    assert not find_isomers([left, right], problems=problems, min_overlap=1.0).pairs
    unbonded = claiming("right", [], ["2*3=6", "6+1=7"])
    assert not find_isomers([claiming("left", [], ["2*3=6", "6+1=7"]), unbonded], problems=problems).pairs


def test_a_formula_ignores_spelling_but_not_values() -> None:
    assert formula(claiming("a", [], ["1,200 × 2 = 2,400."])) == formula(claiming("b", [], ["1200*2=2400"]))
    assert formula(claiming("a", [], ["f(1,2) = 3"])) != formula(claiming("b", [], ["f(12) = 3"]))


def test_a_molecule_of_an_unknown_problem_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks sample 'a'"):
        find_isomers([chain("a", [LOGIC])], problems={})
    with pytest.raises(ValueError, match="lacks 1 of the samples"):
        bond_statistics([chain("a", [LOGIC])], problems={})


def test_the_kinds_are_those_of_the_records() -> None:
    assert [BondKind(kind) for kind in KINDS] == list(BondKind)
