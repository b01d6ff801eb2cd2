"""The durable log of samples: small Parquet files, each written whole by an engine as samples finish.

It is at-least-once: a file may be written and the work repeated if an engine dies in between, so readers take the
first row of an id. A sample that failed is logged too, and made again when it is next asked for: what was refused may
fit after a setting has changed. Nothing is ever removed.
"""

import uuid
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from stillery.records import Generation, conform, from_table, to_table
from stillery.storage import Folder


def append(log: Folder, batch: str, rows: Sequence[Generation]) -> None:
    """Add finished samples. `batch` names the work they belong to, so that a retry finds them."""
    log.write_table(f"{batch}-{uuid.uuid4().hex[:12]}.parquet", to_table(rows, Generation))


def logged_ids(log: Folder, *, batch: str | None = None) -> set[str]:
    """The ids of the samples in the log, or in one batch of it, that did not fail."""
    ids: set[str] = set()
    for name in _files(log, batch):
        table = pq.read_table(pa.BufferReader(log.read_bytes(name)), columns=["sample_id", "error"])
        ids.update(row["sample_id"] for row in table.to_pylist() if row["error"] is None)
    return ids


def read(log: Folder, wanted: Sequence[str]) -> list[Generation]:
    """The wanted samples, in the order asked for; a failed one only where it never succeeded.

    Raises KeyError if the log lacks one.
    """
    ids = set(wanted)
    found: dict[str, Generation] = {}
    for name in _files(log, None):
        table = conform(pq.read_table(pa.BufferReader(log.read_bytes(name))), Generation)
        for row in from_table(table, Generation):
            if row.sample_id in ids and (row.sample_id not in found or found[row.sample_id].error is not None):
                found[row.sample_id] = row
    return [found[sample] for sample in wanted]


def _files(log: Folder, batch: str | None) -> list[str]:
    prefix = "" if batch is None else f"{batch}-"
    return [name for name in log.names(".parquet") if name.startswith(prefix) and not name.startswith(".")]
