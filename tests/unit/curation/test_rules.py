"""Rules on one prompt's samples: orders, bounds, and errors of a rule before anything is sampled."""

import dataclasses

import pytest

from stillery.curation.rules import Candidate, RuleContext, apply_rules, check_rules, pattern_distance, pattern_of
from stillery.errors import UserError
from stillery.records import Bond, Generation, Molecule

TEXTS = ["two and two is four", "two and two is four so four", "count up from two: three, four", "half of eight"]


def candidates(kinds: tuple[str, ...] = ("strong_logic",) * 4) -> list[Candidate]:
    made = []
    for index, (text, kind) in enumerate(zip(TEXTS, kinds, strict=True)):
        row = Generation(
            sample_id=f"s{index}", prompt_id="p", sample_index=index, seed=0, rendered="q", completion=text,
            finish_reason="stop", num_prompt_tokens=1, num_tokens=40 - 10 * index, mean_logprob=None, model="T",
            sampling="{}", attempt=0, surplus=False, error=None,
        )  # fmt: skip
        molecule = Molecule(row.sample_id, [], [Bond(0, 1, kind, 0.9, "model", "")], 0.0, index / 4, 0.0, [])
        made.append(Candidate(row, molecule))
    return made


def order(*rules: str, **context: object) -> list[int]:
    kept, _ = apply_rules(rules, candidates(), RuleContext(**context))  # type: ignore[arg-type]
    return [c.generation.sample_index for c in kept]


def test_orders() -> None:
    assert order() == [0, 1, 2, 3]
    assert order("shortest") == [3, 2, 1, 0]
    assert order("stable") == [3, 2, 1, 0]
    assert order("diverse")[0] == 0
    assert order("diverse")[-1] == 1, "the repeat of the first comes last"
    drawn = {tuple(order("random", seed=seed)) for seed in range(20)}
    assert len(drawn) > 5
    assert order("random", seed=3) == order("random", seed=3)


def test_bounds_name_the_rule_of_what_they_leave_out() -> None:
    kept, dropped = apply_rules(["tokens:15-35", "stability:0.3", "shortest"], candidates(), RuleContext())
    assert [c.generation.sample_index for c in kept] == [2]
    assert dropped == {"s0": "tokens:15-35", "s3": "tokens:15-35", "s1": "stability:0.3"}
    # Three 3-grams of five are shared.
    assert order("unlike:0.6") == [0, 2, 3]
    assert order("unlike:0.7") == [0, 1, 2, 3]


def test_the_nearest_to_a_pattern() -> None:
    mixed = candidates(("exploratory_association", "strong_logic", "reflection_verification", "strong_logic"))
    target = {"reflection_verification": 1.0}
    kept, _ = apply_rules(["pattern"], mixed, RuleContext(target_pattern=target))
    assert kept[0].generation.sample_index == 2
    bare = dataclasses.replace(mixed[0].molecule, bonds=[])  # type: ignore[type-var]
    assert pattern_distance(pattern_of(bare), target) == 1.0
    assert pattern_distance({"a": 2, "b": 2}, {"a": 1}) == 0.5


@pytest.mark.parametrize(
    ("rules", "options", "message"),
    [
        (["shortst"], {}, "did you mean shortest"),
        (["stability:high"], {}, "needs a number"),
        (["unlike"], {}, "needs a number"),
        (["tokens:100"], {}, "write tokens:LEAST-MOST"),
        (["stable"], {"bonds": False}, "set bonds.enabled=true"),
        (["pattern"], {}, "needs curate.target_pattern"),
        (["pattern"], {"target_pattern": {"reflection": 1.0}}, "did you mean reflection_verification"),
    ],
)
def test_a_faulty_rule_is_named_beforehand(rules: list[str], options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_rules(rules, **{"target_pattern": {}, "bonds": True, **options})  # type: ignore[arg-type]
