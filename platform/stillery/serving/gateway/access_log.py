"""The access log: one JSON line per request, without prompts, answers, keys, or raw paths and queries."""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

from stillery.errors import UserError

logger = logging.getLogger(__name__)


class AccessLog:
    """Writes to standard error, to a file, or nowhere.

    A line is one write to the end of the file, which is opened for that line alone: several replicas can share a file,
    and it can be rotated at any time.
    """

    def __init__(self, target: str) -> None:
        """`target` is `stderr`, `off`, or a path. Raises UserError for a path that cannot be written."""
        self._target = target
        if target not in ("stderr", "off"):
            try:
                self._append(b"")
            except OSError as error:
                raise UserError(f"gateway.access_log: {target} cannot be written: {error.strerror}") from None

    def write(self, **fields: Any) -> None:
        """One line with the time and `fields`; those that are None are left out."""
        if self._target == "off":
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now} | {name: value for name, value in fields.items() if value is not None}) + "\n"
        if self._target == "stderr":
            sys.stderr.write(line)
            return
        try:
            self._append(line.encode())
        except OSError as error:
            # A full disk must not fail requests.
            logger.error("access log %s cannot be written: %s", self._target, error.strerror)

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self._target, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
