"""The durable log: whole files, at-least-once, first row wins."""

import dataclasses
from pathlib import Path

import pytest

from stillery.engines.log import append, claim, index, log_files, logged_ids, read, read_files
from stillery.errors import UserError
from stillery.records import Generation
from stillery.storage import Folder

ROW = Generation(
    sample_id="a", prompt_id="p", sample_index=0, seed=1, rendered="q", completion="x", finish_reason="stop",
    num_prompt_tokens=1, num_tokens=1, mean_logprob=-0.5, model="m", sampling="{}", round=0, surplus=False, error=None,
)  # fmt: skip


def test_rows_come_back_in_the_order_asked_for_and_once(tmp_path: Path) -> None:
    log = Folder(str(tmp_path))
    other = dataclasses.replace(ROW, sample_id="b", completion="y")
    append(log, "one", [ROW])
    append(log, "two", [other, dataclasses.replace(ROW, completion="made again")])
    assert logged_ids(log) == {"a", "b"}
    assert set(read_files(log, log_files(log, block="one"))) == {"a"}
    assert [row.sample_id for row in read(log, ["b", "a"])] == ["b", "a"]
    assert len(read(log, ["a"])) == 1


def test_a_failed_sample_is_asked_for_again_and_gives_way_to_a_good_one(tmp_path: Path) -> None:
    log = Folder(str(tmp_path))
    append(log, "one", [dataclasses.replace(ROW, completion="", error="prompt too long")])
    assert logged_ids(log) == set()
    assert read(log, ["a"])[0].error == "prompt too long"
    append(log, "two", [ROW])
    assert logged_ids(log) == {"a"}
    assert read(log, ["a"]) == [ROW]
    (first, second) = sorted(log_files(log))
    assert index(log)["a"] in (first, second)
    assert index(log, failed=True) == index(log), "a good sample must hide the failed one"


def test_an_unfinished_file_is_not_seen(tmp_path: Path) -> None:
    log = Folder(str(tmp_path))
    append(log, "one", [ROW])
    (tmp_path / ".f00.partial").write_bytes(b"half")
    assert logged_ids(log) == {"a"}


def test_a_sample_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        read(Folder(str(tmp_path)), ["a"])


def test_an_engine_that_outlives_its_driver_cannot_add_to_the_log_of_the_next(tmp_path: Path) -> None:
    log = Folder(str(tmp_path))
    first = claim(log)
    append(log, "one", [ROW], owner=first)
    second = claim(log)
    with pytest.raises(UserError, match="another start of this run"):
        append(log, "one", [dataclasses.replace(ROW, sample_id="b")], owner=first)
    append(log, "one", [dataclasses.replace(ROW, sample_id="c")], owner=second)
    assert logged_ids(log) == {"a", "c"}
