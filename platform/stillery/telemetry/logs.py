"""Log lines of a run: plain text, or one JSON object per line with STILLERY_LOG=json.

In: records of `logger`, the standard library's `stillery.progress`, from anywhere in the code; `within` sets the run
and stage, `report` the progress. Out: lines on standard output, errors on standard error; an application that embeds
stillery may add handlers of its own. Progress is a bar on a terminal, elsewhere an occasional line. INFO is for people,
DEBUG for programs alone: a line of JSON, and no text, for events that may be very frequent.
"""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from typing import Any

from stillery.errors import UserError
from stillery.telemetry.bars import ProgressBar
from stillery.telemetry.marked import is_for_driver, mark
from stillery.telemetry.terminal import Printer

VARIABLE = "STILLERY_LOG"
FORMATS = ("text", "json")

logger = logging.getLogger("stillery.progress")

# Per process, not per thread: engines and trainers log from threads of their own, and a process works on one stage at a
# time.
_where: dict[str, str] = {}
_printer = Printer()
without_bar = _printer.without_bar


def check_format() -> None:
    """Raise UserError if $STILLERY_LOG is not a known format."""
    told = os.environ.get(VARIABLE)
    if told and told not in FORMATS:
        raise UserError(f"{VARIABLE}={told}: no such format; set it to {' or '.join(FORMATS)}")


def is_json() -> bool:
    """Whether lines are JSON objects."""
    return os.environ.get(VARIABLE) == "json"


@contextlib.contextmanager
def within(where: Mapping[str, str]) -> Generator[None]:
    """Add these fields (run, stage, fingerprint) to every line of this process inside the block."""
    before = current_fields()
    add_fields(where)
    try:
        yield
    finally:
        _printer.end_bar()
        _where.clear()
        _where.update(before)


def add_fields(where: Mapping[str, str]) -> None:
    """Add these fields to every line from now on: for a process that works for another process's stage."""
    _where.update(where)


def current_fields() -> dict[str, str]:
    """The current fields of log lines, to be passed to a process that works for this one."""
    return dict(_where)


def with_fields(**fields: Any) -> dict[str, Any]:
    """Additional fields of a record for programs, such as `sample_id`: the `extra` of `logger`'s calls."""
    return {"fields": fields}


def report(bar: ProgressBar) -> None:
    """Report progress, at any rate: a line of JSON each time, and an occasional line of text."""
    logger.info(str(bar), extra={"fields": {"progress": bar.to_plain()}, "bar": bar})


def _add_place(record: logging.LogRecord) -> bool:
    record.fields = {**_where, **getattr(record, "fields", {})}
    return True


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time (UTC), level, message, and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        told = {"time": time, "level": record.levelname.lower(), "message": record.getMessage().strip()}
        fields: dict[str, Any] = getattr(record, "fields", {})
        # Set first and last: in front, and not to be overwritten.
        return json.dumps(told | fields | told, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """The message alone; one that explains the end of a command names the program."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        return f"stillery: {message}" if record.levelno >= logging.ERROR else message


class LineHandler(logging.Handler):
    """Prints each record at once, in the current format, on the current stream. Progress is a bar in the last line of a
    terminal, elsewhere an occasional line."""

    def emit(self, record: logging.LogRecord) -> None:
        if is_for_driver():
            if record.levelno >= logging.INFO or is_json():
                print(mark(record), flush=True)
            return
        formatter = _JSON if is_json() else _TEXT
        if record.levelno < logging.INFO and formatter is _TEXT:
            return
        bar: ProgressBar | None = getattr(record, "bar", None)
        stream = sys.stderr if record.levelno >= logging.ERROR else sys.stdout
        _printer.write(formatter.format(record), stream, bar=None if formatter is _JSON else bar)


_JSON, _TEXT = JsonFormatter(), TextFormatter()
logger.setLevel(logging.DEBUG)
logger.propagate = False
logger.addHandler(LineHandler())
logger.addFilter(_add_place)
