"""A Ray node's metrics page for Prometheus: read, searched, compared."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

# A page takes milliseconds to make, but its process shares the cores with everything else.
READ_LIMIT_S = 10.0


@dataclass(frozen=True)
class Series:
    """One line of a page."""

    name: str
    tags: Mapping[str, str]
    value: float

    def has(self, tags: Mapping[str, str]) -> bool:
        return all(self.tags.get(key) == value for key, value in tags.items())


@dataclass
class Watch:
    """Reads a page once a second in its own thread. `seen` holds, for each series whose name starts with `prefix`, its
    times and values; `names` are those of all series; `last` is the latest page."""

    url: str
    prefix: str
    every_s: float = 1.0
    last: list[Series] = field(default_factory=list[Series])
    times: list[float] = field(default_factory=list[float])
    names: set[str] = field(default_factory=set[str])
    seen: dict[tuple[str, frozenset[tuple[str, str]]], list[tuple[float, float]]] = field(
        default_factory=dict[tuple[str, frozenset[tuple[str, str]]], list[tuple[float, float]]]
    )
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Watch":
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._over.set()
        self._thread.join()

    def of(self, name: str, tags: Mapping[str, str]) -> list[tuple[float, float]]:
        """The times and values of all series with this name and these tags, in order of time."""
        found = [
            point
            for (seen, key), points in self.seen.items()
            if seen == name and Series(seen, dict(key), 0.0).has(tags)
            for point in points
        ]
        return sorted(found)

    def _run(self) -> None:
        while not self._over.wait(self.every_s):
            page = read_page(self.url)
            if page is None:
                continue
            now = time.time()
            self.last = page
            self.times.append(now)
            self.names.update(series.name for series in page)
            for series in page:
                if series.name.startswith(self.prefix):
                    key = series.name, frozenset(series.tags.items())
                    self.seen.setdefault(key, []).append((now, series.value))


def read_page(url: str) -> list[Series] | None:
    """The series of a page; None while it is unavailable."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=READ_LIMIT_S) as answer:
            text = answer.read().decode()
    except (urllib.error.URLError, OSError):
        return None
    return parse(text)


def parse(text: str) -> list[Series]:
    """The series in a page's text."""
    return [
        Series(sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def total(page: Sequence[Series], name: str, tags: Mapping[str, str]) -> float:
    """The sum of all series with this name and at least these tags; 0 if there is none, since a counter that was never
    raised is not sent."""
    return sum(series.value for series in page if series.name == name and series.has(tags))


def agrees(value: float, expected: float) -> bool:
    """Whether a total has its expected value, up to rounding of a floating-point sum."""
    return abs(value - expected) <= 1e-9 * max(1.0, abs(expected))
