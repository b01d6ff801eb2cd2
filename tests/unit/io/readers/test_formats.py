"""Files of every format, plain and compressed, read to the same rows; faults in them are reported by row."""

import bz2
import gzip
import json
import lzma
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stillery.errors import UserError
from stillery.io.readers.files import find_files, read_rows
from stillery.io.readers.rows import Row, RowError, Unreadable

ROWS = [{"question": f'What is "{n}",\n{n}?', "answer": str(n), "note": "é" * n} for n in range(1, 700)]


def read(path: Path) -> list[Row | RowError]:
    return [row for found in find_files([str(path)], key="files") for row in read_rows(*found)]


def values(path: Path) -> list[Any]:
    return [dict(row.values) if isinstance(row, Row) else str(row).removeprefix(f"{path} ") for row in read(path)]


def zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return out.getvalue().to_pybytes()


def as_csv(delimiter: str) -> bytes:
    cells = ['"' + str(cell).replace('"', '""') + '"' for row in ROWS for cell in row.values()]
    lines = [delimiter.join(cells[i : i + 3]) for i in range(0, len(cells), 3)]
    return "\n".join([delimiter.join(ROWS[0]), *lines]).encode()


def as_parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(ROWS), sink)
    return sink.getvalue().to_pybytes()


FORMATS = {
    "a.jsonl": "\n".join(map(json.dumps, ROWS)).encode(),
    "a.ndjson": b"\xef\xbb\xbf" + "\r\n\r\n".join(map(json.dumps, ROWS)).encode(),
    "a.json": json.dumps(ROWS, indent=1, ensure_ascii=False).encode(),
    "list.jsonl": b"\n [" + ",".join(map(json.dumps, ROWS)).encode() + b"\n]\n",
    "a.csv": b"\xef\xbb\xbf" + as_csv(","),
    "a.tsv": as_csv("\t"),
    "a.parquet": as_parquet(),
}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd,
}  # fmt: skip


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, compression: str) -> None:
    path = tmp_path / f"{name}{compression}"
    path.write_bytes(COMPRESSIONS[compression](FORMATS[name]))
    assert values(path) == ROWS


def test_compression_is_told_by_the_bytes_and_streams_may_follow_each_other(tmp_path: Path) -> None:
    line = b'{"a": 1}\n'
    for name, data in (("a.jsonl", gzip.compress(line) * 2), ("a.jsonl.gz", line * 2), ("b.jsonl", zstd(line) * 2)):
        (tmp_path / name).write_bytes(data)
        assert values(tmp_path / name) == [{"a": 1}] * 2, name


def test_a_list_of_large_elements_is_read_across_chunks(tmp_path: Path) -> None:
    rows = [{"text": 'x]\\"' * 200_000}, {"text": "y"}, {"n": 12345}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    assert values(tmp_path / "a.json") == rows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}\n\n{"a": \n{"a": 2}', [{"a": 1}, "line 3: not JSON (Expecting value, column 6)", {"a": 2}]),
        ('{"a": 1}\n[1]\n3\n', [{"a": 1}, "line 2: a list; expected one JSON", "line 3: an integer; expected one"]),
        ('{"a": ' * 9000, ["line 1: not JSON"]),
        ('[{"a": 1}, 2, null]', [{"a": 1}, "element 2: an integer; expected a list", "element 3: null; expected"]),
        ("[]", []),
        ("", []),
        ("\n \n", []),
    ],
)
def test_bad_rows_of_json_stand_among_the_good_ones(tmp_path: Path, text: str, expected: list[Any]) -> None:
    (tmp_path / "a.json").write_text(text)
    found = values(tmp_path / "a.json")
    assert len(found) == len(expected)
    for said, wanted in zip(found, expected, strict=True):
        assert said == wanted if isinstance(wanted, dict) else said.startswith(wanted)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.json", b'[{"a": 1}, {"a"', "element 2: not JSON (the file ends within it)"),
        ("a.json", b'[{"a": 1}', "element 1: the file ends where , or ] is expected"),
        ("a.json", b'[{"a": 1} {"a": 2}]', "element 1: '{' follows where , or ] is expected"),
        ("a.json", b'[{"a": 1},]', "element 2: not JSON (Expecting value)"),
        ("a.json", b'[{"a": 1}]\n{"a": 2}', "something follows the list"),
        ("a.json", b'{\n"a": 1}\n', "an object over several lines; save one object a line"),
        ("a.json", b"[" * 100_000, "element 1: not JSON (brackets that never close)"),
        ("a.json", b'[{"a": oops, "b": "' + b"x" * 3_000_000 + b'"}]', "element 1: not JSON (Expecting value)"),
        ("a.csv", b'a,b\n1,2\n"3,4\n5,6\n', "line 3: a quote that is never closed takes in the rest"),
        ("a.csv", b"a;b\n1;2\n", "separated by ';', not by ','"),
        ("a.tsv", b"a,b\n1,2\n", "separated by ',', not by '\\t'"),
        ("a.csv", b'"a,b\n1,2\n', "line 1: the header is not CSV"),
        ("a.csv", b"\xff\xfea\x00", "UTF-16 or UTF-32 text, which is not read"),
        ("a.csv", b"PK\x03\x04", "a ZIP archive or a workbook, which is not read"),
        ("a.parquet", b"x" * 99, "cannot be read to its end"),
        ("a.parquet", as_parquet()[:-40], "cannot be read to its end"),
        ("a.jsonl.gz", gzip.compress(FORMATS["a.jsonl"])[:-30], "cannot be read to its end (Truncated"),
        ("a.jsonl.zst", zstd(FORMATS["a.jsonl"])[:-30], "cannot be read to its end (Truncated"),
        ("a.jsonl.xz", lzma.compress(FORMATS["a.jsonl"])[:-30], "cannot be read to its end"),
        ("a.jsonl.gz", gzip.compress(FORMATS["a.jsonl"])[:2000] + b"\x00" * 99, "cannot be read to its end"),
        ("a.jsonl", FORMATS["a.parquet"], "a Parquet file; rename it to .parquet"),
        ("a.parquet", FORMATS["a.jsonl"], "JSON, not Parquet; rename it to .jsonl"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a pointer of Git LFS"),
        ("a.jsonl", b"<!DOCTYPE html>\n", "a web page"),
        ("a.txt", b"x", "the suffix is not one of .jsonl, .ndjson, .json, .parquet, .csv, .tsv"),
    ],
)
def test_a_file_that_cannot_be_read_to_its_end_is_an_error(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError) as caught:
        read(tmp_path / name)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert len(str(caught.value).splitlines()) == 1


def test_bad_rows_of_csv_stand_among_the_good_ones(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'a,b\n1,2\n3\n"x"y,4\n\n"5\n6",7\n8,9,10\n11,\n')
    assert values(tmp_path / "a.csv") == [
        {"a": "1", "b": "2"},
        "line 3: 1 cells, but the header has 2; quote cells that hold commas",
        "line 4: not CSV (',' expected after '\"'); check its quotes",
        {"a": "5\n6", "b": "7"},
        "line 8: 3 cells, but the header has 2; quote cells that hold commas",
        {"a": "11", "b": None},
    ]


def test_what_no_column_reads_harms_nothing(tmp_path: Path) -> None:
    deep = "[" * 5000 + '"]"' + "]" * 5000
    odd = f'"big": {"9" * 4301}, "deep": {deep}, "half": "\\ud83d", "twice": 1, "twice": 2, "raw": "a\tb"'
    (tmp_path / "a.jsonl").write_bytes(b'{"q": "x", ' + odd.encode() + b', "bytes": "\xff"}\n')
    (tmp_path / "a.json").write_bytes(b'[{"q": "x", ' + odd.encode() + b', "bytes": "\xff"}]')
    (tmp_path / "a.csv").write_text("q,long\nx," + "y" * 200_000 + "\n")
    for name in ("a.jsonl", "a.json", "a.csv"):
        (row,) = values(tmp_path / name)
        assert row["q"] == "x"
    (row,) = values(tmp_path / "a.json")
    assert (row["big"], row["raw"], row["half"], row["bytes"]) == ("9" * 4301, "a\tb", "\ud83d", "\udcff")
    assert isinstance(row["twice"], Unreadable)


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("18", 18),
        ("0.10", 0.1),
        ("1e3", 1000.0),
        ("-0.0", 0.0),
        ("12345678901234567890", 12345678901234567890),
        ("1e400", "1e400"),
        ("1e-400", "1e-400"),
        ("3.14159265358979323846", "3.14159265358979323846"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("-0.30000000000000004", -0.30000000000000004),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_number_keeps_its_value(tmp_path: Path, number: str, value: Any) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"n": {number}}}\n')
    assert values(tmp_path / "a.jsonl") == [{"n": value}]


def test_a_parquet_cell_without_a_python_value_harms_no_other(tmp_path: Path) -> None:
    bad = pa.array([b"ok", b"\xff"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"a": bad, "b": [1, 2]}), tmp_path / "a.parquet")
    first, second = values(tmp_path / "a.parquet")
    assert first == {"a": "ok", "b": 1}
    assert second["b"] == 2
    assert isinstance(second["a"], Unreadable)


def test_parquet_columns_of_one_name_and_narrow_floats(tmp_path: Path) -> None:
    names, columns = ["q", "q", "f"], [pa.array(["a"]), pa.array(["b"]), pa.array([1], pa.int8())]
    pq.write_table(pa.Table.from_arrays(columns, names=names), tmp_path / "a.parquet")
    assert [(type(row["q"]), row["f"]) for row in values(tmp_path / "a.parquet")] == [(Unreadable, 1)]
    pq.write_table(pa.table({"f": pa.array([0.1, None], pa.float32())}), tmp_path / "b.parquet")
    assert values(tmp_path / "b.parquet") == [{"f": 0.1}, {"f": None}]


@pytest.mark.parametrize("name", ["foo://x/y.jsonl", "http://127.0.0.1:9/x.jsonl"])
def test_an_address_that_cannot_be_reached_is_named(name: str) -> None:
    with pytest.raises(UserError, match="^k=" + re.escape(name) + ": cannot be reached"):
        find_files([name], key="k")


def test_files_are_found_by_folder_glob_and_a_name_with_brackets(tmp_path: Path) -> None:
    for name in ("b.jsonl.zst", "a.csv", "_hidden.jsonl", "manifest.json", "x[1].jsonl"):
        (tmp_path / name).write_bytes(b"")
    names = [Path(path).name for _, path in find_files([str(tmp_path)], key="k")]
    assert names == ["a.csv", "b.jsonl.zst", "x[1].jsonl"]
    assert [Path(path).name for _, path in find_files([f"{tmp_path}/*.csv"], key="k")] == ["a.csv"]
    assert [Path(path).name for _, path in find_files([f"{tmp_path}/x[1].jsonl"], key="k")] == ["x[1].jsonl"]
    with pytest.raises(UserError, match=r"^k=.*gone.jsonl: no such file$"):
        find_files([str(tmp_path / "gone.jsonl")], key="k")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: no \.jsonl, \.ndjson"):
        find_files([str(tmp_path / "empty")], key="k")
