"""Recorded generations: files of every kind joined to prompts, with nothing left out silently."""

import csv
import dataclasses
import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stillery.errors import UserError
from stillery.io.readers.files import fingerprints
from stillery.io.storage import Folder
from stillery.records import Generation, Prompt, to_table
from stillery.sampling.backends.recorded import Recorded, RecordedCounts, read_recorded
from stillery.sampling.backends.recorded_columns import check_columns


def prompt(prompt_id: str, question: str) -> Prompt:
    return Prompt(prompt_id, "t", question, "4", "number", [], "file", "train", None, None)


PROMPTS = [prompt("p1", "What is 2 + 2?"), prompt("p2", "What is\n3 + 3?")]


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def read(
    *files: str, prompts: Iterable[Prompt] = PROMPTS, n: int | None = None, name: str = "old", **columns: str
) -> tuple[list[Generation], RecordedCounts]:
    tally = RecordedCounts()
    recorded = Recorded(name=name, files=files, columns=columns, samples_per_prompt=n)
    rows = list(read_recorded(recorded, prompts, tally=tally))
    assert tally["found"] == sum(tally[what] for what in ("used", "unknown", "duplicate", "beyond"))
    assert tally["used"] == len(rows)
    return rows, tally


def test_rows_are_joined_by_question_whatever_its_white_space(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "a.jsonl",
        [
            {"q": " What is 2 +  2?", "out": "4", "finish_reason": "MAX_TOKENS", "num_tokens": 3, "mean_logprob": -0.5},
            {"q": "What is 3 + 3?", "out": "6"},
            {"q": "What is 2 + 2?", "out": "four"},
        ],
    )
    rows, tally = read(path, question="q", completion="out")
    assert [(r.prompt_id, r.sample_index, r.completion) for r in rows] == [
        ("p1", 0, "4"),
        ("p2", 0, "6"),
        ("p1", 1, "four"),
    ]
    assert (rows[0].finish_reason, rows[0].num_tokens, rows[0].mean_logprob) == ("length", 3, -0.5)
    assert (rows[1].finish_reason, rows[1].num_tokens, rows[1].mean_logprob) == (None, 0, None)
    assert rows[1].rendered == "What is\n3 + 3?"
    assert (rows[0].model, rows[0].sampling, rows[0].error) == ("old", '{"recorded": "old"}', None)
    assert tally.counts == {"found": 3, "used": 3, "uncounted": 2}
    assert to_table(rows, Generation).num_rows == 3


def test_lists_of_completions_with_lists_beside_them(tmp_path: Path) -> None:
    row = {
        "prompt_id": "p1",
        "completion": ["a", "b"],
        "finish_reason": ["stop", "length"],
        "num_tokens": [1, 2],
        "m": "X",
    }
    rows, _ = read(write_lines(tmp_path / "a.jsonl", [row]), model="m")
    found = [(r.sample_index, r.completion, r.finish_reason, r.num_tokens, r.model) for r in rows]
    assert found == [(0, "a", "stop", 1, "X"), (1, "b", "length", 2, "X")]


def test_thinking_and_answer_columns_are_joined(tmp_path: Path) -> None:
    rows = [
        {"prompt_id": "p1", "t": "2 and 2", "a": "4"},
        {"prompt_id": "p1", "t": "", "a": "4"},
        {"prompt_id": "p1", "t": "2 and", "a": None, "finish_reason": "length"},
        {"prompt_id": "p1", "t": None, "a": None},
    ]
    made, tally = read(write_lines(tmp_path / "a.jsonl", rows), thinking="t", answer="a")
    assert [r.completion for r in made] == ["<think>\n2 and 2\n</think>\n4", "4", "<think>\n2 and", ""]
    assert [r.error for r in made] == [None, None, None, "recorded without a completion"]
    assert tally["missing"] == 1


def test_a_dotted_name_reaches_into_nested_values(tmp_path: Path) -> None:
    row = {"request": {"id": "p2"}, "choices": [{"message": {"content": "6"}}, {"message": {"content": "no"}}]}
    columns = {"prompt_id": "request.id", "completion": "choices.-1.message.content"}
    rows, _ = read(write_lines(tmp_path / "a.jsonl", [row]), **columns)
    assert [(r.prompt_id, r.completion) for r in rows] == [("p2", "no")]


def test_the_same_rows_from_every_format_have_the_same_ids(tmp_path: Path) -> None:
    rows = [{"prompt_id": f"p{1 + i % 2}", "completion": f'{i}, "{i}"\nend é', "num_tokens": i} for i in range(5)]
    write_lines(tmp_path / "a.jsonl", rows)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with fsspec.open("memory://bucket/a.jsonl", "wb") as file:
        file.write((tmp_path / "a.jsonl").read_bytes())
    made = {name: read(str(tmp_path / name))[0] for name in ("a.jsonl", "a.jsonl.gz", "a.parquet", "a.csv")}
    made["memory"] = read("memory://bucket/a.jsonl")[0]
    assert len(made["a.jsonl"]) == 5
    assert all(rows == made["a.jsonl"] for rows in made.values())


def test_ids_depend_on_what_a_sample_is_and_not_on_where_it_lies(tmp_path: Path) -> None:
    rows = [{"prompt_id": "p1", "completion": "4"}, {"prompt_id": "p1", "completion": "4"}]
    first = [r.sample_id for r in read(write_lines(tmp_path / "a.jsonl", rows))[0]]
    assert len(set(first)) == 2
    assert [r.sample_id for r in read(write_lines(tmp_path / "b.jsonl", rows))[0]] == first
    assert [r.sample_id for r in read(str(tmp_path / "a.jsonl"), n=1)[0]] == first[:1]
    assert not set(first) & {r.sample_id for r in read(str(tmp_path / "a.jsonl"), name="new")[0]}
    rows[0]["completion"] = "four"
    changed = [r.sample_id for r in read(write_lines(tmp_path / "a.jsonl", rows))[0]]
    assert changed[0] != first[0]
    assert changed[1] == first[1]


def test_what_is_odd_is_counted_with_examples(tmp_path: Path) -> None:
    rows = [
        {"question": "What is 2 + 2?", "completion": "4", "num_tokens": 1},
        {"question": "What is 2 + 2?", "completion": "4", "num_tokens": 1},
        {"question": "What is 5 + 5?", "completion": ["a", "b"]},
        {"question": None, "completion": "c"},
        {"question": "What is 3 + 3?", "completion": " \n"},
        {"question": "What is 3 + 3?", "completion": None},
        {"question": "What is 2 + 2?", "completion": "third", "num_tokens": 9},
    ]
    path = write_lines(tmp_path / "a.jsonl", rows)
    made, tally = read(path, n=2)
    assert [(r.prompt_id, r.sample_index, r.completion) for r in made] == [
        ("p1", 0, "4"), ("p1", 1, "4"), ("p2", 0, " \n"), ("p2", 1, ""),
    ]  # fmt: skip
    assert tally.counts == {
        "found": 8, "used": 4, "unknown": 3, "beyond": 1, "repeated": 1, "empty": 1, "missing": 1, "uncounted": 2,
    }  # fmt: skip
    assert tally.examples["unknown"][0] == f"{path} line 3: 'What is 5 + 5?'"
    assert tally.examples["repeated"] == [f"{path} line 2"]
    assert tally.examples["missing"] == [f"{path} line 6"]


def test_a_given_sample_index_tells_a_second_copy_from_a_second_sample(tmp_path: Path) -> None:
    rows = [
        {"prompt_id": "p1", "completion": "a", "i": 3},
        {"prompt_id": "p1", "completion": "a", "i": 3},
        {"prompt_id": "p1", "completion": "b", "i": 3},
        {"prompt_id": "p1", "completion": "c", "i": 0},
    ]
    made, tally = read(write_lines(tmp_path / "a.jsonl", rows), sample_index="i")
    assert [(r.sample_index, r.completion) for r in made] == [(3, "a"), (4, "b"), (0, "c")]
    assert tally["duplicate"] == 1


def test_a_question_that_several_prompts_ask_needs_their_ids(tmp_path: Path) -> None:
    prompts = [prompt("p1", "Which?"), prompt("p2", "Which?")]
    row = {"question": "Which?", "completion": "A", "id": "p2"}
    path = write_lines(tmp_path / "a.jsonl", [row])
    with pytest.raises(UserError, match="line 1: several prompts ask this question; map columns"):
        read(path, prompts=prompts)
    assert read(path, prompts=prompts, prompt_id="id")[0][0].prompt_id == "p2"


def test_ids_of_another_collection_give_way_to_a_mapped_question(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"prompt_id": "theirs", "problem": "What is 2 + 2?", "completion": "4"}])
    with pytest.raises(UserError, match=r"of 1 samples none belongs to one of the 2 prompts \(first: .*'theirs'"):
        read(path)
    assert read(path, question="problem")[0][0].prompt_id == "p1"


@pytest.mark.parametrize(
    ("line", "columns", "message"),
    [
        ('{"prompt_id": "p1"}', {}, "line 1: no completion; map columns.completion to one of prompt_id"),
        ('{"completion": "x"}', {}, "line 1: no question; map columns.question to one of completion"),
        ('{"prompt_id": "p1", "completion": "x"}', {"completion": "out"}, "no 'out', which columns.completion names"),
        ('{"prompt_id": "p1", "completion": {"text": "x"}}', {}, "completion is an object; expected text"),
        ('{"prompt_id": "p1", "completion": [["x"]]}', {}, "completion is a list; expected text"),
        ('{"prompt_id": "p1", "completion": ["x"], "num_tokens": 3}', {}, "num_tokens is not a list of 1"),
        ('{"prompt_id": "p1", "completion": ["x"], "num_tokens": [3, 4]}', {}, "num_tokens is not a list of 1"),
        ('{"prompt_id": "p1", "completion": "x", "num_tokens": "many"}', {}, "num_tokens is 'many'; expected a number"),
        (
            '{"prompt_id": "p1", "completion": "x", "i": -1}',
            {"sample_index": "i"},
            "sample_index is -1; expected a whole",
        ),
        ('{"prompt_id": "p1", "completion": "x", "i": 1e12}', {"sample_index": "i"}, "expected a whole number from 0"),
        ('{"prompt_id": "p1", "complet', {}, "line 1: not JSON"),
        ("[" * 100_000, {}, "element 1: not JSON"),
        ('{"a": ' * 100_000, {}, "line 1: not JSON"),
        ("[1]", {}, "element 1: an integer; expected a list of JSON objects"),
        ("", {}, "of 0 samples none belongs"),
    ],
)
def test_faults_name_the_row_and_the_remedy(tmp_path: Path, line: str, columns: dict[str, str], message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        read(str(path), **columns)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    bad = {
        "a.txt": (b"x", "suffix is not one of .jsonl, .ndjson, .json, .parquet, .csv"),
        "a.parquet": (b"x", "a.parquet: cannot be read"),
        "a.jsonl": (b'{"prompt_id": "p1", "completion": "\xff"}\n', "a byte that is not UTF-8 .0xff."),
        "b.jsonl.gz": (gzip.compress(b'{"prompt_id": "p1", "completion": "x"}\n' * 999)[:-20], "cannot be read"),
        "a.csv": (b"prompt_id,completion\np1\n", "line 2: 1 cells, but the header has 2"),
        "b.csv": (b'prompt_id,completion\np1,"x\n', "line 2: a quote that is never closed"),
    }
    for name, (data, message) in bad.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=message):
            read(str(tmp_path / name))
    with pytest.raises(UserError, match=r"gone.jsonl: no such file"):
        read(str(tmp_path / "gone.jsonl"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"completions": "x"}, "c.completions: not one of our columns; did you mean completion?"),
        ({"thinking": "x"}, "c: map either completion, or both thinking and answer"),
        ({"thinking": "x", "answer": "y", "completion": "z"}, "c: map either completion"),
    ],
)
def test_mappings_that_cannot_work_are_named(columns: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_columns(columns, key="c")


def test_half_an_emoji_and_a_long_csv_cell_can_be_stored(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt_id": "p1", "completion": "\\ud83d!"}\n')
    (tmp_path / "b.csv").write_text("prompt_id,completion\np2," + "x" * 300_000 + "\n")
    rows, _ = read(str(tmp_path / "*.jsonl"), str(tmp_path / "b.csv"))
    assert [len(row.completion) for row in rows] == [2, 300_000]
    assert to_table(rows, Generation).num_rows == 2


OWN = Generation(
    sample_id="00112233445566778899aabbccddeeff", prompt_id="p1", sample_index=0, seed=7, rendered="<q>",
    completion="x", finish_reason="stop", num_prompt_tokens=1, num_tokens=2, mean_logprob=-0.5, model="teacher",
    sampling='{"temperature": 1.0}', attempt=1, surplus=True, error=None,
)  # fmt: skip


def test_a_runs_own_generations_stay_as_they_are(tmp_path: Path) -> None:
    """As a stage writes them, and as the log holds them: twice, and failed before they succeeded."""
    failed = dataclasses.replace(OWN, completion="", error="too long")
    other = dataclasses.replace(OWN, sample_id="1" * 32, sample_index=1, completion="y")
    foreign = dataclasses.replace(OWN, sample_id="2" * 32, prompt_id="elsewhere")
    hopeless = dataclasses.replace(failed, sample_id="3" * 32, sample_index=2)
    folder = Folder(str(tmp_path))
    folder.write_rows("1.parquet", [failed, other], Generation)
    folder.write_rows("2.parquet", [OWN, hopeless, foreign, other, hopeless], Generation)
    (tmp_path / ".f00.partial").write_bytes(b"half")
    (tmp_path / "manifest.json").write_text("{}")
    rows, tally = read(str(tmp_path))
    assert rows == [other, OWN, hopeless]
    assert tally.counts == {"found": 7, "used": 3, "unknown": 1, "duplicate": 3, "missing": 1}
    again, tally = read(str(tmp_path), n=1)
    assert again == [OWN]
    assert tally["beyond"] == 4


def test_two_runs_generations_make_one_teacher(tmp_path: Path) -> None:
    for name, sample in (("a", "4" * 32), ("b", "5" * 32)):
        Folder(str(tmp_path / name)).write_rows("g.parquet", [dataclasses.replace(OWN, sample_id=sample)], Generation)
    rows, _ = read(str(tmp_path / "a"), str(tmp_path / "b"))
    assert [(row.sample_id[0], row.sample_index) for row in rows] == [("4", 0), ("5", 1)]


def test_fingerprints_follow_the_contents(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"prompt_id": "p1", "completion": "4"}])
    recorded = Recorded(name="old", files=[path])
    before = fingerprints(recorded.files, key="files")
    assert len(before) == 1
    write_lines(tmp_path / "a.jsonl", [{"prompt_id": "p1", "completion": "5"}])
    assert fingerprints(recorded.files, key="files") != before
