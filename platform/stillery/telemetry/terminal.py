"""A stream of lines with, on a terminal, one bar below them."""

import contextlib
import shutil
import sys
import threading
from collections.abc import Generator
from typing import IO

from stillery.telemetry.bars import LineThrottle, ProgressBar

_CLEAR = "\r\x1b[K"


class Printer:
    """Prints lines from any thread; the bar is redrawn below each."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._bar: ProgressBar | None = None
        self._throttle = LineThrottle()

    def write(self, text: str, stream: IO[str], *, bar: ProgressBar | None = None) -> None:
        """Print a line; or draw a bar, if the stream is a terminal, and otherwise its text now and then."""
        with self._lock:
            if bar is None:
                with self.without_bar():
                    print(text, file=stream, flush=True)
            elif not stream.isatty():
                if self._throttle.is_due(bar):
                    print(text, file=stream, flush=True)
            else:
                self._bar = bar
                self._draw()
                if bar.done >= bar.of:
                    self.end_bar()

    def end_bar(self) -> None:
        """Leave the bar in place: its work is over."""
        with self._lock:
            if self._bar is not None:
                print(file=sys.stdout, flush=True)
            self._bar = None

    @contextlib.contextmanager
    def without_bar(self) -> Generator[None]:
        """Remove the bar while another line prints."""
        with self._lock:
            if self._bar is not None:
                print(_CLEAR, end="", file=sys.stdout, flush=True)
            try:
                yield
            finally:
                if self._bar is not None:
                    self._draw()

    def _draw(self) -> None:
        assert self._bar is not None
        columns = shutil.get_terminal_size().columns
        print(_CLEAR + self._bar.draw(columns=columns), end="", file=sys.stdout, flush=True)
