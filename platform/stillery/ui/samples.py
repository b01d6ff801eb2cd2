"""The teacher's samples of a run as one fast table.

In: the Parquet files of generate (while it runs: of the sample log), verify, bonds, curate and prompts. Out: rows of an
in-memory index, a narrow table without the texts, built when a run's samples are first requested. The texts stay in the
files: a sample's page reads its own, and a search scans all of them once.
"""

import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillery.curation.files import CHOICES
from stillery.io.run_folder import MANIFEST, Output
from stillery.io.storage import Folder
from stillery.metrics import StoppingRule
from stillery.metrics.stopping import stopped_rates
from stillery.records import digest
from stillery.ui.database import Database, Row
from stillery.ui.filters import ROWS_PER_PAGE, TableQuery
from stillery.ui.log_files import log_of, read_log
from stillery.ui.runs import RUNNING, RunView
from stillery.ui.sample_table import SOURCES, create_table

# The numbers of cached indexes and searches. While it builds an index of 800,000 rows the process takes up to 1.2 GB.
_KEPT_INDEXES, _KEPT_SEARCHES = 3, 16
# The maximum age of the index of unfinished samples, in seconds.
_RUNNING_FOR_S = 5.0
_FACETS = ("task", "split", "verdict", "outcome", "finish_reason")


@dataclass(frozen=True, slots=True)
class Index:
    """The table of one set of samples: its name in the database, the files of its texts and of its problems, the number
    of rows, and for the filter columns the number of rows of each value, the most frequent first."""

    table: str
    texts: list[str]
    problems: list[str]
    num_rows: int
    facets: Mapping[str, Mapping[str, int]]
    stages: frozenset[str]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a table of samples, and the number of rows of the whole table."""

    rows: list[Row]
    total: int

    @property
    def num_pages(self) -> int:
        return max(1, -(-self.total // ROWS_PER_PAGE))


class SampleIndexes:
    """The indexes of the runs viewed so far."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._indexes: dict[tuple[str, ...], Index] = {}
        # For each log the latest index, its time, and how long it took to build.
        self._latest: dict[Path, tuple[tuple[str, ...], float, float]] = {}
        self._searches: dict[tuple[str, str], str] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def index(self, chosen: Mapping[str, Output]) -> Index:
        """The index of the samples of a run's outputs, built if missing. Raises KeyError without the stage generate."""
        key = (chosen["generate"].folder.uri, *(chosen[s].fingerprint if s in chosen else "" for s in SOURCES))
        with self._lock:
            return self._kept(key, lambda: self._build(_all_files(chosen), _stopped_rates(chosen)))

    def running(self, run: RunView) -> Index | None:
        """The index of the samples that a run has logged so far, without failed ones; None if there are none.

        It is at most some seconds old, or twenty times its build time if that is longer, unless one of its files has
        gone.
        """
        log, prompts = log_of(run), run.chosen(RUNNING, fetch=("prompts",))
        if log is None or "prompts" not in prompts:
            return None
        with self._lock:
            key, made, took = self._latest.get(log, ((), 0.0, 0.0))
            found, begun = self._indexes.get(key), time.monotonic()
            is_new = begun - made < max(_RUNNING_FOR_S, 20 * took)
            if found is None or not is_new or not all(map(os.path.exists, found.texts)):
                found = read_log(log, lambda files: self._build_running(log, files, _files(prompts, "prompts"), begun))
        return found if found.num_rows else None

    def _build_running(self, log: Path, files: list[Path], prompts: list[str], begun: float) -> Index:
        if not files:
            return Index("", [], [], 0, {}, frozenset())
        names = {"generate": [str(file) for file in files], "prompts": prompts}
        key = (str(log), digest("files", names["generate"]))
        index = self._kept(key, lambda: self._build(names, _stopped_rates({}), logged=True))
        self._latest[log] = (key, begun, time.monotonic() - begun)
        return index

    def _kept(self, key: tuple[str, ...], build: Callable[[], Index]) -> Index:
        """The index of a key, built if missing; the least recently used ones are dropped."""
        found = self._indexes.pop(key, None) or build()
        self._indexes[key] = found
        while len(self._indexes) > _KEPT_INDEXES:
            self._forget(self._indexes.pop(next(iter(self._indexes))))
        return found

    def page(self, index: Index, query: TableQuery) -> Page:
        """The rows of the requested page."""
        where, values = self._where(index, query)
        offset = (query.page - 1) * ROWS_PER_PAGE
        # Only the sort columns are sorted: with whole rows, a deep page of a large table would take seconds.
        places = f"SELECT place FROM {index.table} {where} ORDER BY {query.order} LIMIT {ROWS_PER_PAGE} OFFSET {offset}"
        rows = self._database.rows(
            f"SELECT * FROM {index.table} WHERE place IN ({places}) ORDER BY {query.order}", values
        )
        return Page(rows, self._database.value(f"SELECT count(*) FROM {index.table} {where}", values))

    def sample(self, index: Index, sample_id: str) -> Row | None:
        """One sample with its texts; None if it is missing."""
        found = self._database.rows(f"SELECT * FROM {index.table} WHERE sample_id = $id", {"id": sample_id})
        if not found:
            return None
        texts = self._database.rows(
            "SELECT * FROM read_parquet($file) WHERE sample_id = $id ORDER BY error NULLS FIRST LIMIT 1",
            {"file": found[0]["file"], "id": sample_id},
        )
        problem = self._database.rows(
            "SELECT question, choices, answer_kind FROM read_parquet($files) WHERE prompt_id = $id",
            {"files": index.problems, "id": found[0]["prompt_id"]},
        ) if index.problems else []  # fmt: skip
        return {**texts[0], **found[0], **(problem[0] if problem else {})}

    def siblings(self, index: Index, prompt_id: str) -> list[Row]:
        """All samples of a problem, in order."""
        return self._database.rows(
            f"SELECT * FROM {index.table} WHERE prompt_id = $id ORDER BY sample_index, place", {"id": prompt_id}
        )

    def neighbours(self, index: Index, query: TableQuery, sample_id: str) -> dict[str, str]:
        """The samples before and after one in a table, as `previous` and `next`, where there are any."""
        where, values = self._where(index, query)
        rows = self._database.rows(
            f"SELECT previous, next FROM (SELECT sample_id, lag(sample_id) OVER ordered AS previous, "
            f"lead(sample_id) OVER ordered AS next FROM {index.table} {where} "
            f"WINDOW ordered AS (ORDER BY {query.order})) WHERE sample_id = $this",
            {**values, "this": sample_id},
        )
        return {name: sample for name, sample in (rows[0] if rows else {}).items() if sample is not None}

    def _where(self, index: Index, query: TableQuery) -> tuple[str, dict[str, Any]]:
        conditions = list(query.conditions)
        if query.text:
            conditions.append(f"sample_id IN (SELECT sample_id FROM {self._search(index, query.text)})")
        return (f"WHERE {' AND '.join(conditions)}" if conditions else ""), dict(query.values)

    def _search(self, index: Index, text: str) -> str:
        """The table of the samples that contain a text: in the trace, the problem or the answer, or as the prefix of an
        id. Case is ignored."""
        key = (index.table, text)
        with self._lock:
            table = self._searches.pop(key, None)
            if table is None:
                table = f"search_{next(self._numbers)}"
                self._database.rows(
                    f"CREATE TABLE {table} AS "
                    "SELECT sample_id FROM read_parquet($files) WHERE contains(lower(completion), lower($text)) UNION "
                    f"SELECT sample_id FROM {index.table} WHERE contains(lower(question), lower($text)) "
                    "OR contains(lower(predicted), lower($text)) OR answer = $text "
                    "OR starts_with(sample_id, $text) OR starts_with(prompt_id, $text)",
                    {"files": index.texts, "text": text},
                )
            self._searches[key] = table
            while len(self._searches) > _KEPT_SEARCHES:
                self._database.rows(f"DROP TABLE {self._searches.pop(next(iter(self._searches)))}")
        return table

    def _build(self, told: Mapping[str, list[str]], stopped: Mapping[str, Any], *, logged: bool = False) -> Index:
        """The index of the files of each stage; of the sample log instead of generate's, if `logged`."""
        files = {stage: names for stage, names in told.items() if names}
        table = f"samples_{next(self._numbers)}"
        self._database.rows(create_table(table, frozenset(files), logged=logged), {**files, **stopped})
        facets = {column: self._count(table, column) for column in _FACETS}
        facets["flag"] = self._count(f"(SELECT unnest(flags) AS flag FROM {table})", "flag")
        num_rows = self._database.value(f"SELECT count(*) FROM {table}")
        return Index(table, files["generate"], files.get("prompts", []), num_rows, facets, frozenset(files))

    def _count(self, source: str, column: str) -> dict[str, int]:
        rows = self._database.rows(
            f"SELECT {column} AS value, count(*) AS number FROM {source} WHERE {column} IS NOT NULL "
            "GROUP BY ALL ORDER BY number DESC, value"
        )
        return {row["value"]: row["number"] for row in rows}

    def _forget(self, index: Index) -> None:
        for key in [key for key in self._searches if key[0] == index.table]:
            self._database.rows(f"DROP TABLE {self._searches.pop(key)}")
        self._database.rows(f"DROP TABLE {index.table}")


def _all_files(chosen: Mapping[str, Output]) -> dict[str, list[str]]:
    return {stage: _files(chosen, stage) for stage in SOURCES}


def _files(chosen: Mapping[str, Output], stage: str) -> list[str]:
    if stage not in chosen:
        return []
    folder: Folder = chosen[stage].folder / CHOICES if stage == "curate" else chosen[stage].folder
    return [str(folder.local / name) for name in folder.names(".parquet")]


def _stopped_rates(chosen: Mapping[str, Output]) -> dict[str, list[Any]]:
    """The pass rates at the points where the teacher's stopping rule stops, by the numbers of samples and of right
    ones; empty without a stopping rule."""
    stopping = None
    if "curate" in chosen:
        stopping = json.loads(chosen["curate"].folder.read_bytes(MANIFEST))["settings"].get("stopping")
    rates = {} if stopping is None else stopped_rates(StoppingRule(**stopping))
    return {"made": [m for m, _ in rates], "right": [a for _, a in rates], "rates": list(rates.values())}
