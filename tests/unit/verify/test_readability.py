"""Readability flags and their evidence."""

import json

import pytest

from stillery.records import Verdict, from_table, to_table
from stillery.verify import grade
from stillery.verify.readability import FLAGS, find_flags
from support.cpu_limit import soon_done
from support.shared_data import shared_data

COUNTING = " ".join(map(str, range(2000)))
ENGLISH = "We add the two numbers and then check that the result is the one that we have been looking for."
FRENCH = "Nous devons donc additionner les deux nombres pour trouver le résultat que nous cherchons depuis le début."
GERMAN = "wir müssen also die beiden zahlen addieren, damit wir das gesuchte ergebnis bekommen."
SPANISH = "Entonces tenemos que sumar los dos números para encontrar el resultado que estamos buscando."
RUSSIAN = "Сначала сложим числа, затем проверим полученный ответ."
QUESTION = "Ann has three apples and Bob has two of them. How many apples do they have in all?"


def flags(text: str, question: str = "", template: str = "ok") -> list[str]:
    return [flag.name for flag in find_flags(text, question=question, template=template)]


@pytest.mark.parametrize(
    ("text", "question", "expected"),
    [
        ("blue = red + 5 = 17\ncheck: 17 - 5 = 12, ok", "What is blue?", []),
        ("```python\nprint(1)\n```", "What is 1 + 0?", ["code_block"]),
        ("~~~\nprint(1)\n~~~", "", ["code_block"]),
        ("```python\nprint(1)\n```", "Write a Python function that prints 1.", []),
        ("```python\nprint(1)\n```", "What does this print?\n```\nprint(1)\n```", []),
        (COUNTING[:2001], "", ["long_paragraph"]),
        (COUNTING[:2000] + "\n" + COUNTING[2000:4000], "", []),
        ("wait\nwait\nwait\nwait", "", ["repetition"]),
        ("wait\nwait\nwait\nno", "", []),
        ("a\n\n\n\n\nb", "", []),
        ("the quick brown fox jumps over the lazy dog and then it rests. " * 9, "", ["repetition"]),
        ("wait, let me see.\nThe sum of a and b is 5, so a is 2.\n" * 7, "", ["repetition"]),
        # A phrase that is used often is no loop.
        (" ".join(f"the graph of y = a sin ( b x + c ) + d at {i} rises by {7 * i}" for i in range(9)), "", []),
        ("", "", []),
    ],
)
def test_flags(text: str, question: str, expected: list[str]) -> None:
    assert flags(text, question) == expected


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("First we add, 然后我们把它们相加得到结果", "Add them."),
        (f"{ENGLISH} 然后我们把它们相加。", QUESTION),
        ("So 然后 we add, 因此 the sum is 5, 所以 it holds, 结果 5.", "Add them."),
        ("我们把它们相加 and so on and on", ""),
        ("We add the two numbers and get five.", "把它们相加。"),
        ("我们把它们相加，それから答えをかくにんする", "把它们相加，然后检查答案。"),
        (f"{ENGLISH} {RUSSIAN}", QUESTION),
        (f"{ENGLISH} नौ और दो ग्यारह होते हैं", QUESTION),
        (f"{ENGLISH}\n{FRENCH}", QUESTION),
        (f"{ENGLISH} Also, {GERMAN}", QUESTION),
        (f"{ENGLISH} {SPANISH}", ""),
        (f"{ENGLISH}\n{ENGLISH}\n{FRENCH}", ""),
        (FRENCH, QUESTION),
        (f"{FRENCH} {ENGLISH}", FRENCH),
        (f"<think>{ENGLISH}</think><answer>{FRENCH}</answer>", QUESTION),
    ],
)
def test_a_text_that_leaves_its_language_is_mixed(text: str, question: str) -> None:
    assert flags(text, question) == ["mixed_languages"]


@pytest.mark.parametrize(
    ("text", "question"),
    [
        (ENGLISH, QUESTION),
        ("我们把它们相加", "把它们相加。"),
        ("我们把 x 和 y 相加，得到 sin x + cos y = 1，用 Python 验证。", "求 x 和 y 的和。"),
        ("それから答えを確認すると、五になる。", "りんごはいくつありますか。"),
        (FRENCH, FRENCH),
        (FRENCH, ""),
        # Mathematics, in Unicode and in LaTeX.
        ("We have α + β = π, so ∠ABC is 90° and ℝ ∖ ℚ ∋ √2, and 𝑥 ∈ ℤ.", "Find the angle."),
        (r"So \(\sin\alpha \text{ où donc il faut que nous ayons le nombre des deux termes}\) holds.", QUESTION),
        (f"{ENGLISH} $\\mathrm{{для всех чисел}}$ holds.", QUESTION),
        # Code and tags.
        (f"<think>{ENGLISH} `print('然后我们把它们相加')`</think><answer>5</answer>", QUESTION),
        ("if x then y else z fi do done esac elif let var val def fun end sub dim as int", "Write a program."),
        # Names, also of several people, and words that the question has brought.
        ("By 陈景润 and Пафнутий Чебышёв the claim holds.", "Who proved it?"),
        ("Søren, Zoë, Łukasz, Jürgen, Ángel Núñez, François and Dvořák share the five apples evenly.", QUESTION),
        ("The word 然后我们把它们相加 has nine characters.", "How many characters are in 然后我们把它们相加?"),
        # Too short to be a language.
        ("We use the Ansatz, i.e. et cetera, ad absurdum: q.e.d.", QUESTION),
        ("n k o l r t s a m v w z y x b d f g h j", "What are the last letters?"),
    ],
)
def test_mathematics_code_and_names_are_no_other_language(text: str, question: str) -> None:
    assert "mixed_languages" not in flags(text, question)


@pytest.mark.parametrize(
    ("text", "question", "evidence"),
    [
        ("First we add, 然后我们把它们相加", "Add.", "Han at characters 14-23: '然后我们把它们相加'"),
        (f"{ENGLISH}\n{FRENCH}", QUESTION, f"fr at characters 96-201: {FRENCH[:60]!r}"),
        ("So\n```\nx\n```", "", "code block at characters 3-12: '```\\nx\\n```'"),
        ("a\n" + "b" * 2001, "", f"2001 characters without a newline at characters 2-2003: {'b' * 60!r}"),
        ("so\nwait\nwait\nwait\nwait", "", "a line 4 times in a row at characters 3-22: 'wait\\nwait\\nwait\\nwait'"),
    ],
)
def test_evidence_says_what_and_where(text: str, question: str, evidence: str) -> None:
    assert [flag.evidence for flag in find_flags(text, question=question)] == [evidence]


def test_a_loop_is_shown_where_it_begins() -> None:
    (flag,) = find_flags(f"{ENGLISH}\n" + "the quick brown fox jumps over the lazy dog and then it rests. " * 9)
    assert flag.evidence.startswith("96 tokens that repeat up to 8 times at characters 96-")
    assert flag.evidence.endswith("'the quick brown fox jumps over the lazy dog and then it rest'")


def test_flags_come_in_their_order() -> None:
    text = f"```\n{COUNTING}\n然后我们把它们相加\n" + "wait\n" * 4
    assert flags(text.replace("```", "``` x ```"), template="unclosed") == list(FLAGS)


def test_a_verdict_carries_each_flags_evidence() -> None:
    verdict = grade("<think>```\nx = 1\n```</think>\n<answer>1</answer><answer>2</answer>", answer="2")
    assert verdict.flags == ["code_block", "broken_template"]
    assert verdict.flag_evidence == ["code block at characters 7-20: '```\\nx = 1\\n```'", "template is two_answers"]
    assert from_table(to_table([verdict], Verdict), Verdict) == [verdict]


def test_the_question_tells_what_is_foreign() -> None:
    completion = f"<think>{FRENCH}</think><answer>5</answer>"
    assert grade(completion, answer="5", question=FRENCH).flags == []
    assert grade(completion, answer="5", question=QUESTION).flags == ["mixed_languages"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "a ",
        "\n",
        "字",
        "字 ",
        "abc",
        "\x00",
        "\u202e",
        "$",
        "\\(",
        "\\[",
        "`",
        "```",
        "ab cd. ",
        "я ",
        "α",
        "о б ",
    ],
)
def test_a_megabyte_takes_linear_time(piece: str) -> None:
    with soon_done():
        find_flags(piece * (1_000_000 // len(piece)), question=QUESTION)


def test_english_mathematics_is_never_mixed_but_where_it_is() -> None:
    """Real traces: of 800 completions only three hold foreign words (all Chinese, found by reading)."""
    lines = shared_data("qwen25math/math_cot_100.jsonl").read_text().splitlines()
    completions = [(code, row["question"]) for row in map(json.loads, lines) for code in row["code"]]
    mixed = [i for i, (text, question) in enumerate(completions) if "mixed_languages" in flags(text, question)]
    assert mixed == [i for i, (text, _) in enumerate(completions) if any("一" <= char <= "鿿" for char in text)]
    assert len(mixed) == 3
