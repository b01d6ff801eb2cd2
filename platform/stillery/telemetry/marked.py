"""Workers' records as marked lines, which their driver turns back into records.

Ray copies workers' output to the driver's terminal, with a process id before each line; a worker whose driver reads its
lines (`STILLERY_LINES=driver`) prints them in this format.
"""

import json
import logging
import os
from dataclasses import asdict
from typing import Any

from stillery.telemetry.bars import ProgressBar

VARIABLE = "STILLERY_LINES"
MARK = "\x1estillery "


def is_for_driver() -> bool:
    """Whether this process's lines are read by one of our drivers."""
    return os.environ.get(VARIABLE) == "driver"


def mark(record: logging.LogRecord) -> str:
    """A record as one marked line."""
    bar: ProgressBar | None = getattr(record, "bar", None)
    told = {
        "level": record.levelno,
        "message": record.getMessage(),
        "fields": getattr(record, "fields", {}),
        "bar": None if bar is None else asdict(bar),
    }
    return MARK + json.dumps(told, default=str)


def unmark(line: str, *, name: str) -> logging.LogRecord | None:
    """The record of a marked line, as one of the logger `name`; None for any other line, and for one garbled by two
    processes that printed at once."""
    _, found, text = line.partition(MARK)
    if not found:
        return None
    try:
        told: dict[str, Any] = json.loads(text)
        record = logging.LogRecord(name, told["level"], "", 0, told["message"], None, None)
        record.fields = told["fields"]
        if told["bar"] is not None:
            record.bar = ProgressBar(**told["bar"])
    except (ValueError, KeyError, TypeError):
        return None
    return record
