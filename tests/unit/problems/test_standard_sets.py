"""Evaluation sets by name: accepted spellings, and the sources of their rows."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HTTPError

from stillery.errors import UserError
from stillery.problems.hub import hub_revision
from stillery.problems.standard_sets import STANDARD_SETS, find_set, identify_set, open_set

KEY = "--data DATA"


def test_a_hub_that_cannot_be_reached_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise HTTPError("Name or service not known")

    monkeypatch.setattr(HfApi, "dataset_info", offline)
    with pytest.raises(UserError, match=r"prompts.dataset=owner/set: .*Name or service not known.*give the folder"):
        hub_revision("owner/set")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("aime24", "aime24"),
        ("AIME 2024", "aime24"),
        ("AIME-2025", "aime25"),
        ("MATH-500", "math500"),
        ("GPQA Diamond", "gpqa"),
        ("GSM8K", "gsm8k"),
        ("LiveCodeBench", "livecodebench"),
        ("ARC-Challenge", "arc_challenge"),
        ("aime", None),
        ("math", None),
    ],
)
def test_a_name_in_its_usual_spellings(name: str, found: str | None) -> None:
    one = find_set(name)
    assert (None if one is None else one.name) == found


def downloaded(root: Path, *, answer: str = "#### 2") -> Path:
    """A copy of a dataset's repository, as `hf download --local-dir` leaves one: configurations in its card."""
    copy = root / "gsm8k"
    for subset, question in (("main", "What is 1 + 1?"), ("socratic", "Which?")):
        (copy / subset).mkdir(parents=True)
        table = pa.table({"question": [question], "answer": [answer]})
        pq.write_table(table, copy / subset / "test-00000-of-00001.parquet")
    configs = "".join(
        f"- config_name: {subset}\n  data_files:\n  - split: test\n    path: {subset}/test-*\n"
        for subset in ("main", "socratic")
    )
    (copy / "README.md").write_text(f"---\nlicense: mit\nconfigs:\n{configs}---\n")
    (copy / ".cache").mkdir()
    return root


def test_a_downloaded_dataset_is_loaded_as_the_hub_has_it(tmp_path: Path) -> None:
    folder = downloaded(tmp_path / "data")
    rows, source = open_set(STANDARD_SETS["gsm8k"], folder=folder, key=KEY)
    assert [dict(row.values) for row in rows] == [{"question": "What is 1 + 1?", "answer": "#### 2"}]
    only, _ = open_set(STANDARD_SETS["gsm8k"], folder=folder, key=KEY, columns=["question", "problem"])
    assert [dict(row.values) for row in only] == [{"question": "What is 1 + 1?"}]
    assert {name: source[name] for name in ("dataset", "subset", "split")} == {
        "dataset": "gsm8k",
        "subset": "main",
        "split": "test",
    }
    other = downloaded(tmp_path / "other", answer="#### 3")
    assert source != identify_set(STANDARD_SETS["gsm8k"], folder=other, key=KEY)


def test_a_file_is_known_by_its_contents(tmp_path: Path) -> None:
    file = tmp_path / "aime24.jsonl"
    file.write_text(json.dumps({"problem": "Find n.", "answer": "73"}) + "\n")
    before = identify_set(STANDARD_SETS["aime24"], folder=tmp_path, key=KEY)
    assert before["file"] == "aime24.jsonl"
    file.write_text(json.dumps({"problem": "Find m.", "answer": "73"}) + "\n")
    assert before != identify_set(STANDARD_SETS["aime24"], folder=tmp_path, key=KEY)


def test_what_cannot_be_had_names_the_remedy(tmp_path: Path) -> None:
    # Tests run without the Hub.
    with pytest.raises(UserError, match="hf download openai/gsm8k --repo-type dataset --local-dir DATA/gsm8k") as told:
        open_set(STANDARD_SETS["gsm8k"], folder=tmp_path, key=KEY)
    assert "give its path (--data DATA)" in str(told.value)
