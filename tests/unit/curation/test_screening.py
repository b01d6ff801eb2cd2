"""Problems excluded from training: contaminated ones and near-duplicates, found where planted and nowhere else."""

import json
import random
from pathlib import Path

import pytest

from stillery.config import Config, CurateConfig, DecontaminateConfig
from stillery.curation.checks import check_curation
from stillery.curation.contamination import EvaluationIndex, contaminated
from stillery.curation.near_duplicates import find_near_duplicates
from stillery.curation.screening import evaluation_fingerprints, screen_prompts
from stillery.curation.words import words_of
from stillery.errors import UserError
from stillery.problems.tasks.words import WORDS
from stillery.records import Prompt
from support.shared_data import shared_data

EVALUATION = [
    r"Let $f(x) = 3x + 12{,}000$. Find the value of $f(7)$ and write your answer as a \textbf{single} integer number.",
    "Ann has 12 apples and gives 5 of them to Bob. How many apples does she have left now?",
    "Compute 3 + 4 * 5.",
    "1 + 1 = ?",
]


def test_writings_of_one_text_have_the_same_words() -> None:
    plain = words_of("let f(x) = 3x + 12000.")
    assert words_of(r"Let $f\left(x\right) = 3x + 12{,}000$.") == plain
    assert words_of("**Let** f(x) = 3x + 12,000.") == plain
    assert words_of("3 + 4") != words_of("3 * 4")


@pytest.mark.parametrize(
    ("text", "row"),
    [
        (EVALUATION[0], 0),
        ("Here is one. Let f(x) = 3x + 12000. Find the value of f(7) and write your answer as a word.", 0),
        (EVALUATION[1].upper(), 1),
        ("First compute 3 + 4 * 5. Then double it.", 2),
        ("Ann has 13 apples and gives 5 of them to Bob. How many pears does she have left?", None),
        ("Compute 3 + 4 * 6.", None),
        ("1 + 1 = ?", None),
        ("", None),
    ],
)
def test_a_problem_of_an_evaluation_set_is_found_and_others_are_not(text: str, row: int | None) -> None:
    hit = EvaluationIndex({"test": EVALUATION}).find(text)
    assert (None if hit is None else hit.row) == row


def test_a_problem_that_was_reworded_is_found_by_similarity() -> None:
    reworded = "Ann has 12 apples and she gives 5 of them to Bob. How many apples are left now?"
    assert EvaluationIndex({"test": EVALUATION}).find(reworded) is None
    hit = EvaluationIndex({"test": EVALUATION}, fuzzy=0.5).find(reworded)
    assert hit is not None
    assert (hit.row, hit.match, hit.shared) == (1, "similarity", 0.59)


def test_a_closing_formula_makes_no_two_problems_one() -> None:
    formula = "The answer is m over n where m and n are relatively prime positive integers. Find m + n."
    held = (
        "A die shows six with probability one in four, the other faces alike. It is rolled until three sixes are seen."
    )
    held = f"{held} Each roll is independent of all of the others that came before it. {formula}"
    index = EvaluationIndex({"test": [held]})
    assert index.find(f"Let x, y and z be positive reals with a product of eight. {formula}") is None
    hit = index.find(held.replace("A die", "One die"))
    assert hit is not None
    assert hit.shared > 0.9


def test_a_phrase_of_the_whole_set_says_nothing() -> None:
    phrase = "what is the value of the following expression written as a decimal number please"
    index = EvaluationIndex({"set": [f"{phrase} {n} plus {n + 1}" for n in range(9)]}, ngram=8)
    assert index.find(f"{phrase} 77 minus 3") is None
    assert index.find("the following expression written as a decimal number please 4 plus 5") is not None


def test_what_someone_let_pass_is_no_hit() -> None:
    index = EvaluationIndex({"test": EVALUATION})
    pairs = [("a", EVALUATION[1]), ("b", EVALUATION[2])]
    assert set(contaminated(pairs, index, allowed=set())) == {"a", "b"}
    assert set(contaminated(pairs, index, allowed={"a", EVALUATION[2]})) == set()


def test_planted_near_duplicates_are_found() -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=45)) for _ in range(3000)]
    planted = {}
    for n in range(300):
        words = texts[n].split()
        words[rng.randrange(3, 42)] = "changed"
        planted[len(texts)] = n
        texts.append(" ".join(words))
    found = {pair.place: pair.of for pair in find_near_duplicates(texts, threshold=0.8)}
    assert found == planted


def prompt(number: int, question: str, split: str = "train") -> Prompt:
    return Prompt(f"p{number}", "t", question, "1", "number", [], "test", split, None, None)


def test_screened_problems_carry_their_evidence(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps({"question": text, "answer": "1"}) + "\n" for text in EVALUATION))
    long = " ".join(WORDS[:40])
    prompts = [
        prompt(0, long),
        prompt(1, EVALUATION[1]),
        prompt(2, f"{long} indeed", "validation"),
        prompt(3, EVALUATION[1], "test"),
    ]
    config = CurateConfig(near_duplicate_prompts=0.8, decontaminate=DecontaminateConfig(files=[str(path)]))
    screened = screen_prompts(config, prompts)
    assert {name: reason for name, (reason, _) in screened.items()} == {
        "p1": f"contaminated: {path}",
        "p2": "near-duplicate prompt",
    }
    evidence = json.loads(screened["p1"][1])
    assert (evidence["row"], evidence["evaluation_text"]) == (1, EVALUATION[1])
    assert json.loads(screened["p2"][1])["of"] == "p0"
    config.decontaminate.column = "text"
    with pytest.raises(UserError, match=r"no column of questions \(text\)"):
        screen_prompts(config, prompts)


def test_standard_sets_are_told_by_name() -> None:
    folder = shared_data("math500").parent
    first = json.loads((folder / "math500" / "test.jsonl").read_text().splitlines()[0])["problem"]
    against = DecontaminateConfig(sets=["MATH-500", "gsm8k"], data=str(folder))
    prompts = [prompt(0, f"Now, {first}"), prompt(1, " ".join(WORDS[:40]))]
    screened = screen_prompts(CurateConfig(decontaminate=against), prompts)
    assert {name: reason for name, (reason, _) in screened.items()} == {"p0": "contaminated: math500"}
    spelled = DecontaminateConfig(sets=["math500", "GSM8K"], data=str(folder))
    assert evaluation_fingerprints(against) == evaluation_fingerprints(spelled)


@pytest.mark.parametrize(
    ("sets", "data", "told"),
    [
        (["aime42"], None, r"curate.decontaminate.sets: no set 'aime42' is known.*curate.decontaminate.files"),
        (["aime24"], None, r"aime24=.*give its path \(curate.decontaminate.data=DATA\)"),
        (["aime24"], "gone", r"curate.decontaminate.data=gone: no such folder"),
    ],
)
def test_a_set_that_is_nowhere_is_an_error_before_anything_is_sampled(
    sets: list[str], data: str | None, told: str
) -> None:
    config = Config(curate=CurateConfig(decontaminate=DecontaminateConfig(sets=sets, data=data)))
    with pytest.raises(UserError, match=told):
        check_curation(config)
