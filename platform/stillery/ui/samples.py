"""The teacher's samples of a run as one table that answers fast.

In: the Parquet files of generate, verify, bonds, curate and prompts. Out: rows of an index in memory, a narrow one
without the texts, built when a run's samples are first asked for. The texts stay in the files: a sample's page reads
its own, and a search goes through all of them once.
"""

import itertools
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stillery.curation.files import CHOICES
from stillery.io.run_folder import MANIFEST, Output
from stillery.io.storage import Folder
from stillery.metrics import StoppingRule
from stillery.metrics.stopping import stopped_rates
from stillery.records import BondKind
from stillery.ui.database import Database, Row
from stillery.ui.filters import BOND_COLUMNS, KEPT, ROWS_PER_PAGE, TableQuery

# Indexes and searches that are kept. While it makes an index of 800,000 rows the process takes up to 1.2 GB.
_KEPT_INDEXES, _KEPT_SEARCHES = 3, 16
_SOURCES = ("generate", "verify", "bonds", "curate", "prompts")
_FACETS = ("task", "split", "verdict", "outcome", "finish_reason")

_BONDS = ", ".join(
    f"len(list_filter(bonds, lambda b: b.kind = '{kind.value}'))::INTEGER AS {BOND_COLUMNS[kind]}" for kind in BondKind
)
# What a stage adds to a sample's row, and what stands there where the stage has not run.
_PARTS = {
    "verify": (
        "SELECT sample_id, verdict, flags, predicted, template FROM read_parquet($verify)",
        "NULL::VARCHAR AS verdict, NULL::VARCHAR[] AS flags, NULL::VARCHAR AS predicted, NULL::VARCHAR AS template",
    ),
    "bonds": (
        f"SELECT sample_id, stability, conflict, {_BONDS} FROM read_parquet($bonds) WHERE error IS NULL",
        "NULL::DOUBLE AS stability, NULL::DOUBLE AS conflict, "
        + ", ".join(f"NULL::INTEGER AS {column}" for column in BOND_COLUMNS.values()),
    ),
    "curate": (
        f"SELECT sample_id, coalesce(reason, '{KEPT}') AS outcome FROM read_parquet($curate)",
        "NULL::VARCHAR AS outcome",
    ),
}
_PROMPTS = (
    "SELECT prompt_id, task, split, question, answer FROM read_parquet($prompts)",
    "NULL::VARCHAR AS task, NULL::VARCHAR AS split, NULL::VARCHAR AS question, NULL::VARCHAR AS answer",
)
# The share of correct samples of a problem, as metrics.pass_rate has it under the stopping rule.
_RATES = """
    SELECT prompt_id, coalesce(rate, accepted / nullif(counted, 0)) AS pass_rate
    FROM (SELECT prompt_id, count(*) AS counted, count(*) FILTER (verdict = 'correct') AS accepted FROM joined
          WHERE NOT surplus AND verdict NOT IN ('timeout', 'error', 'unchecked')
                AND outcome IS DISTINCT FROM 'tried again'
          GROUP BY prompt_id)
    LEFT JOIN (SELECT unnest($made) AS counted, unnest($right) AS accepted, unnest($rates) AS rate)
    USING (counted, accepted)"""


@dataclass(frozen=True, slots=True)
class Index:
    """The table of one set of samples: its name in the database, the files of its texts and of its problems, how many
    rows, and how many of them have each value of the columns that are filtered by, the most frequent first."""

    table: str
    texts: list[str]
    problems: list[str]
    num_rows: int
    facets: Mapping[str, Mapping[str, int]]
    stages: frozenset[str]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a table of samples, and how many rows the whole table has."""

    rows: list[Row]
    total: int

    @property
    def num_pages(self) -> int:
        return max(1, -(-self.total // ROWS_PER_PAGE))


class Samples:
    """The indexes of the runs that were looked at."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._indexes: dict[tuple[str, ...], Index] = {}
        self._searches: dict[tuple[str, str], str] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def index(self, chosen: Mapping[str, Output]) -> Index:
        """The index of the samples of a run's outputs, made if it is not there. Raises KeyError without the stage
        generate."""
        key = (chosen["generate"].folder.uri, *(chosen[s].fingerprint if s in chosen else "" for s in _SOURCES))
        with self._lock:
            found = self._indexes.pop(key, None) or self._build(chosen)
            self._indexes[key] = found
            while len(self._indexes) > _KEPT_INDEXES:
                self._forget(self._indexes.pop(next(iter(self._indexes))))
        return found

    def page(self, index: Index, query: TableQuery) -> Page:
        """The rows of the page that is asked for."""
        where, values = self._where(index, query)
        offset = (query.page - 1) * ROWS_PER_PAGE
        # Only what orders the rows is sorted: whole rows, a deep page of a large table would take seconds.
        places = f"SELECT place FROM {index.table} {where} ORDER BY {query.order} LIMIT {ROWS_PER_PAGE} OFFSET {offset}"
        rows = self._database.rows(
            f"SELECT * FROM {index.table} WHERE place IN ({places}) ORDER BY {query.order}", values
        )
        return Page(rows, self._database.value(f"SELECT count(*) FROM {index.table} {where}", values))

    def sample(self, index: Index, sample_id: str) -> Row | None:
        """One sample with its texts; None if it is not among them."""
        found = self._database.rows(f"SELECT * FROM {index.table} WHERE sample_id = $id", {"id": sample_id})
        if not found:
            return None
        texts = self._database.rows(
            "SELECT * FROM read_parquet($file) WHERE sample_id = $id", {"file": found[0]["file"], "id": sample_id}
        )
        problem = self._database.rows(
            "SELECT question, choices, answer_kind FROM read_parquet($files) WHERE prompt_id = $id",
            {"files": index.problems, "id": found[0]["prompt_id"]},
        ) if index.problems else []  # fmt: skip
        return {**texts[0], **found[0], **(problem[0] if problem else {})}

    def siblings(self, index: Index, prompt_id: str) -> list[Row]:
        """All samples of a problem, in their order."""
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
        """The table of the samples that a text occurs in: in the trace, the problem or the answer, or as the beginning
        of an id. Upper and lower case are alike."""
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

    def _build(self, chosen: Mapping[str, Output]) -> Index:
        files = {stage: _files(chosen, stage) for stage in _SOURCES}
        table = f"samples_{next(self._numbers)}"
        joins = "".join(
            f" LEFT JOIN ({part}) AS of_{stage} USING (sample_id)"
            for stage, (part, _) in _PARTS.items()
            if files[stage]
        )
        joins += f" LEFT JOIN ({_PROMPTS[0]}) AS problem USING (prompt_id)" if files["prompts"] else ""
        missing = [empty for stage, (_, empty) in _PARTS.items() if not files[stage]]
        missing += [] if files["prompts"] else [_PROMPTS[1]]
        self._database.rows(
            f"CREATE TABLE {table} AS WITH made AS ("
            "SELECT row_number() OVER () AS place, filename AS file, sample_id, prompt_id, sample_index, num_tokens, "
            "finish_reason, surplus, attempt FROM read_parquet($generate, filename = true)), "
            f"joined AS MATERIALIZED (SELECT {', '.join(['*', *missing])} FROM made{joins}) "
            f"SELECT joined.* REPLACE (left(question, 240) AS question), pass_rate FROM joined "
            f"LEFT JOIN ({_RATES}) AS rates USING (prompt_id) ORDER BY place",
            {**{stage: names for stage, names in files.items() if names}, **_stopped_rates(chosen)},
        )
        facets = {column: self._count(table, column) for column in _FACETS}
        facets["flag"] = self._count(f"(SELECT unnest(flags) AS flag FROM {table})", "flag")
        num_rows = self._database.value(f"SELECT count(*) FROM {table}")
        there = frozenset(stage for stage, names in files.items() if names)
        return Index(table, files["generate"], files["prompts"], num_rows, facets, there)

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


def _files(chosen: Mapping[str, Output], stage: str) -> list[str]:
    if stage not in chosen:
        return []
    folder: Folder = chosen[stage].folder / CHOICES if stage == "curate" else chosen[stage].folder
    return [str(folder.local / name) for name in folder.names(".parquet")]


def _stopped_rates(chosen: Mapping[str, Output]) -> dict[str, list[Any]]:
    """The pass rates where the rule under which the teacher sampled stops, by the samples and the right ones of them;
    empty where it made every sample."""
    stopping = None
    if "curate" in chosen:
        stopping = json.loads(chosen["curate"].folder.read_bytes(MANIFEST))["settings"].get("stopping")
    rates = {} if stopping is None else stopped_rates(StoppingRule(**stopping))
    return {"made": [m for m, _ in rates], "right": [a for _, a in rates], "rates": list(rates.values())}
