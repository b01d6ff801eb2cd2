"""The durable log: complete files, merged without losing a row, and unreadable ones moved aside."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem

from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Generation
from stillery.sampling.sample_log import QUARANTINE, SampleLog, next_number

ROW = Generation(
    sample_id="a", prompt_id="p", sample_index=0, seed=1, rendered="q", completion="x", finish_reason="stop",
    num_prompt_tokens=1, num_tokens=1, mean_logprob=-0.5, model="m", sampling="{}", attempt=0, surplus=False,
    error=None,
)  # fmt: skip


def row(sample: str, completion: str = "x") -> Generation:
    return dataclasses.replace(ROW, sample_id=sample, completion=completion)


def log_in(folder: Path) -> SampleLog:
    return SampleLog(Folder(str(folder)))


def samples(log: SampleLog, names: Iterable[str] | None = None) -> list[str]:
    """The ids of all rows, in the order in which readers meet them."""
    tables = log.read(log.files() if names is None else names, columns=("sample_id",)).tables
    return [sample for table in tables.values() for sample in table.column("sample_id").to_pylist()]


def test_files_are_read_in_the_order_they_were_written(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    names = [log.append("b", [row(str(number))], number=next_number(log.files("b"))) for number in range(12)]
    assert log.files() == log.files("b") == names
    assert samples(log) == [str(number) for number in range(12)]


def test_batches_have_folders_of_their_own(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    first, second = log.append("one", [row("a")], number=1), log.append("two", [row("b")], number=1)
    assert (log.files("one"), log.files("two"), log.files("three")) == ([first], [second], [])
    (tmp_path / "one" / ".f00.partial").write_bytes(b"half")
    (tmp_path / "one" / ".hidden.parquet").write_bytes(b"half")
    assert log.files("one") == [first]


def test_putting_files_together_keeps_every_row_and_their_order(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    for number, name in enumerate("cab", start=1):
        log.append("b", [row(name, "first"), row("z", name)], number=number)
    before = samples(log)
    compaction = log.compact("b")
    assert compaction is not None
    assert samples(log) == before == compaction.sample_ids
    assert log.files() == [compaction.file]
    assert log.compact("b") is None
    log.append("b", [row("later")], number=next_number(log.files("b")))
    assert samples(log) == [*before, "later"], "a later file is read before an earlier one"


def test_a_kill_between_putting_together_and_removing_doubles_nothing(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    for number in (1, 2, 3):
        log.append("b", [row(str(number))], number=number)
    kept = {name: (tmp_path / name).read_bytes() for name in log.files()}
    log.compact("b")
    for name in list(kept)[1:]:
        (tmp_path / name).write_bytes(kept[name])
    assert samples(log) == ["1", "2", "3"]
    assert log.compact_all() == 3
    assert samples(log) == ["1", "2", "3"]
    assert len(log.files()) == 1


def test_files_that_cannot_be_removed_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: LocalFileSystem, path: str) -> None:
        raise PermissionError(path)

    log = log_in(tmp_path)
    for number in (1, 2):
        log.append("b", [row(str(number))], number=number)
    monkeypatch.setattr(LocalFileSystem, "rm_file", refuse)
    for _ in range(3):
        log.compact_all()
    assert len(log.files()) == 3
    assert samples(log) == ["1", "2"]


def test_what_was_stood_for_once_is_named_for_ever(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    names = [log.append("b", [row(str(number))], number=number) for number in (1, 2)]
    log.compact("b")
    log.append("b", [row("3")], number=next_number(log.files("b")))
    log.compact("b")
    assert set(names) < log.read(log.files()).replaced


def test_a_file_that_came_while_others_were_put_together_stays(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    for number in (1, 2):
        log.append("b", [row(str(number))], number=number)
    log.compact("b")
    late = log.append("b", [row("late")], number=1)
    assert set(samples(log)) == {"1", "2", "late"}
    assert late in log.files()


@pytest.mark.parametrize("fault", ["empty", "truncated", "garbage", "another table", "a flipped byte"])
def test_what_cannot_be_read_is_moved_aside_and_said(
    tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log = log_in(tmp_path)
    bad = log.append("b", [row("bad", "text " * 1000)], number=1)
    log.append("b", [row("good")], number=2)
    path = tmp_path / bad
    whole = path.read_bytes()
    if fault == "another table":
        pq.write_table(pq.read_table(path).drop_columns(["sample_id"]), path)
    elif fault == "a flipped byte":
        place = pq.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset + 30
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
    else:
        path.write_bytes({"empty": b"", "truncated": whole[:-200], "garbage": b"x" * 500}[fault])
    assert samples(log) == ["good"]
    assert (tmp_path / QUARANTINE / bad).exists()
    assert log.set_aside() == {bad}
    assert bad not in log.files()
    said = capsys.readouterr().out
    assert f"{bad} cannot be read" in said
    assert "its samples count as missing" in said
    assert log.compact("b") is None


def test_a_batch_whose_files_are_all_unreadable_is_empty(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    for number in (1, 2):
        (tmp_path / log.append("b", [row("a")], number=number)).write_bytes(b"")
    assert log.compact_all() == 2
    assert log.files() == []


def test_a_file_that_has_gone_is_left_out(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    name = log.append("b", [row("a")], number=1)
    assert samples(log, [name, "b/000007-gone.parquet"]) == ["a"]


def test_a_fault_of_the_file_system_is_not_the_file_s(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    name = log.append("b", [row("a")], number=1)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(IsADirectoryError):
        log.read([name])
    assert log.set_aside() == set()


def test_an_engine_that_outlives_its_driver_cannot_add_to_the_log_of_the_next(tmp_path: Path) -> None:
    first = log_in(tmp_path).claim()
    first.append("b", [row("a")], number=1)
    second = log_in(tmp_path).claim()
    with pytest.raises(UserError, match=r"another start of this run has taken over .*; 1 samples of this start"):
        first.append("b", [row("b")], number=2)
    second.append("b", [row("c")], number=2)
    with pytest.raises(UserError, match="were not put together"):
        first.compact("b")
    assert samples(second) == ["a", "c"]


def test_failures_are_those_of_this_start(tmp_path: Path) -> None:
    first = log_in(tmp_path).claim()
    first.add_failure("b", "RuntimeError: out of memory", trace="...", num_made=3)
    assert [(note["error"], note["num_made"]) for note in first.failures("b")] == [("RuntimeError: out of memory", 3)]
    assert first.failures("other") == []
    (tmp_path / "b" / "failure-0.json").write_bytes(b"")
    assert len(first.failures("b")) == 1
    assert log_in(tmp_path).claim().failures("b") == []


def test_a_log_that_was_removed_is_named(tmp_path: Path) -> None:
    log = log_in(tmp_path).claim()
    (tmp_path / "owner").unlink()
    with pytest.raises(UserError, match=r"has been removed while a run wrote to it; 1 samples"):
        log.append("b", [row("a")], number=1)
