"""The adversarial suite: no attack beats its honest twin, in reward or stability; honest checks pay off."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from stillery.cli.main import main
from stillery.cli.reward import attack_table, summarize
from stillery.config.rewards import RewardWeights
from stillery.training.rewards import score
from stillery.training.rewards.attacks import ATTACKS, AttackOutcome, HonestTrace, honest_traces, run_suite
from support.gsm8k_traces import gsm8k_traces
from support.shared_data import shared_data

# Of each kind of honest trace one with another seed than the command's; every fourth, to take seconds.
TRACES = list(honest_traces(1, seed=7))[::4]


def worth(text: str, honest: HonestTrace) -> float:
    given: dict[str, Any] = {"question": honest.question, "answer": honest.answer, "answer_kind": honest.answer_kind}
    total = score(text, choices=honest.choices, **given).total(RewardWeights())
    assert total is not None
    return total


def shown(outcome: AttackOutcome) -> str:
    gains = f"{outcome.twin} -> {outcome.attacked}, {outcome.twin_stability} -> {outcome.attacked_stability}"
    return f"{outcome.attack}: {gains}\n{outcome.twin_text}\n---\n{outcome.attacked_text}"


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_pays(attack: str) -> None:
    outcomes = list(run_suite(TRACES, attacks=[attack], seed=7))
    assert outcomes
    paying = [o for o in outcomes if o.pays or o.steadies]
    assert not paying, shown(paying[0])


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_pays_on_real_prose(attack: str) -> None:
    traces = (h for h in gsm8k_traces(shared_data("gsm8k/test.jsonl")) if len(h.sums) > 1)
    paying = [o for o in run_suite(itertools.islice(traces, 8, 10), attacks=[attack]) if o.pays or o.steadies]
    assert not paying, shown(paying[0])


def test_honest_traces_are_right_and_an_honest_check_pays_a_little() -> None:
    for honest in honest_traces(1, seed=7):
        assert worth(honest.text, honest) >= 1.0, honest.text
        for s in honest.sums if "check" not in honest.text else ():
            checked = worth(honest.with_lines(s.undone()), honest)
            # Nothing on the way to the answer may be undone where a value is trivial or not used.
            assert 1.0 <= checked <= 1.15
    stories = list(honest_traces(1, seed=7))[-4:]
    for honest in stories:
        assert all(worth(honest.with_lines(s.undone()), honest) > 1.0 for s in honest.sums), honest.text


def test_a_sum_worked_out_term_by_term_is_another_route() -> None:
    honest = TRACES[-1]
    apples = HonestTrace(
        "Tom has 14 apples and buys 25 more. He doubles them. How many are there?",
        "78", "number", (), ("He has 14 + 25 = 39.", "Doubled, 39 * 2 = 78."),
    )  # fmt: skip
    another = apples.with_lines("Or: 14 * 2 = 28.", "And 25 * 2 = 50.", "Together 28 + 50 = 78.")
    assert worth(another, apples) > worth(apples.text, apples)
    assert worth(apples.with_lines("Or: 40 * 2 = 80.", "And 1 * 2 = 2.", "So 80 - 2 = 78."), apples) == 1.0
    assert worth(honest.text, honest) >= 1.0


def test_a_solution_put_into_the_questions_equation_pays() -> None:
    honest = HonestTrace("Solve for m: 4*m + 7 = 31.", "6", "number", (), ("4 * m = 31 - 7 = 24", "m = 24 / 4 = 6"))
    assert worth(honest.with_lines("check: 4 * 6 + 7 = 24 + 7 = 31, had 31, ok"), honest) > worth(honest.text, honest)


def test_an_attack_that_pays_fails_the_table() -> None:
    honest = TRACES[0]
    paying = AttackOutcome("copied checks", honest, "attacked", "twin", 1.0, 1.05, 1.0, 1.0)
    row = summarize("copied checks", [paying])
    assert row["most_gained"] == pytest.approx(0.05)
    assert "FAIL (1 pay, 0 steady)" in attack_table([row])
    level = AttackOutcome("copied checks", honest, "attacked", "twin", 1.0, 1.0, 1.0, 1.0)
    assert attack_table([summarize("copied checks", [level])]).endswith("| pass |")


def test_the_command_scores_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    honest = TRACES[-1]
    file = tmp_path / "completions.jsonl"
    right = {"question": honest.question, "answer": honest.answer, "completion": honest.text, "id": "right"}
    file.write_text("\n".join(json.dumps(row) for row in (right, {**right, "answer": "-1", "id": "wrong"})))
    assert main(["reward", str(file), "--json"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["id"], first["reward"], first["well_formed"]) == ("right", 1.0, True)
    assert (second["id"], second["reward"], second["correct"]) == ("wrong", 0.0, False)
    assert main(["reward", str(file)]) == 0
    assert "false_claims" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("[1]", "line 1 is no JSON object"),
        ("{", "line 1 is not JSON"),
        ('{"question": "q"}', "no answer"),
    ],
)
def test_the_command_names_what_it_cannot_read(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "completions.jsonl"
    file.write_text(text)
    assert main(["reward", str(file)]) == 2
    assert said in capsys.readouterr().err
    assert main(["reward"]) == 2
