"""A user's own verifier: its verdict with evidence, and invalid verdicts."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillery.config import VerifyConfig, load_config
from stillery.errors import UserError
from stillery.records import Generation, Prompt, Split, VerdictKind
from stillery.stages.fingerprints import grading_settings
from stillery.training.rewards import correctness
from stillery.verify import GradingPool, GradingTask, grade
from stillery.verify.checks import check_verification
from stillery.verify.rows import grade_rows

OWN = """
import os, signal, sys, time

def palindrome(job):
    said = job.completion.rpartition("</think>")[2].strip()
    if job.task == "other":
        return None
    return said == said[::-1], f"{said[::-1]} reversed"

def misbehaving(job):
    what = job.question
    if what == "raises":
        raise KeyError("no such thing")
    if what == "hangs":
        time.sleep(60)
    if what == "hangs for good":
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.alarm(0)
        time.sleep(60)
    if what == "nonsense":
        return 0.7
    if what == "leaves":
        sys.exit(0)
    if what == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "reads":
        return input() == "x"
    print("prints")
    return True

def takes_two(generation, verdict):
    return True
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a module with functions, which can be imported."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_verifier.py").write_text(OWN)
    sys.path.insert(0, str(folder))
    yield "own_verifier"
    sys.path.remove(str(folder))
    sys.modules.pop("own_verifier", None)


def task(own: str, question: str = "", completion: str = "<think>\nx\n</think>\nanna", **fields: str) -> GradingTask:
    fields = {"function": f"{own}:misbehaving", **fields}
    return GradingTask(completion=completion, answer=None, answer_kind="none", question=question, **fields)


def test_it_decides_with_evidence_or_leaves_it_to_the_rules(own: str) -> None:
    name = f"{own}:palindrome"
    right = grade("<think>\nx\n</think>\nanna", answer=None, function=name)
    wrong = grade("<think>\nx\n</think>\nanne", answer="anne", function=name)
    assert (right.verdict, right.detail) == (VerdictKind.CORRECT, "anna reversed")
    assert (wrong.verdict, wrong.detail) == (VerdictKind.WRONG, "enna reversed")
    ruled = grade("<think>\nx\n</think>\nanne", answer="anne", function=name, task="other")
    compared = grade(r"It is \boxed{f((x+1)^2)}", answer="f(x^2+2x+1)", function=name, task="other")
    assert (ruled.verdict, compared.verdict) == (VerdictKind.CORRECT, VerdictKind.CORRECT)
    # What was never answered, it is not asked about.
    cut = grade("<think>\nx", answer=None, finish_reason="length", function=name)
    assert (cut.verdict, grade("<think>\nx\n</think>", answer=None, function=name).verdict) == ("truncated", "unparsed")


@pytest.mark.slow
def test_whatever_it_does_beside_deciding_is_a_failure_of_that_sample_alone(
    own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who takes the timer away is ended by the parent.
    monkeypatch.setattr("stillery.verify.pool.GRACE_S", 5.0)
    misdeeds = ["fine", "raises", "hangs", "nonsense", "leaves", "dies", "reads", "hangs for good", "fine"]
    with GradingPool(num_processes=1, deadline_s=1.0) as pool:
        found = list(pool.grade_many(task(own, misdeed) for misdeed in misdeeds))
    kinds = [verdict.verdict for verdict in found]
    assert kinds == ["correct", "error", "timeout", "error", "error", "error", "error", "timeout", "correct"]
    told = [verdict.detail or "" for verdict in found]
    assert "KeyError: 'no such thing'" in told[1]
    assert "longer than 1 s" in told[2]
    assert "returned 0.7; expected True, False or None" in told[3]
    assert "SIGKILL" in told[5]
    assert "EOFError" in told[6]


@pytest.mark.slow
def test_the_stages_the_rewards_and_the_fingerprint_know_it(own: str, tmp_path: Path) -> None:
    prompt = Prompt("p", "words", "A palindrome?", None, "none", [], "made up", Split.TRAIN, None, None)
    made = Generation("s", "p", 0, 0, "", "anna", "stop", 1, 1, None, "m", "{}", 0, False, None)
    config = VerifyConfig(function=f"{own}:palindrome")
    (verdict,) = grade_rows(config, [made], {"p": prompt})
    assert verdict.verdict == VerdictKind.CORRECT
    rewards = correctness(
        [""] * 2, ["anna", "anne"], answer=["x"] * 2, task=["words"] * 2, verify_function=[f"{own}:palindrome"] * 2
    )
    assert rewards == [1.0, 0.0]
    plain, owned = load_config(None), load_config(None, [f"verify.function={own}:palindrome"])
    assert "function" not in grading_settings(plain)
    assert grading_settings(owned)["function"]["code"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module:f", "cannot be imported"),
        ("own_verifier:absent", "cannot be imported"),
        ("own_verifier", "is no function"),
        ("own_verifier:os", "is no function"),
        ("own_verifier:takes_two", r"does not take 1 positional argument;"),
    ],
)
def test_what_is_no_verifier_is_known_before_the_first_stage(own: str, name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_verification(load_config(None, [f"verify.function={name}"]))
