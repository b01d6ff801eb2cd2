"""The durable log of samples: Parquet files, each written whole by an engine as samples finish.

    log/KEY/owner                       which start of the run may append
    log/KEY/BATCH/NUMBER-ID.parquet     samples of one batch of prompts; NUMBER counts the files of a batch
    log/KEY/BATCH/failure-ID.json       an engine that broke while it worked on the batch
    log/KEY/quarantine/...              files that could not be read

It is at-least-once: a file may be written and the work repeated if an engine dies in between, so readers take the first
row of an id. A failed sample is logged too, and made again at the next request. No row is ever removed: compaction
merges the files of a batch, and a file that names others as replaced stands for them even where they have not been
removed yet. An unreadable file is moved aside and reported, and its samples are missing.

The log belongs to the driver that claimed it last. Engines of an earlier one may outlive their driver by as long as Ray
takes to notice; the samples that they would still add are already being made again, and are refused.
"""

import contextlib
import json
import posixpath
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Generation, ScoredGeneration, conform, schema_of, to_table
from stillery.telemetry.logs import logger, with_fields

OWNER = "owner"
QUARANTINE = "quarantine/"
# The additional column of a ScoredGeneration compared with a Generation: many times as large as all others.
SCORES = "top"
REPLACES = b"stillery.replaces"
# Arrow's errors for a file that is not a Parquet file, or not a complete one.
_PARSE_ERRORS = (pa.ArrowException, OSError, ValueError)


class UnreadableLogError(Exception):
    """An existing file of the log without readable samples."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The samples of files by file, in order of batch and number, without files that another one has `replaced`
    (whether they still exist or not)."""

    tables: dict[str, pa.Table]
    replaced: set[str]


@dataclass(frozen=True, slots=True)
class Compaction:
    """A compacted file: its name, its samples and the files that it replaces."""

    file: str
    sample_ids: list[str]
    replaced: list[str]


@dataclass(frozen=True, slots=True)
class SampleLog:
    """The log in a folder, as seen by the owner that claimed it; read-only without one."""

    folder: Folder
    owner: str | None = None

    def claim(self) -> "SampleLog":
        """The same log, owned by the caller from now on."""
        owner = uuid.uuid4().hex
        self.folder.write_bytes(OWNER, owner.encode())
        return SampleLog(self.folder, owner)

    def append(self, batch: str, rows: Sequence[Generation], *, number: int) -> str:
        """Add finished samples as the `number`-th file of a batch. Returns the name of the file.

        Raises UserError, and adds nothing, if the log has been claimed by another since.
        """
        self._check_owner(f"; {len(rows)} samples of this start were not kept")
        scored = any(isinstance(row, ScoredGeneration) for row in rows)
        return self._write(batch, to_table(rows, ScoredGeneration if scored else Generation), number=number)

    def files(self, batch: str = "") -> list[str]:
        """The names of the complete files, in order of batch and number; of one batch if given."""
        found = (self.folder / batch).find(".parquet") if batch else self.folder.find(".parquet")
        names = [posixpath.join(batch, name) for name in found]
        return [n for n in names if not n.startswith(QUARANTINE) and not posixpath.basename(n).startswith(".")]

    def read(self, names: Iterable[str], *, columns: Sequence[str] | None = None, scored: bool = False) -> "Contents":
        """The contents of some files: all columns of a Generation, or the given ones; with `scored`, those of a
        ScoredGeneration for files that have them.

        A file that cannot be read is moved aside; one that has been removed meanwhile is left out.
        """
        wanted = columns or (None if scored else schema_of(Generation).names)
        tables: dict[str, pa.Table] = {}
        replaced: set[str] = set()
        for name in sorted(set(names)):
            try:
                table = self._table(name, wanted)
            except FileNotFoundError:
                continue
            except UnreadableLogError as error:
                self._move_aside(name, error)
                continue
            replaced.update(json.loads((table.schema.metadata or {}).get(REPLACES, b"[]")))
            record = ScoredGeneration if SCORES in table.column_names else Generation
            tables[name] = conform(table, record) if columns is None else table
        return Contents({name: table for name, table in tables.items() if name not in replaced}, replaced)

    def compact(self, batch: str) -> "Compaction | None":
        """Merge the files of a batch; None where there is nothing to merge.

        The new file is durable before an old one is removed, so a reader finds every sample at any time.
        """
        found = self.files(batch)
        if len(found) < 2:
            return None
        contents = self.read(found, scored=True)
        # A process killed between writing and removing has left replaced files behind. The names of files already
        # removed are passed on, for a driver that still knows them.
        old = contents.replaced.union(contents.tables if len(contents.tables) > 1 else ())
        compaction = None
        if len(contents.tables) > 1:
            # A file of failures alone has no scores.
            table = pa.concat_tables(contents.tables.values(), promote_options="default")
            self._check_owner("; its files were not put together")
            name = self._write(batch, table, number=next_number(found), replaces=sorted(old))
            compaction = Compaction(name, table.column("sample_id").to_pylist(), sorted(old))
        for done in old.intersection(found):
            # Some buckets allow no removal; readers skip the replaced files.
            with contextlib.suppress(PermissionError):
                self.folder.remove(done)
        return compaction

    def compact_all(self) -> int:
        """Merge each batch's files, which a killed start may have left behind. Returns the number of files to be
        merged."""
        by_batch: defaultdict[str, int] = defaultdict(int)
        for name in self.files():
            by_batch[posixpath.dirname(name)] += 1
        scattered = {batch: count for batch, count in by_batch.items() if batch and count > 1}
        for batch in scattered:
            self.compact(batch)
        return sum(scattered.values())

    def set_aside(self) -> set[str]:
        """The original names of files that were moved aside."""
        return set((self.folder / QUARANTINE).find())

    def add_failure(self, batch: str, error: str, *, trace: str, num_made: int) -> None:
        """Record that an engine broke on a batch, and where, after it had made this many samples of it."""
        note = {"owner": self.owner, "error": error, "trace": trace, "num_made": num_made}
        self.folder.write_bytes(f"{batch}/failure-{uuid.uuid4().hex[:12]}.json", json.dumps(note).encode())

    def failures(self, batch: str) -> list[dict[str, Any]]:
        """The engines that broke on a batch since the log was claimed."""
        folder = self.folder / batch
        notes: list[dict[str, Any]] = []
        for name in folder.names(".json"):
            with contextlib.suppress(ValueError, FileNotFoundError):
                notes.append(json.loads(folder.read_bytes(name)))
        return [note for note in notes if note.get("owner") == self.owner]

    def _check_owner(self, consequence: str) -> None:
        try:
            is_taken = self.owner is not None and self.folder.read_bytes(OWNER).decode() != self.owner
        except FileNotFoundError:
            raise UserError(f"{self.folder.uri} has been removed while a run wrote to it{consequence}") from None
        if is_taken:
            raise UserError(
                f"another start of this run has taken over {self.folder.uri}: wait for it or stop it{consequence}"
            )

    def _write(self, batch: str, table: pa.Table, *, number: int, replaces: Sequence[str] = ()) -> str:
        if replaces:
            table = table.replace_schema_metadata(
                {**(table.schema.metadata or {}), REPLACES: json.dumps(list(replaces)).encode()}
            )
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        name = f"{batch}/{number:06d}-{uuid.uuid4().hex[:12]}.parquet"
        self.folder.write_bytes(name, sink.getvalue().to_pybytes())
        return name

    def _table(self, name: str, columns: Sequence[str] | None) -> pa.Table:
        """Raises FileNotFoundError, UnreadableLogError, or the file system's error."""
        try:
            with self.folder.open_file(name) as file:
                table = _parse(file, columns)
        except FileNotFoundError:
            raise
        except _PARSE_ERRORS:
            # Separates the file's faults from the file system's: parsing bytes in memory can fail only because of the
            # bytes.
            data = self.folder.read_bytes(name)
            try:
                table = _parse(pa.BufferReader(data), columns)
            except _PARSE_ERRORS as error:
                raise UnreadableLogError(f"{len(data):,} bytes: {str(error).splitlines()[0]}") from error
        missing = [column for column in columns or schema_of(Generation).names if column not in table.column_names]
        if missing:
            raise UnreadableLogError(f"no column {missing[0]}")
        return table

    def _move_aside(self, name: str, error: UnreadableLogError) -> None:
        aside = QUARANTINE + name
        try:
            self.folder.move(name, aside)
        except FileNotFoundError:
            return  # another reader was faster
        logger.info(
            f"{self.folder.uri}/{name} cannot be read ({error}): moved to {aside}; its samples count as missing",
            extra=with_fields(file=name),
        )


def next_number(names: Iterable[str]) -> int:
    """The number of the next file beside these."""
    numbers = [posixpath.basename(name).partition("-")[0] for name in names]
    return 1 + max((int(number) for number in numbers if number.isdecimal()), default=0)


def _parse(file: Any, columns: Sequence[str] | None) -> pa.Table:
    return pq.ParquetFile(file, pre_buffer=True, page_checksum_verification=True).read(
        columns=None if columns is None else list(columns)
    )
