"""The scores of a registered version, as its own run kept them."""

import tempfile
from pathlib import Path
from typing import Any

from stillery.records import Score
from stillery.registry.mlflow_store import Store
from stillery.storage import Folder


def read_scores(store: Store, version: Any, evaluation: str) -> list[Score]:
    """The scores of one evaluation, such as `evaluate_after`; none if the version was registered without them, by hand
    perhaps."""
    name = f"{evaluation}.parquet"
    kept = [a.path for a in store.client.list_artifacts(version.run_id, "scores")] if version.run_id else []
    if f"scores/{name}" not in kept:
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = store.client.download_artifacts(version.run_id, f"scores/{name}", folder)
        return Folder(str(Path(path).parent)).read_rows(name, Score)
