"""JSON lines, or the elements of an array of JSON objects, whichever the file contains.

Numbers keep their value: one that Python cannot hold exactly (more than 4,300 digits, past the range or the precision
of a float) stays text, NaN and Infinity are floats. Values nested deeper than any column's path are cut off, a
duplicate key in an object is Unreadable, and bytes that are not UTF-8 become lone surrogates: all three are errors of a
row only where the row's column is read.
"""

import io
import json
import re
from collections.abc import Iterator
from typing import IO, Any, cast

from stillery.errors import UserError
from stillery.io.readers.rows import Row, RowError, Unreadable, kind_of

NOT_JSON = "not JSON"
NOT_OBJECT = "not an object"

_MAX_DIGITS = 4300
_MAX_DEPTH = 64
_CHUNK_CHARS = 1 << 20
# An error closer to the end of the buffer may be due to missing input.
_TAIL_CHARS = 32
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
_SPACE = re.compile(r"[ \t\r\n]*")


def read_json(file: IO[bytes], path: str) -> Iterator[Row | RowError]:
    """The objects of a file, in lines or in one array."""
    lines = _lines(file)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if line.lstrip().startswith("["):
            with io.TextIOWrapper(cast(Any, file), encoding="utf-8", errors="surrogateescape", newline="") as rest:
                yield from _read_array(_Text(line, rest), path)
            return
        first = _row(line, f"{path} line {number}")
        if isinstance(first, RowError) and line.strip() == "{":
            raise UserError(f"{path}: an object over several lines; save one object a line, or a list of objects")
        yield first
        break
    else:
        return
    for later, line in enumerate(lines, start=number + 1):
        if line.strip():
            yield _row(line, f"{path} line {later}")


def decode(text: str) -> Any:
    """One JSON value. Raises ValueError for invalid JSON."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        return _DECODER.decode(_prune(text, 0)[0])


def _lines(file: IO[bytes]) -> Iterator[str]:
    for number, line in enumerate(file):
        line = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
        yield line.decode("utf-8", "surrogateescape")


def _row(line: str, where: str) -> Row | RowError:
    try:
        values = decode(line.rstrip())
    except json.JSONDecodeError as error:
        return RowError(where, NOT_JSON, f"not JSON ({error.msg}, column {error.colno}); expected one object a line")
    except RecursionError:
        return RowError(where, NOT_JSON, "not JSON (brackets that never close); expected one object a line")
    return _checked(values, where, "one JSON object a line")


def _checked(values: Any, where: str, expected: str) -> Row | RowError:
    if not isinstance(values, dict):
        return RowError(where, NOT_OBJECT, f"{kind_of(values)}; expected {expected}")
    return Row(where, cast(dict[str, Any], values))


class _Text:
    """The text of a file from a position on: earlier text is dropped, later text is read on demand."""

    def __init__(self, begin: str, rest: io.TextIOBase) -> None:
        self.buffer, self.position, self.is_whole = begin, 0, False
        self._rest = rest

    def more(self) -> None:
        """Read on, at least doubling the buffer: so the number of parse attempts for an element grows with the
        logarithm of its size."""
        waiting = self.buffer[self.position :]
        added = self._rest.read(max(_CHUNK_CHARS, len(waiting)))
        self.buffer, self.position, self.is_whole = waiting + added, 0, not added

    def peek(self) -> str:
        """The next non-white-space character; "" at the end."""
        while True:
            match = _SPACE.match(self.buffer, self.position)
            self.position = match.end() if match else self.position
            if self.position < len(self.buffer) or self.is_whole:
                return self.buffer[self.position : self.position + 1]
            self.more()


def _read_array(text: _Text, path: str) -> Iterator[Row | RowError]:
    text.peek()
    text.position += 1
    number = 0
    while text.peek() != "]" or number:
        number += 1
        where = f"{path} element {number}"
        yield _checked(_element(text, where), where, "a list of JSON objects")
        mark = text.peek()
        text.position += 1
        if mark == "]":
            break
        if mark != ",":
            raise UserError(
                f"{where}: {'the file ends' if not mark else f'{mark!r} follows'} where , or ] is expected; "
                "what comes after cannot be read, so write the file again"
            )
    else:
        text.position += 1
    if text.peek():
        raise UserError(f"{path}: something follows the list; save one list, or one object a line")


def _element(text: _Text, where: str) -> Any:
    while True:
        try:
            value, end = _DECODER.raw_decode(text.buffer, text.position)
        except json.JSONDecodeError as error:
            is_cut = error.msg.startswith("Unterminated") or error.pos >= len(text.buffer) - _TAIL_CHARS
            if is_cut and not text.is_whole:
                text.more()
                continue
            is_end = error.msg.startswith("Unterminated") or error.pos >= len(text.buffer.rstrip())
            why = "the file ends within it" if is_end else error.msg
            raise UserError(
                f"{where}: not JSON ({why}); what comes after cannot be read, so write the file again"
            ) from None
        except RecursionError:
            pruned, end = _prune(text.buffer, text.position)
            if end is None and not text.is_whole:
                text.more()
                continue
            if end is None:
                raise UserError(f"{where}: not JSON (brackets that never close); write the file again") from None
            value = _DECODER.decode(pruned)
        # A number may continue beyond the buffer.
        if end == len(text.buffer) and not text.is_whole:
            text.more()
            continue
        text.position = end
        return value


def _prune(text: str, start: int) -> tuple[str, int | None]:
    """A value without parts nested deeper than _MAX_DEPTH, and its end (None: incomplete)."""
    parts: list[str] = []
    depth, copied = 0, start
    for token in _TOKEN.finditer(text, start):
        mark = token.group()
        if mark in "[{":
            depth += 1
            if depth == _MAX_DEPTH:
                parts.append(text[copied : token.start()] + "null")
        elif mark in "]}":
            if depth == _MAX_DEPTH:
                copied = token.end()
            depth -= 1
            if depth == 0:
                return "".join(parts) + text[copied : token.end()], token.end()
    return "".join(parts), None


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= _MAX_DIGITS else text


def _float(text: str) -> float | str:
    """The number, or its text where a float would differ."""
    value = float(text)
    if len(text) <= 15 and value not in (0.0, float("inf"), float("-inf")):
        return value
    if repr(value) == text:
        return value
    mantissa, _, exponent = text.lower().partition("e")
    digits = mantissa.replace(".", "").lstrip("-0")
    if not digits:
        return value
    is_short = len(digits.rstrip("0")) <= 15 and len(exponent) <= 3
    return value if is_short and value not in (0.0, float("inf"), float("-inf")) else text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                values[name] = Unreadable("the row gives it twice")
            seen.add(name)
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, strict=False)
