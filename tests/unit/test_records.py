"""Records: schemas do not depend on the values, and ids depend only on what determines a sample."""

import pyarrow as pa
import pytest

from stillery.records import (
    Generation,
    Message,
    Sample,
    Verdict,
    conform,
    from_table,
    sample_id,
    schema_of,
    seed_of,
    to_table,
)  # fmt: skip

SAMPLE = Sample(
    sample_id="s",
    prompt_id="p",
    task="t",
    split="train",
    prompt=[Message("user", "1+1?")],
    completion=[Message("assistant", "2")],
    weights=[[0, 3, 0.5]],
    part="reasoning",
    teacher="T",
)


def test_rows_survive_a_table() -> None:
    assert from_table(to_table([SAMPLE], Sample), Sample) == [SAMPLE]


def test_schema_is_the_same_for_no_rows_and_for_null_columns() -> None:
    empty = Verdict("s", "p", None, None, None, "error", "ok", [], None)
    assert to_table([], Verdict).schema == to_table([empty], Verdict).schema == schema_of(Verdict)


def test_every_table_names_its_record_and_schema_version() -> None:
    assert schema_of(Generation).metadata[b"stillery.record"] == b"Generation"


def test_conform_refuses_a_table_of_another_record() -> None:
    with pytest.raises(ValueError, match="not a table of Generation"):
        conform(to_table([SAMPLE], Sample), Generation)


def test_conform_casts_what_other_writers_made() -> None:
    foreign = pa.table({"role": pa.array(["user"], pa.string()), "content": pa.array(["x"], pa.string())})
    assert from_table(foreign, Message) == [Message("user", "x")]


def test_sample_id_changes_with_each_thing_that_makes_a_sample() -> None:
    base = {"prompt_id": "p", "rendered": "r", "model": "m", "sampling": {"temperature": 1.0}, "index": 0}
    other = {"prompt_id": "q", "rendered": "R", "model": "n", "sampling": {"temperature": 0.5}, "index": 1}
    changed = [base | {key: value} for key, value in other.items()]
    ids = {sample_id(**kwargs) for kwargs in [base, *changed]}
    assert len(ids) == 6
    assert sample_id(**base) == sample_id(**base)
    assert 0 <= seed_of(sample_id(**base)) < 2**31
