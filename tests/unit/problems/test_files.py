"""Problems from files and local datasets: what is read, and the message for each fault of the data."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stillery.config import PromptsConfig
from stillery.errors import UserError
from stillery.problems import files
from stillery.problems.gold import extract, read_gold
from stillery.records import Prompt, Split


def load_prompts(config: PromptsConfig) -> list[Prompt]:
    return files.load_prompts(config).prompts


def _write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def _problems(start: int, stop: int) -> list[dict[str, Any]]:
    return [{"question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(start, stop)]


def _config(folder: Path, **changes: Any) -> PromptsConfig:
    """40 training problems and 10 test problems of files, with some settings or files changed."""
    config = PromptsConfig(source="file")
    config.train = _write(folder / "train.jsonl", changes.pop("train_rows", _problems(0, 40)))
    config.test = _write(folder / "test.jsonl", changes.pop("test_rows", _problems(100, 110)))
    for key, value in changes.items():
        setattr(config, key, value)
    return config


def _fault(config: PromptsConfig) -> str:
    with pytest.raises(UserError) as caught:
        load_prompts(config)
    assert len(str(caught.value).splitlines()) <= 2
    return str(caught.value)


def _of(prompts: list[Prompt], split: Split) -> list[Prompt]:
    return [p for p in prompts if p.split == split]


def test_json_lines_become_prompts(tmp_path: Path) -> None:
    prompts = load_prompts(_config(tmp_path, task="sums"))
    assert len(_of(prompts, Split.TRAIN)) + len(_of(prompts, Split.VALIDATION)) == 40
    test = _of(prompts, Split.TEST)
    assert [p.answer for p in test] == [str(2 * n) for n in range(100, 110)]
    assert {(p.answer_kind, p.task, p.source) for p in prompts} == {("number", "sums", "file")}
    assert len({p.prompt_id for p in prompts}) == 50


def test_parquet_and_csv_give_what_json_lines_give(tmp_path: Path) -> None:
    config = _config(tmp_path)
    expected = load_prompts(config)
    pq.write_table(pa.Table.from_pylist(_problems(0, 40)), tmp_path / "train.parquet")
    lines = [f'"{row["question"]}",{row["answer"]}\n' for row in _problems(100, 110)]
    (tmp_path / "test.csv").write_text("question,answer\n" + "".join(lines))
    config.train, config.test = str(tmp_path / "train.parquet"), str(tmp_path / "test.csv")
    assert load_prompts(config) == expected


def test_the_id_is_the_problem_s_and_not_the_file_s(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = _config(tmp_path / "elsewhere", train_rows=list(reversed(_problems(0, 40))))
    assert {p.prompt_id for p in load_prompts(moved)} == {p.prompt_id for p in load_prompts(_config(tmp_path))}


def test_validation_is_stable_when_problems_are_added(tmp_path: Path) -> None:
    few = _of(load_prompts(_config(tmp_path, validation_fraction=0.3)), Split.VALIDATION)
    more = _config(tmp_path, validation_fraction=0.3, train_rows=_problems(0, 80))
    assert 5 <= len(few) <= 20
    assert {p.prompt_id for p in few} <= {p.prompt_id for p in _of(load_prompts(more), Split.VALIDATION)}


def test_a_validation_file_is_taken_whole(tmp_path: Path) -> None:
    config = _config(tmp_path, validation=_write(tmp_path / "validation.jsonl", _problems(50, 57)))
    prompts = load_prompts(config)
    assert len(_of(prompts, Split.VALIDATION)) == 7
    assert len(_of(prompts, Split.TRAIN)) == 40


def test_limits_keep_the_first_and_still_carve_a_validation(tmp_path: Path) -> None:
    prompts = load_prompts(_config(tmp_path, limit_train=10, limit_test=3))
    assert len(_of(prompts, Split.VALIDATION)) >= 1
    assert len(_of(prompts, Split.TRAIN)) + len(_of(prompts, Split.VALIDATION)) == 10
    assert [p.answer for p in _of(prompts, Split.TEST)] == ["200", "202", "204"]


def test_columns_are_mapped(tmp_path: Path) -> None:
    rows = [{"problem": f"Say {n}", "final": n, "family": "echo", "key": f"k{n}"} for n in range(10)]
    columns = {"question": "problem", "answer": "final", "task": "family", "prompt_id": "key"}
    prompts = load_prompts(_config(tmp_path, train_rows=rows[:5], test_rows=rows[5:], columns=columns))
    first = _of(prompts, Split.TEST)[0]
    assert (first.question, first.answer, first.task, first.prompt_id) == ("Say 5", "5", "echo", "k5")


def test_null_answers_are_general_data(tmp_path: Path) -> None:
    rows = [*_problems(0, 3), {"question": "Write a poem.", "answer": None}]
    prompts = load_prompts(_config(tmp_path, train_rows=rows))
    (poem,) = [p for p in prompts if p.question == "Write a poem."]
    assert (poem.answer, poem.answer_kind) == (None, "none")


def test_choices_are_kept_and_tell_equal_questions_apart(tmp_path: Path) -> None:
    question = "Which of these is blue?"
    rows = [
        {"question": question, "choices": ["sky", "grass"], "answer": "A"},
        {"question": question, "choices": ["coal", "sea"], "answer": "sea"},
    ]
    prompts = load_prompts(_config(tmp_path, test_rows=rows))
    assert [(p.answer_kind, p.choices) for p in _of(prompts, Split.TEST)] == [
        ("choice", ["sky", "grass"]),
        ("choice", ["coal", "sea"]),
    ]


@pytest.mark.parametrize(
    ("cell", "answer_format", "answer"),
    [
        ("18", "text", "18"),
        ("two steps\n#### 1,234", "hash", "1,234"),
        (r"so \boxed{\frac{1}{2}}.", "boxed", r"\frac{1}{2}"),
        (r"first \boxed{1}, then \boxed{2}", "boxed", "2"),
    ],
)
def test_answers_are_extracted(cell: str, answer_format: str, answer: str) -> None:
    assert extract(cell, answer_format=answer_format) == answer


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("18", "number"),
        ("-1,234.5", "number"),
        ("$12", "number"),
        ("50%", "number"),
        ("3/4", "number"),
        ("1e5", "number"),
        ("2024-02-29", "date"),
        ("Yes", "yes_no"),
        (r"\frac{1}{2}", "number"),
        (r"\frac{\pi}{2}", "expression"),
        ("p - q", "expression"),
        (r"\left( 3, \frac{\pi}{2} \right)", "expression"),
        ("Paris", "string"),
    ],
)
def test_the_kind_is_inferred(answer: str, kind: str) -> None:
    gold = read_gold(answer, answer_kind="auto", choices=[])
    assert gold == (answer, kind)


def test_a_missing_file(tmp_path: Path) -> None:
    assert "gone.jsonl: no such file" in _fault(_config(tmp_path, test=str(tmp_path / "gone.jsonl")))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("x.jsonl", "", "x.jsonl: the file has no rows"),
        ("x.csv", "question,answer\n", "x.csv: the file has no rows"),
        ("x.txt", "a", "the suffix is not one of .jsonl, .ndjson, .json, .parquet, .csv"),
        ("x.jsonl", '{"question": "a", "answer": "1"}\n{"question": "b"\n', "x.jsonl line 2: not JSON"),
        ("x.jsonl", "[1, 2]\n", "x.jsonl element 1: an integer; expected a list of JSON objects"),
        ("x.parquet", "PAR2", "x.parquet: cannot be read"),
        ("x.csv", "question,answer\na,b,c\n", "x.csv line 2: 3 cells, but the header has 2"),
        ("x.csv", 'question,answer\n"a,b\n', "line 2: a quote that is never closed"),
        ("x.jsonl", '{"question": "a", "answer": "1"}\n{"question": "b"}\n', "line 2: no column 'answer'"),
        ("x.jsonl", '{"question": " ", "answer": "1"}\n', "line 1: 'question' is ' '; expected the text"),
        ("x.jsonl", '{"question": "a", "answer": ""}\n', "line 1: the answer is empty"),
        ("x.jsonl", '{"question": "a", "answer": [1]}\n', "line 1: the answer is a list"),
        ("x.jsonl", '{"question": "a", "answer": "1", "choices": "B"}\n', "expected a list of texts"),
    ],
)
def test_a_faulty_file(tmp_path: Path, name: str, text: str, expected: str) -> None:
    (tmp_path / name).write_text(text)
    assert expected in _fault(_config(tmp_path, test=str(tmp_path / name)))


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'{"question": "caf\xe9", "answer": "1"}\n')
    assert "not UTF-8" in _fault(_config(tmp_path, test=str(tmp_path / "x.jsonl")))


def test_a_missing_column_lists_the_columns_and_suggests_the_mapping(tmp_path: Path) -> None:
    text = _fault(_config(tmp_path, train_rows=[{"problem": "a", "solution": "b"}]))
    assert "train.jsonl line 1: no column 'question' for the question; it has problem, solution" in text
    assert "prompts.columns.question=problem" in text


def test_a_mapping_to_a_column_that_is_not_there(tmp_path: Path) -> None:
    assert "no row has a column 'kind' for the task" in _fault(_config(tmp_path, columns={"task": "kind"}))


def test_a_mapping_from_an_unknown_column(tmp_path: Path) -> None:
    text = _fault(_config(tmp_path, columns={"queston": "q"}))
    assert text == "prompts.columns.queston: not one of our columns; did you mean question?"


def test_a_problem_twice_in_a_file_names_both_rows(tmp_path: Path) -> None:
    rows = [*_problems(0, 5), {"question": "what is  2 + 2?", "answer": "4"}]
    text = _fault(_config(tmp_path, train_rows=rows))
    assert "train.jsonl line 6: the same question as" in text
    assert "train.jsonl line 3" in text


def test_a_prompt_id_twice(tmp_path: Path) -> None:
    rows = [{**row, "prompt_id": "one"} for row in _problems(0, 2)]
    assert "line 2: the same prompt_id as" in _fault(_config(tmp_path, train_rows=rows))


def test_contamination_names_the_count_and_the_first_example(tmp_path: Path) -> None:
    text = _fault(_config(tmp_path, train_rows=_problems(0, 103)))
    assert "contamination: this train problem is in the test split too" in text
    assert "in the test split too 3" in text
    assert "test.jsonl line 1" in text
    assert "train.jsonl line 101" in text
    assert "What is 100 + 100?" in text


def test_contamination_of_validation(tmp_path: Path) -> None:
    config = _config(tmp_path, validation=_write(tmp_path / "validation.jsonl", _problems(39, 45)))
    assert "in the validation split too 1" in _fault(config)


@pytest.mark.parametrize(
    ("answer", "settings", "expected"),
    [
        ("abc", {"answer_kind": "number"}, "line 1: the answer 'abc' should be of kind number, but it is not a"),
        ("maybe", {"answer_kind": "yes_no"}, "it says neither yes nor no"),
        ("E", {"answer_kind": "choice"}, "the answer 'E' names none of the 2 choices"),
        ("18", {"answer_format": "hash"}, "the answer has no ####"),
        ("18", {"answer_format": "boxed"}, "no complete \\boxed"),
        ("18", {"answer_kind": "numbr"}, "did you mean number?"),
        ("18", {"answer_format": "hsah"}, "did you mean hash?"),
    ],
)
def test_an_answer_of_the_wrong_kind(tmp_path: Path, answer: str, settings: dict[str, str], expected: str) -> None:
    rows = [{"question": "q", "answer": answer, "choices": ["sky", "sea"]}]
    assert expected in _fault(_config(tmp_path, train_rows=rows, **settings))


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_that_is_not_given(tmp_path: Path, split: str) -> None:
    assert f"prompts.{split} is not set" in _fault(_config(tmp_path, **{split: None}))


def test_a_test_split_without_answers_measures_nothing(tmp_path: Path) -> None:
    rows = [{"question": "Write a poem.", "answer": None}]
    assert "nothing could be measured" in _fault(_config(tmp_path, test_rows=rows))


def test_one_training_problem_cannot_be_split(tmp_path: Path) -> None:
    assert "set prompts.validation" in _fault(_config(tmp_path, limit_train=1))


def test_a_local_dataset_folder(tmp_path: Path) -> None:
    config = _config(tmp_path)
    expected = {p.question: p.split for p in load_prompts(config)}
    hub = PromptsConfig(source="hub", dataset=str(tmp_path), train="train", test="test")
    prompts = load_prompts(hub)
    assert {p.question: p.split for p in prompts} == expected
    assert {p.source for p in prompts} == {f"hub:{tmp_path}"}


def test_a_dataset_without_the_split_lists_its_splits(tmp_path: Path) -> None:
    _config(tmp_path)
    hub = PromptsConfig(source="hub", dataset=str(tmp_path), train="train", test="tset")
    assert "has no split 'tset'; it has train, test" in _fault(hub)


def test_a_dataset_that_is_not_there(tmp_path: Path) -> None:
    hub = PromptsConfig(source="hub", dataset=str(tmp_path / "gone"), train="train", test="test")
    assert "cannot be loaded" in _fault(hub)


def test_a_hub_source_needs_a_dataset() -> None:
    assert "prompts.dataset is not set" in _fault(PromptsConfig(source="hub", train="train", test="test"))


_LABELLED = {"text": ["x", "y", "z", "w"], "label": ["1", "2", "3", "4"]}
_FROM_D = {"text": ["x", "y", "z", "w"], "label": ["D", "E", "F", "G"]}


@pytest.mark.parametrize(
    ("answer", "choices", "gold"),
    [
        (2.0, _LABELLED, "B"),
        (2, _LABELLED, "B"),
        ("2.", _LABELLED, "B"),
        ("d", _FROM_D, "A"),
        ("(D)", _FROM_D, "A"),
        ("x", _FROM_D, "A"),
        ("(D)", {"D": "w", "A": "x", "B": "y"}, "A"),
        (1, ["1. y", "2. x", "3. z"], "A"),
        ("x", ["1) y", "2) x", "3) z"], "B"),
        (1, ["A. y", "B. x", "C. z"], "B"),
        (1, ["x", "y", "z"], "B"),
    ],
)
def test_an_answer_names_the_label_that_its_choices_have(tmp_path: Path, answer: Any, choices: Any, gold: str) -> None:
    rows = [{"question": f"q{n}", "answer": answer, "choices": choices} for n in range(3)]
    config = PromptsConfig(
        source="file", train=_write(tmp_path / "a.jsonl", rows[:2]), test=_write(tmp_path / "b.jsonl", rows[2:])
    )
    assert {p.answer for p in load_prompts(config)} == {gold}


@pytest.mark.parametrize(
    ("answer", "choices", "meant"),
    [
        ("A", _FROM_D, "neither a label (D, E, F, G) nor a text"),
        (0, _LABELLED, "neither a label (1, 2, 3, 4) nor a text"),
        ("B", ["B. y", "A. x", "C. z"], "labelled B, A, C, which is not their order"),
        ("1", {"text": ["x", "y"], "label": ["1", "1."]}, "two choices have the label"),
    ],
)
def test_labels_that_name_no_choice_or_two_are_refused(tmp_path: Path, answer: Any, choices: Any, meant: str) -> None:
    rows = [{"question": f"q{n}", "answer": answer, "choices": choices} for n in range(3)]
    files = {"train": _write(tmp_path / "a.jsonl", rows[:2]), "test": _write(tmp_path / "b.jsonl", rows[2:])}
    assert meant in _fault(PromptsConfig(source="file", on_bad_row="error", **files))
