"""Rows of a folder's tables by their position, however they are divided into files."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from stillery.io.storage import Folder
from stillery.records import R, from_table


@dataclass(frozen=True, slots=True)
class TableRows:
    """A folder's tables as one; `starts` is the position of each file's first row, and `num_rows` that of the end."""

    folder: Folder
    starts: Mapping[str, int]
    num_rows: int

    @classmethod
    def of(cls, folder: Folder) -> "TableRows":
        """The tables of a folder, from their footers."""
        starts, total = dict[str, int](), 0
        for name in folder.names(".parquet"):
            starts[name] = total
            total += folder.num_rows_of(name)
        return cls(folder, starts, total)

    def read(self, record: type[R], start: int, count: int) -> list[R]:
        """`count` rows from the position `start` on, from whichever files contain them."""
        parts: list[pa.Table] = []
        for name, first, end in zip(
            self.starts, self.starts.values(), [*self.starts.values(), self.num_rows][1:], strict=True
        ):
            if first < start + count and end > start:
                begin = max(0, start - first)
                parts.append(self.folder.read_table(name, record).slice(begin, min(end, start + count) - first - begin))
        return from_table(pa.concat_tables(parts), record) if parts else []
