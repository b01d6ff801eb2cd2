"""The evaluations of a registered version, in its own run: scores/NAME.parquet and scores/NAME.json."""

import json
import tempfile
from pathlib import Path
from typing import Any

from stillery.io.storage import Folder
from stillery.records import Score
from stillery.registry.gate import MeasuredModel
from stillery.registry.mlflow_store import Store

_FOLDER = "scores"


def champion_name(version: Any) -> str:
    """The name under which a challenger's run stores its measurement of the champion."""
    return f"champion-{version.version}"


def log_evaluation(store: Store, run_id: str, name: str, evaluation: MeasuredModel) -> None:
    """Store an evaluation with a run, the protocol first: scores without one were not written here."""
    store.client.log_dict(run_id, dict(evaluation.protocol or {}), f"{_FOLDER}/{name}.json")
    with tempfile.TemporaryDirectory() as folder:
        Folder(folder).write_rows(f"{name}.parquet", list(evaluation.scores), Score)
        store.client.log_artifact(run_id, str(Path(folder) / f"{name}.parquet"), _FOLDER)


def read_evaluation(store: Store, run_id: str | None, name: str) -> MeasuredModel:
    """An evaluation, such as `evaluate_after`; without scores or protocol if a run, for example a manual one, has
    none."""
    kept = {a.path for a in store.client.list_artifacts(run_id, _FOLDER)} if run_id else set[str]()
    if f"{_FOLDER}/{name}.parquet" not in kept:
        return MeasuredModel([], None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(store.client.download_artifacts(run_id, f"{_FOLDER}/{name}.parquet", folder))
        scores = Folder(str(path.parent)).read_rows(path.name, Score)
        if f"{_FOLDER}/{name}.json" not in kept:
            return MeasuredModel(scores, None)
        told = Path(store.client.download_artifacts(run_id, f"{_FOLDER}/{name}.json", folder))
        return MeasuredModel(scores, json.loads(told.read_text(encoding="utf-8")) or None)
