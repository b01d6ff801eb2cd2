"""The rewards one by one: gates, signs, inputs from TRL, and errors of broken ones."""

import functools
import inspect
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import stillery.training.rewards as rewards
from stillery.errors import UserError
from stillery.training.rewards import RewardWeights, combined, guarded, score, structure_share, teacher_lengths

QUESTION = "Tom has 14 apples and buys 25 more. He doubles them, then gives 13 away. How many apples does he have?"
LINES = "14 + 25 = 39\n39 * 2 = 78\n{}78 - 13 = 65\n{}"
FUNCTIONS = ("correctness", "well_formed", "reflection_bond", "false_claims", "length", "repetition", "combined")


def trace(*lines: str, before: str = "", answer: str = "65") -> str:
    late = "".join(f"{line}\n" for line in lines)
    return f"<think>\n{LINES.format(before, late)}</think>\n<answer>{answer}</answer>"


def worth(text: str, *, answer: str = "65", **columns: Any) -> float:
    total = score(text, question=QUESTION, answer=answer, **columns).total(RewardWeights())
    assert total is not None
    return total


def of(name: str, text: Any, *, answer: str | None = "65", **columns: Any) -> float | None:
    function = getattr(rewards, name)
    given = {key: [value] for key, value in {"question": QUESTION, "answer": answer, **columns}.items()}
    return function(prompts=["p"], completions=[text], completion_ids=[[1]], trainer_state=None, **given)[0]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_reward_has_trls_signature_pickles_and_takes_messages(name: str) -> None:
    function = getattr(rewards, name)
    assert list(inspect.signature(function).parameters)[:2] == ["prompts", "completions"]
    assert pickle.loads(pickle.dumps(function)) is function
    text = trace("65 + 13 = 78")
    messages = [{"role": "assistant", "content": text}]
    parts = [{"role": "assistant", "content": [{"type": "text", "text": text}]}]
    assert of(name, text) == of(name, messages) == of(name, parts) == of(name, text)
    assert isinstance(of(name, text), float)


def test_the_formula() -> None:
    assert worth(trace()) == 1.0
    assert worth(trace("65 + 13 = 78")) == 1.15
    assert worth(trace(answer="64")) == 0.0
    assert worth(trace("65 + 13 = 78", answer="64")) == 0.0
    assert worth(trace() + " and more") == -0.1
    assert worth(trace(), teacher_length=len(trace()) / 2) == pytest.approx(1 - 0.05 * 0.5)
    assert worth(trace(), teacher_length=len(trace()) / 9) == pytest.approx(1 - 0.05)
    assert worth(trace("17 + 17 = 35")) == pytest.approx(1 - 0.1 / 3, abs=1e-6)
    assert worth(trace("65 + 13 = 79, had 79, ok")) <= 1 - 0.15
    parts = score(trace("65 + 13 = 78"), question=QUESTION, answer="65")
    weights = RewardWeights(reflection=0.3)
    assert parts.total(weights) == 1.3
    assert (parts.num_steps, parts.reflection, parts.false_claims, parts.length, parts.repetition) == (3, 1, 0, 0, 0)


def test_checks_pay_in_proportion_to_the_way() -> None:
    lines = [f"{n} + 7 = {n + 7}" for n in range(14, 14 + 7 * 7, 7)]
    question = "Ann has 14 eggs and gets 7 more on each of 7 days. How many eggs does she have?"
    text = "<think>\n" + "\n".join(lines) + "\n{}</think>\n<answer>63</answer>"
    values = [
        score(
            text.format("".join(f"{n + 7} - 7 = {n}\n" for n in range(14, 14 + 7 * k, 7))),
            question=question,
            answer="63",
        )
        for k in range(5)
    ]
    assert [part.num_steps for part in values] == [7] * 5
    assert [part.reflection for part in values] == pytest.approx([0, 1 / 3, 2 / 3, 1, 1])


def test_single_rewards() -> None:
    checked, wrong = trace("65 + 13 = 78"), trace("65 + 13 = 78", answer="64")
    assert of("correctness", checked) == 1
    assert of("correctness", wrong) == 0
    assert of("well_formed", checked) == 1
    assert of("well_formed", "<think></think><answer>65</answer>") == 0
    assert of("reflection_bond", checked) == 1
    assert of("reflection_bond", wrong) == 0
    assert of("reflection_bond", trace()) == 0
    assert of("reflection_bond", trace("65 + 13 = 78, had 79, ok")) == -1
    assert of("false_claims", trace()) == 0
    assert of("false_claims", trace("5 + 5 = 11")) == pytest.approx(-1 / 3)
    assert of("length", trace(), teacher_length=1.0) == -1
    assert of("length", trace()) == 0
    assert of("repetition", trace()) == 0
    repeated = of("repetition", trace(*["14 + 25 = 39"] * 60))
    assert repeated is not None
    assert -1 <= repeated < -0.5


def test_a_failure_of_the_verifier_leaves_the_row_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("correctness", "reflection_bond", "combined"):
        assert of(name, trace(), answer=None) is None
    deep = "(" * 3000 + "x" + ")" * 3000
    hostile = f"<think>\n1 + 1 = 2\n</think>\n<answer>{deep}</answer>"
    assert of("combined", hostile, answer="x + 1", answer_kind="expression") in (0.0, None)
    from stillery.training.rewards import functions

    def failing(*_: Any, **__: Any) -> Any:
        return type("Verdict", (), {"verdict": "timeout"})

    monkeypatch.setattr(functions, "grade", failing)
    assert [of(name, trace()) for name in ("correctness", "reflection_bond", "combined")] == [None] * 3
    assert of("false_claims", trace()) == 0


def test_what_is_missing_or_does_not_fit_is_named() -> None:
    with pytest.raises(UserError, match="reward combined needs the column 'answer'"):
        combined(["p"], ["c"])
    with pytest.raises(UserError, match="reward combined: 2 answer for 1 completions"):
        combined(["p"], ["c"], answer=["1", "2"])
    with pytest.raises(UserError, match="sum below 1"):
        combined(["p"], ["c"], answer=["1"], weights=RewardWeights(reflection=0.9, false_claims=0.2))


def raising(**_: Any) -> list[float | None]:
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (raising, "reward raising failed: ZeroDivisionError: division by zero"),
        (lambda **_: [math.nan], "reward <lambda> is nan for completion 0"),
        (lambda **_: [math.inf], "reward <lambda> is inf for completion 0"),
        (lambda **_: [1.0, 2.0], "reward <lambda> returned 2 values for 1 completions"),
    ],
)
def test_a_broken_reward_is_named(made: Callable[..., Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        guarded(made)(["p"], ["c"])


def test_a_guarded_reward_keeps_its_name_and_pickles() -> None:
    weighted = guarded(functools.partial(combined, weights=RewardWeights(reflection=0.3)))
    again = pickle.loads(pickle.dumps(weighted))
    assert getattr(again, "__name__", None) == "combined"
    assert again(["p"], [trace("65 + 13 = 78")], answer=["65"], question=[QUESTION]) == [1.3]


def test_parts_are_logged_apart() -> None:
    metrics: dict[str, float] = {}
    extra: dict[str, list[Any]] = {}
    texts = [trace(), trace("65 + 13 = 78"), trace(answer="64"), "65"]
    columns = {"question": [QUESTION] * 4, "answer": ["65"] * 4}
    combined(["p"] * 4, texts, **columns, log_metric=metrics.__setitem__, log_extra=extra.__setitem__)
    assert metrics["reward/well_formed"] == 0.75
    assert metrics["reward/reflection"] == 0.5
    assert 0 < metrics["reward/structure_share"] < 0.2
    assert extra["reward/reflection"][1] == 1
    assert len(extra["reward/correct"]) == 4


def test_the_share_of_structure_in_the_advantage() -> None:
    assert structure_share([1.0, 0.0], [0.0, 0.0], ["a", "a"]) == 0
    assert structure_share([1.15, 1.0], [0.15, 0.0], ["a", "a"]) == pytest.approx(1)
    assert structure_share([1.0, 1.0, None], [0.0, 0.0, 0.0], ["a", "a", "a"]) is None
    # Between groups nothing is compared.
    assert structure_share([1.0, 0.0], [0.0, 0.0], ["a", "b"]) is None


def test_teacher_lengths_go_by_the_number_of_steps() -> None:
    samples = {
        "a": [trace(), trace("65 + 13 = 78")],
        "b": ["<think>\n14 + 25 = 39\n</think>\n<answer>39</answer>"],
        "c": [],
    }
    found = teacher_lengths(samples, dict.fromkeys(samples, QUESTION))
    assert found["a"] == ((len(samples["a"][0]) + len(samples["a"][1])) / 2, 3)
    assert found["b"] == (float(len(samples["b"][0])), 1)
    assert "c" not in found


def test_right_first_is_at_least_wrong_then_right() -> None:
    planted = trace(before="78 - 13 = 66\nwait, that is wrong\n")
    assert worth(planted) <= worth(trace())
    caught = trace(before="78 - 13 = 66\ncheck: 66 + 13 = 79, had 78, no\nwait, redo: ")
    assert worth(caught) <= worth(trace())


@pytest.mark.parametrize("marker", ["Wait. ", "Hmm, let me double-check. ", "Actually, ", "check: "])
def test_markers_change_nothing(marker: str) -> None:
    for text in (trace(), trace("65 + 13 = 78"), trace("5 + 5 = 11")):
        assert worth(text.replace("78 - 13", f"{marker}78 - 13").replace("65 + 13", f"{marker}65 + 13")) == worth(text)
