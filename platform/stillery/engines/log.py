"""The durable log of samples: small Parquet files, each written whole by an engine as samples finish.

It is at-least-once: a file may be written and the work repeated if an engine dies in between, so readers take the
first row of an id. A sample that failed is logged too, and made again when it is next asked for: what was refused may
fit after a setting has changed. Nothing is ever removed.

It belongs to the driver that claimed it last. Engines of an earlier one may outlive their driver by as long as Ray
takes to notice; what they would still add is being made again by then, and is refused.
"""

import uuid
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from stillery.errors import UserError
from stillery.records import Generation, conform, from_table, to_table
from stillery.storage import Folder

OWNER = "owner"


def claim(log: Folder) -> str:
    """Make the caller the log's owner. Returns the name it goes by, for `append`."""
    owner = uuid.uuid4().hex
    log.write_bytes(OWNER, owner.encode())
    return owner


def append(log: Folder, block: str, rows: Sequence[Generation], *, owner: str | None = None) -> None:
    """Add finished samples. `block` names the work they belong to, so that a retry finds them.

    Raises UserError, and adds nothing, if `owner` is told and the log has been claimed by another since.
    """
    if owner is not None and log.read_bytes(OWNER).decode() != owner:
        raise UserError(
            f"another start of this run has taken over {log.uri}: wait for it or stop it; {len(rows)} samples of this "
            "start were not kept"
        )
    log.write_table(f"{block}-{uuid.uuid4().hex[:12]}.parquet", to_table(rows, Generation))


def index(log: Folder, *, failed: bool = False) -> dict[str, str]:
    """Where each sample is: its id to the name of its file. Failed ones only if asked for, and then only those that
    never succeeded."""
    found: dict[str, str] = {}
    failures: dict[str, str] = {}
    for name in log_files(log):
        table = pq.read_table(pa.BufferReader(log.read_bytes(name)), columns=["sample_id", "error"])
        for row in table.to_pylist():
            (found if row["error"] is None else failures).setdefault(row["sample_id"], name)
    return {**failures, **found} if failed else found


def logged_ids(log: Folder) -> set[str]:
    """The ids of the samples in the log that did not fail."""
    return set(index(log))


def read(log: Folder, wanted: Sequence[str], *, files: Iterable[str] | None = None) -> list[Generation]:
    """The wanted samples, in the order asked for; a failed one only where it never succeeded.

    Reads only `files` where those are told. Raises KeyError if the log lacks one.
    """
    found = read_files(log, log_files(log) if files is None else files, wanted=set(wanted), failed=True)
    return [found[sample] for sample in wanted]


def read_files(
    log: Folder, files: Iterable[str], *, wanted: set[str] | None = None, failed: bool = False
) -> dict[str, Generation]:
    """The samples of some files by id (only those `wanted`, if told); failed ones only if asked for."""
    found: dict[str, Generation] = {}
    for name in sorted(set(files)):
        table = conform(pq.read_table(pa.BufferReader(log.read_bytes(name))), Generation)
        for row in from_table(table, Generation):
            is_known = row.sample_id in found and found[row.sample_id].error is None
            if is_known or (wanted is not None and row.sample_id not in wanted) or (row.error and not failed):
                continue
            if row.error is None or row.sample_id not in found:
                found[row.sample_id] = row
    return found


def log_files(log: Folder, *, block: str = "") -> list[str]:
    """The names of the files that are whole, of one block if told."""
    return [name for name in log.names(".parquet") if name.startswith(block) and not name.startswith(".")]
