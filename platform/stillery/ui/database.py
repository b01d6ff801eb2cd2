"""DuckDB over the Parquet files of runs: one in-memory database, which reads only below given folders."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

Row = dict[str, Any]


class Database:
    """Queries from any thread. Values are passed to a query as parameters, never as text."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._connection = duckdb.connect(":memory:")
        self._connection.execute("SET allowed_directories = $roots", {"roots": [str(root) for root in roots]})
        for setting in (
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            self._connection.execute(f"SET {setting}")
        self._local = threading.local()

    def rows(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """The result of a query, one mapping per row."""
        cursor = self._cursor()
        cursor.execute(query, dict(parameters or {}))
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def value(self, query: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """The first value of the first row."""
        found = self._cursor().execute(query, dict(parameters or {})).fetchone()
        return None if found is None else found[0]

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor per thread: it cannot be shared."""
        if not hasattr(self._local, "cursor"):
            self._local.cursor = self._connection.cursor()
        return self._local.cursor
