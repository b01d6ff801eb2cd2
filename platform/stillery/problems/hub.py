"""Rows of Hugging Face datasets, from the Hub or a local folder."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from stillery.errors import UserError
from stillery.io.readers.parquet_rows import rows_of
from stillery.io.readers.rows import Row

_BATCH_ROWS = 256


def read_hub(
    dataset: str,
    *,
    subset: str | None,
    revision: str | None,
    splits: Sequence[str],
    columns: Sequence[str] | None = None,
    key: str = "prompts.dataset",
) -> dict[str, Iterator[Row]]:
    """The named splits of a dataset on the Hugging Face Hub, or of a local folder that `datasets` can load; if
    `columns` are given, only those, of which some may be missing.

    Raises UserError, naming the config's `key`, if it cannot be loaded or has no such split.
    """
    import datasets
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HTTPError

    datasets.disable_progress_bars()
    try:
        loaded: Any = datasets.load_dataset(dataset, subset, revision=revision)
    except (HTTPError, ValueError, OSError, DatasetsError, RuntimeError) as error:
        # RuntimeError: a dataset defined by a script.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{key}={dataset}{f', subset={subset}' if subset else ''}: cannot be loaded ({reason}); "
            "check the name and the network, or give a local folder"
        ) from None
    for split in splits:
        if split not in loaded:
            raise UserError(f"{dataset}: has no split {split!r}; it has {', '.join(map(str, loaded))}")
    if columns is not None:
        for split in splits:
            loaded[split] = loaded[split].select_columns([c for c in columns if c in loaded[split].column_names])
    return {split: _rows(loaded[split], f"{dataset}[{split}]") for split in splits}


def hub_revision(dataset: str, *, key: str = "prompts.dataset") -> str | None:
    """The Hub's commit at which a dataset is read; None for a local folder. Raises UserError, naming the config's
    `key`, if the Hub gives none."""
    if Path(dataset).exists():
        return None
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, HTTPError, OfflineModeIsEnabled

    try:
        return HfApi().dataset_info(dataset, timeout=20).sha
    # A connection that fails is the HTTP client's own error, which is no OSError.
    except (HTTPError, HFValidationError, OfflineModeIsEnabled, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{key}={dataset}: the Hub cannot say its revision ({reason}); check the name and the "
            "network, or download it and give the folder"
        ) from None


def _rows(split: Any, name: str) -> Iterator[Row]:
    """The rows of a split; classes, which a dataset stores as numbers, by their names."""
    classes = {column: feature.int2str for column, feature in split.features.items() if hasattr(feature, "int2str")}
    tables = split.with_format("arrow").iter(batch_size=_BATCH_ROWS)
    rows = rows_of((batch for table in tables for batch in table.to_batches()), name)
    yield from map(partial(_named, classes), rows) if classes else rows


def _named(classes: Mapping[str, Any], row: Row) -> Row:
    named = {column: name_of(row.values[column]) for column, name_of in classes.items()
             if row.values.get(column) is not None}  # fmt: skip
    return Row(row.where, {**row.values, **named})
