"""Problem files and Hub datasets as rows, each with the place it came from, so that every later error can name it.

In: a JSONL, Parquet or CSV file, or a Hugging Face dataset. Out: rows of their columns, unread.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from stillery.errors import UserError


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a source; `where` names it for a person, such as `train.jsonl line 12`."""

    where: str
    values: Mapping[str, Any]


def read_file(path: Path) -> list[Row]:
    """The rows of a .jsonl or .json (one object a line), .parquet or .csv (with a header) file.

    CSV values are text, and an empty cell is null. Raises UserError for a missing, empty or malformed file.
    """
    readers = {".jsonl": _read_json_lines, ".json": _read_json_lines, ".parquet": _read_parquet, ".csv": _read_csv}
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the path of a {', '.join(readers)} file")
    if path.suffix not in readers:
        raise UserError(f"{path}: suffix {path.suffix!r} is not one of {', '.join(readers)}; convert or rename it")
    try:
        rows = list(readers[path.suffix](path))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    if not rows:
        raise UserError(f"{path}: the file has no rows; give a file with at least one problem")
    return rows


def _read_json_lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path} line {number}"
            try:
                values = json.loads(line)
            except json.JSONDecodeError as error:
                fault = f"{error.msg}, column {error.colno}"
                raise UserError(f"{where}: not JSON ({fault}); expected one object a line") from None
            if not isinstance(values, dict):
                raise UserError(f"{where}: a {type(values).__name__}; expected one JSON object a line")
            yield Row(where, cast(dict[str, Any], values))


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a Parquet file ({str(error).splitlines()[0]}); write it again") from None
    for number, values in enumerate(table.to_pylist()):
        yield Row(f"{path} row {number}", values)


def _read_csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
            for cells in reader:
                if not cells:
                    continue
                where = f"{path} line {reader.line_num}"
                if len(cells) != len(header):
                    raise UserError(
                        f"{where}: {len(cells)} cells, but the header has {len(header)}; quote cells that hold commas"
                    )
                yield Row(where, {name: cell or None for name, cell in zip(header, cells, strict=True)})
        except csv.Error as error:
            raise UserError(f"{path} line {reader.line_num}: not CSV ({error}); check its quotes") from None


def read_hub(dataset: str, *, subset: str | None, revision: str | None, splits: Sequence[str]) -> dict[str, list[Row]]:
    """The named splits of a dataset on the Hugging Face Hub, or of a local folder that `datasets` can load.

    Raises UserError if it cannot be loaded or has no such split or no rows in it.
    """
    import datasets
    from datasets.exceptions import DatasetsError

    datasets.disable_progress_bars()
    try:
        loaded = datasets.load_dataset(dataset, subset, revision=revision)
    except (FileNotFoundError, ValueError, OSError, DatasetsError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"prompts.dataset={dataset}{f', prompts.subset={subset}' if subset else ''}: cannot be loaded ({reason}); "
            "check the name and the network, or give a local folder"
        ) from None
    found: dict[str, list[Row]] = {}
    for split in splits:
        if split not in loaded:
            raise UserError(f"{dataset}: has no split {split!r}; it has {', '.join(map(str, loaded))}")
        table = cast(list[dict[str, Any]], loaded[split].to_list())
        rows = [Row(f"{dataset}[{split}] row {number}", values) for number, values in enumerate(table)]
        if not rows:
            raise UserError(f"{dataset}[{split}]: has no rows; name another split")
        found[split] = rows
    return found
