"""The grading actor's verdicts while the teacher still samples; called here without Ray."""

from pathlib import Path
from typing import Any

import pytest

from stillery.config import CurateConfig, VerifyConfig
from stillery.io.storage import Folder
from stillery.records import Prompt
from stillery.stages.generate.judging import Grader


@pytest.fixture
def prompts(tmp_path: Path) -> Folder:
    folder = Folder(str(tmp_path))
    prompt = Prompt("p", "t", "1+0?", "1", "number", [], "test", "train", 1, None)
    folder.write_rows("prompts.parquet", [prompt], Prompt)
    return folder


def row(index: int, thinking: str, answer: str) -> dict[str, Any]:
    return {
        "sample_id": f"s{index}",
        "prompt_id": "p",
        "rendered": "q",
        "completion": f"<think>\n{thinking}\n</think>\n<answer>{answer}</answer>",
        "finish_reason": "stop",
        "error": None,
    }


def test_a_copy_counts_as_what_it_copies_and_a_wrong_sample_as_nothing(prompts: Folder) -> None:
    grader = Grader(VerifyConfig(), CurateConfig(), prompts)
    rows = [row(0, "one", "1"), row(1, "one", "2"), row(2, "one", "1"), row(3, "same", "1")]
    first, wrong, copy, other = grader.accept(rows)
    assert wrong is None
    assert first == copy
    assert first is not None
    assert other not in (None, first)


def test_without_deduplication_every_sample_counts_for_itself(prompts: Folder) -> None:
    grader = Grader(VerifyConfig(), CurateConfig(deduplicate=False), prompts)
    assert grader.accept([row(0, "one", "1"), row(1, "one", "1")]) == ["s0", "s1"]
