"""One cell of a row: found by the name or path of its column, and read as text, a number or an id.

Every error is a RowError that names the row and the column.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

from stillery.io.readers.json_rows import decode
from stillery.io.readers.rows import Row, RowError, Unreadable, kind_of

NO_COLUMN = "no column"
NOT_TEXT = "not text"
NOT_UTF8 = "not UTF-8"

_SHOWN_CHARS = 40
_SHOWN_NAMES = 12


def look_up(values: Any, name: str) -> Any:
    """The value of a column, or at a path of keys and list positions joined by dots. Raises LookupError."""
    if isinstance(values, str) and values.lstrip()[:1] in ("{", "["):
        values = _decoded(values)
    if isinstance(values, list):
        head, dot, rest = name.partition(".")
        try:
            inner = cast(list[Any], values)[int(head)]
        except ValueError:
            raise LookupError(name) from None
        return look_up(inner, rest) if dot else inner
    if not isinstance(values, Mapping):
        raise LookupError(name)
    columns = cast(Mapping[str, Any], values)
    if name in columns:
        return columns[name]
    # Keys may contain dots: the longest existing key is meant.
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        head = ".".join(parts[:end])
        if head in columns:
            return look_up(columns[head], ".".join(parts[end:]))
    raise LookupError(name)


def _decoded(text: str) -> Any:
    """A cell that contains JSON, as CSV stores nested ones."""
    try:
        return decode(text)
    except (ValueError, RecursionError):
        return text


def names_of(values: Mapping[str, Any]) -> str:
    """The columns of a row, for a message."""
    shown = [printable(name[:_SHOWN_CHARS]) for name in list(values)[:_SHOWN_NAMES]]
    return ", ".join(shown) + (f" and {len(values) - len(shown)} more" if len(values) > len(shown) else "")


def printable(text: str) -> str:
    """The text on one line, as any terminal can show it."""
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


def shown(cell: Any) -> str:
    """A cell in an error message: its beginning, on one line."""
    if isinstance(cell, (list, dict)):
        return kind_of(cell)
    return printable(repr(cell if not isinstance(cell, str) else cell[:_SHOWN_CHARS]))[: 2 * _SHOWN_CHARS]


def checked(row: Row, column: str, cell: Any) -> Any:
    """The cell, unless it is Unreadable."""
    if isinstance(cell, Unreadable):
        raise RowError(row.where, "unreadable cell", f"{column} cannot be read: {cell.why}")
    return cell


def read_text(row: Row, column: str, cell: Any, *, expected: str = "text") -> str:
    """A text cell that can be stored: one with bytes that are not UTF-8, or with a lone surrogate (half of a pair),
    cannot."""
    checked(row, column, cell)
    if not isinstance(cell, str):
        raise RowError(row.where, NOT_TEXT, f"{column} is {_said(cell)}; expected {expected}")
    try:
        cell.encode()
    except UnicodeEncodeError as error:
        code = ord(cell[error.start])
        if 0xDC80 <= code <= 0xDCFF:
            what = f"a byte that is not UTF-8 (0x{code - 0xDC00:02x})"
        else:
            what = f"half a character (the lone surrogate U+{code:04X})"
        raise RowError(row.where, NOT_UTF8, f"{column} holds {what}; save the file as UTF-8") from None
    return cell


def read_id(row: Row, column: str, cell: Any) -> str | None:
    """An id or a name as text; None where it is null, NaN (the null of data frames) or empty. A whole number that a
    data frame turned into a float is read as the whole number."""
    checked(row, column, cell)
    if cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    if isinstance(cell, (bool, list, dict)) or not isinstance(cell, (str, int, float)):
        raise RowError(row.where, NOT_TEXT, f"{column} is {_said(cell)}; expected text or a number")
    return read_text(row, column, str(cell))


def read_number(row: Row, column: str, cell: Any) -> float | None:
    """A numeric cell; None where it is null or NaN, the missing value of data frames."""
    checked(row, column, cell)
    try:
        value = None if cell is None else float(cell)
    except (TypeError, ValueError, OverflowError):
        raise RowError(row.where, "not a number", f"{column} is {shown(cell)}; expected a number") from None
    return None if value is None or math.isnan(value) else value


def _said(cell: Any) -> str:
    return kind_of(cell) if isinstance(cell, (list, dict)) else shown(cell)
