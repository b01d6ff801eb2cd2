"""Unusable rows: counted by reason up to a share, or fatal; and choices, displayed and named in every way."""

import json
from pathlib import Path
from typing import Any

import pytest

from stillery.config import PromptsConfig, load_config
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.problems.files import Loaded, load_prompts
from stillery.records import Prompt, Split
from stillery.stages.prompts import make_prompts

SKY = {"question": "Which is blue?", "choices": ["coal", "sky", "grass"]}


def problems(count: int) -> list[dict[str, Any]]:
    return [{"question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(count)]


def write(path: Path, rows: list[Any]) -> str:
    path.write_bytes(b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows))
    return str(path)


def config(folder: Path, rows: list[Any], *, test: list[Any] | None = None, **settings: Any) -> PromptsConfig:
    train = write(folder / "train.jsonl", rows)
    measured = write(folder / "test.jsonl", test or [{"question": "What is 1,000 + 1?", "answer": "1001"}])
    return PromptsConfig(source="file", train=train, test=measured, **settings)


def load(folder: Path, rows: list[Any], **settings: Any) -> Loaded:
    return load_prompts(config(folder, rows, **settings))


def asked(folder: Path, row: dict[str, Any], **settings: Any) -> Prompt:
    """The only problem of a row, read beside others."""
    loaded = load(folder, [*problems(3), row], max_bad_share=0, **settings)
    (prompt,) = [p for p in loaded.prompts if p.question.startswith(row["question"])]
    return prompt


def refused(folder: Path, row: Any, **settings: Any) -> str:
    """Why a row beside 200 good ones is left out."""
    loaded = load(folder, [*problems(200), row], **settings)
    left_out = loaded.left_out[Split.TRAIN]
    assert (left_out.total, left_out.num_rows) == (1, 201)
    ((said,),) = left_out.examples.values()
    assert said.startswith(f"{folder}/train.jsonl line 201: ")
    return said


def test_one_bad_row_and_one_duplicate_do_not_end_a_run(tmp_path: Path) -> None:
    rows = [*problems(300), b"{oops\n", {"question": "what is **7 + 7**", "answer": "14"}]
    out = Folder(str(tmp_path / "out"))
    summary = make_prompts(config(tmp_path, rows), seed=0, out=out)
    assert summary["num_prompts"] == 301
    train = summary["rows"]["train"]
    assert (train["num_rows"], train["left_out"]) == (302, {"not JSON": 1, "duplicate question": 1})
    assert train["examples"]["duplicate question"] == [
        f"{tmp_path}/train.jsonl line 302: the same question as {tmp_path}/train.jsonl line 8; remove one of them"
    ]
    assert summary["rows"]["test"] == {"num_rows": 1, "left_out": {}, "examples": {}}


def test_more_than_the_share_ends_it_and_says_why(tmp_path: Path) -> None:
    rows = [*problems(50), b"{oops\n", b"[]\n", b"{oops\n"]
    with pytest.raises(UserError) as caught:
        load(tmp_path, rows)
    assert str(caught.value).startswith(f"{tmp_path}/train.jsonl line 51: not JSON")
    assert "(3 of 53 rows left out: not JSON 2, not an object 1; correct them, or raise" in str(caught.value)
    assert load(tmp_path, rows, max_bad_share=0.1).left_out[Split.TRAIN].total == 3
    with pytest.raises(UserError, match="no row can be used"):
        load(tmp_path, [b"{oops\n"], max_bad_share=1.0)


def test_the_first_bad_row_ends_it_with_on_bad_row_error(tmp_path: Path) -> None:
    for row in (b"{oops\n", {"question": "q"}, problems(1)[0], {"question": "what is 1000 + 1", "answer": "1001"}):
        with pytest.raises(UserError, match=r"train\.jsonl line 301: "):
            load(tmp_path, [*problems(300), row], on_bad_row="error")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("prompts.on_bad_row=skip", "prompts.on_bad_row is 'skip'; it must be drop or error"),
        ("prompts.max_bad_share=2", "prompts.max_bad_share is 2; it must lie between 0 and 1"),
        ("teacher.recorded.on_bad_row=skip", "teacher.recorded.on_bad_row is 'skip'"),
        ("teacher.recorded.max_bad_share=-1", "teacher.recorded.max_bad_share is -1"),
    ],
)
def test_settings_that_cannot_be_meant(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config(None, [override])


def test_a_test_problem_that_differs_in_its_writing_leaves_the_training_data(tmp_path: Path) -> None:
    test = [{"question": "What is the capital of France?", "answer": "Paris"}]
    row = {"question": "## what is the  *capital* of\u00a0Ｆrance", "answer": "Paris"}
    loaded = load(tmp_path, [*problems(200), row], test=test)
    assert loaded.left_out[Split.TRAIN].counts == {"in the test split too": 1}
    assert [p.question for p in loaded.prompts if "apital" in p.question] == [test[0]["question"]]
    with pytest.raises(UserError, match="contamination: this train problem is in the test split too, at"):
        load(tmp_path, [*problems(20), row], test=test)


def test_an_id_of_two_splits_is_of_one_problem(tmp_path: Path) -> None:
    rows = [{**row, "prompt_id": n} for n, row in enumerate(problems(200))]
    test = [{"question": "Which?", "answer": "B", "prompt_id": 7}]
    loaded = load(tmp_path, rows, test=test)
    assert loaded.left_out[Split.TRAIN].counts == {"prompt_id of another split": 1}
    assert len({p.prompt_id for p in loaded.prompts}) == len(loaded.prompts) == 200


def test_of_one_question_with_two_answers_none_is_kept(tmp_path: Path) -> None:
    rows = [
        *problems(300),
        {"question": "What is 7+7?", "answer": "15"},
        {"question": "What is 8+8?", "answer": "32/2"},
    ]
    loaded = load(tmp_path, rows)
    assert loaded.left_out[Split.TRAIN].counts == {"conflicting answers": 2, "duplicate question": 1}
    assert not [p for p in loaded.prompts if "is 7 + 7" in p.question or "is 7+7" in p.question]


def test_columns_that_only_later_rows_have_are_read(tmp_path: Path) -> None:
    rows = [*problems(3), {**SKY, "answer": "B", "task": "colours", "prompt_id": 5.0}]
    (prompt,) = [p for p in load(tmp_path, rows).prompts if p.task == "colours"]
    assert (prompt.prompt_id, prompt.choices) == ("5", SKY["choices"])


def test_choices_are_shown_below_the_question_and_do_not_change_its_id(tmp_path: Path) -> None:
    shown = asked(tmp_path, {**SKY, "answer": "B"})
    assert shown.question == "Which is blue?\n\nA) coal\nB) sky\nC) grass"
    holding = {**SKY, "question": "Which is blue?\n(A) coal (B) sky (C) grass"}
    assert asked(tmp_path, {**holding, "answer": "B"}).question == holding["question"]
    assert shown.prompt_id == asked(tmp_path, {**SKY, "answer": "sky"}).prompt_id


@pytest.mark.parametrize(
    ("choices", "answer", "named_by", "gold"),
    [
        (["coal", "sky", "grass"], "B", "auto", "B"),
        (["coal", "sky", "grass"], "sky", "auto", "sky"),
        (["coal", "sky", "grass"], "(b)", "auto", "(b)"),
        (["coal", "sky", "grass"], 1, "auto", "B"),
        (["coal", "sky", "grass"], 1.0, "auto", "B"),
        (["coal", "sky", "grass"], "1", "auto", "B"),
        (["coal", "sky", "grass"], 2, "number", "B"),
        (["coal", "sky", "grass"], 1, "index", "B"),
        (["2", "3", "1"], "1", "auto", "C"),
        (["2", "3", "1"], 1, "text", "C"),
        (["2", "3", "1"], 1, "index", "B"),
        (["2", "3", "1"], 1, "number", "A"),
        ([0, 1, 2], 1, "auto", "B"),
        (["True", "False"], False, "auto", "False"),
        (["yes", "no"], False, "auto", "no"),
        ([21, 22, 23], 22, "auto", "B"),
        ('["coal", "sky"]', 1, "auto", "B"),
        ({"text": ["coal", "sky"], "label": ["1", "2"]}, "2", "auto", "B"),
        ({"A": "coal", "B": "sky"}, "B", "auto", "B"),
        (["A", "B", "C", "D"], "C", "auto", "C"),
    ],
)
def test_gold_answers_name_a_choice(tmp_path: Path, choices: Any, answer: Any, named_by: str, gold: str) -> None:
    row = {"question": "Which is blue?", "choices": choices, "answer": answer}
    prompt = asked(tmp_path, row, choice_answers=named_by)
    assert (prompt.answer, prompt.answer_kind) == (gold, "choice")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**SKY, "answer": 3}, "the answer '3' names none of the 3 choices; set prompts.choice_answers to number"),
        ({**SKY, "answer": "snow"}, "the answer 'snow' names none of the 3 choices"),
        (
            {**SKY, "choices": ["2", "3", "1"], "answer": 1},
            "the text of choice C and, counted from 0, the index of choice",
        ),
        ({**SKY, "choices": ["B", "A"], "answer": "A"}, "choice A is the letter B, so a letter names two"),
        ({**SKY, "choices": ["4", " 4 ", "5"], "answer": "A"}, "choice A, the answer, is there twice"),
        ({**SKY, "choices": ["a", ["b"]], "answer": "A"}, "choice 2 of 2 is a list; expected a text"),
        ({**SKY, "choices": ["a", None], "answer": "A"}, "choice 2 of 2 is None; expected a text"),
        ({**SKY, "choices": ["a", " "], "answer": "A"}, "choices holds an empty text"),
        ({**SKY, "choices": "['a', 'b']", "answer": "A"}, "is not a JSON list of texts"),
        ({**SKY, "choices": [str(n) for n in range(27)], "answer": "0"}, "27 choices; at most 26 have letters"),
        ({"question": "q", "answer": float("nan")}, "the answer is nan; give a number or text, or null"),
        ({"question": "q", "answer": float("-inf")}, "the answer is -inf"),
        ({"question": "q", "answer": "NaN"}, "the answer is NaN, which data frames write where there is none"),
        ({"question": "q", "answer": {"a": 1}}, "the answer is an object; expected text"),
        ({"question": "q", "answer": "2 + 2\n#### 4"}, "set prompts.answer_format=hash"),
        ({"question": "q", "answer": r"so it is \boxed{4}."}, "set prompts.answer_format=boxed"),
        ({"question": 5, "answer": "1"}, "'question' is 5; expected the text of a question"),
        ({"question": "q", "answer": "1", "prompt_id": [1]}, "prompt_id is a list; expected text or a number"),
        (b'{"question": "q \\ud83d", "answer": "1"}\n', "half a character (the lone surrogate U+D83D)"),
        (b'{"question": "q \xe9", "answer": "1"}\n', "a byte that is not UTF-8 (0xe9)"),
        (b'{"question": "q", "answer": "1", "answer": "2"}\n', "the answer cannot be read: the row gives it twice"),
    ],
)
def test_rows_are_refused_with_their_reason(tmp_path: Path, row: Any, message: str) -> None:
    assert message in refused(tmp_path, row)


def test_a_list_within_an_object_and_a_column_in_other_letters_are_pointed_to(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="If the rows are in 'data', save that list as the file"):
        load(tmp_path, [{"data": problems(3)}])
    with pytest.raises(UserError, match=r"such as prompts\.columns\.question=Question"):
        load(tmp_path, [{"Question": "a", "Answer": "1"}])


def test_a_csv_cannot_tell_a_number_from_its_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        'question,answer,choices\nq,1,"[""2"", ""3"", ""1""]"\nr,2,"[""x"", ""y"", ""z""]"\n'
    )
    settings = config(tmp_path, problems(5), max_bad_share=0.5)
    settings.test = str(tmp_path / "a.csv")
    loaded = load_prompts(settings)
    assert loaded.left_out[Split.TEST].counts == {"ambiguous answer": 1}
    assert loaded.prompts[-1].answer == "C"


@pytest.mark.parametrize(
    ("number", "answer", "kind"),
    [
        ("1e400", "1e400", "number"),
        ("3.14159265358979323846", "3.14159265358979323846", "number"),
        ("12345678901234567890123", "12345678901234567890123", "number"),
        ("true", "yes", "yes_no"),
    ],
)
def test_json_numbers_are_the_answers_they_are(tmp_path: Path, number: str, answer: str, kind: str) -> None:
    rows = [*problems(3), b'{"question": "q", "answer": ' + number.encode() + b"}\n"]
    (prompt,) = [p for p in load(tmp_path, rows).prompts if p.question == "q"]
    assert (prompt.answer, prompt.answer_kind) == (answer, kind)
