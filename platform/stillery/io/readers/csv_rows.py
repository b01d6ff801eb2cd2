"""CSV with a header: every cell is text, an empty one null."""

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any, cast

from stillery.errors import UserError
from stillery.io.readers.rows import Row, RowError, Unreadable

NOT_CSV = "not CSV"
WRONG_WIDTH = "wrong number of cells"


def read_csv(file: IO[bytes], path: str, *, delimiter: str = ",") -> Iterator[Row | RowError]:
    """The rows of a CSV file; bytes that are not UTF-8 become lone surrogates."""
    csv.field_size_limit(sys.maxsize)  # A process-wide setting: a long trace exceeds the module's default
    with io.TextIOWrapper(cast(Any, file), encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        yield from _rows(csv.reader(text, strict=True, delimiter=delimiter), path, delimiter)


def _rows(reader: Any, path: str, delimiter: str) -> Iterator[Row | RowError]:
    header = _header(reader, path, delimiter)
    if header is None:
        return
    twice = {name: Unreadable("the header names it twice") for name, count in Counter(header).items() if count > 1}
    while True:
        where = f"{path} line {reader.line_num + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise UserError(
                    f"{where}: a quote that is never closed takes in the rest of the file; close it, or double it"
                ) from None
            yield RowError(where, NOT_CSV, f"not CSV ({error}); check its quotes")
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            yield RowError(
                where,
                WRONG_WIDTH,
                f"{len(cells)} cells, but the header has {len(header)}; quote cells that hold commas",
            )
            continue
        values = {name: cell or None for name, cell in zip(header, cells, strict=True)}
        yield Row(where, {**values, **twice}, is_typed=False)


def _header(reader: Any, path: str, delimiter: str) -> list[str] | None:
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise UserError(f"{path} line 1: the header is not CSV ({error}); check its quotes") from None
    if header is not None and len(header) == 1:
        other = next((mark for mark in (",", ";", "\t", "|") if mark != delimiter and mark in header[0]), None)
        if other is not None:
            raise UserError(
                f"{path}: its cells seem to be separated by {other!r}, not by {delimiter!r}; "
                "save it with commas as .csv, or with tabs as .tsv"
            )
    return None if header is None else [name.strip() for name in header]
