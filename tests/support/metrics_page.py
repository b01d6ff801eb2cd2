"""The page on which a Ray node shows its metrics to Prometheus: read, searched, compared."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

# A page is made in milliseconds, but by a process that shares the cores with everything else.
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
    """Reads a page once a second in a thread of its own. `seen` holds, for each series that starts with `prefix`, the
    times and values at which it was there; `names` are those of all series; `last` is the latest page."""

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
        """The times and values of all series of this name that have these tags, in order of time."""
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
    """The series of a page; None while it cannot be had."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=READ_LIMIT_S) as answer:
            text = answer.read().decode()
    except (urllib.error.URLError, OSError):
        return None
    return parse(text)


def parse(text: str) -> list[Series]:
    """The series of a page's text."""
    return [
        Series(sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def total(page: Sequence[Series], name: str, tags: Mapping[str, str]) -> float:
    """The sum of all series of this name that have these tags, among others; 0 where there is none, since a counter
    that was never raised is not sent."""
    return sum(series.value for series in page if series.name == name and series.has(tags))


def agrees(value: float, expected: float) -> bool:
    """Whether a total is what it should be, but for what adding up floating-point numbers loses."""
    return abs(value - expected) <= 1e-9 * max(1.0, abs(expected))
