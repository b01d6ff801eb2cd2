"""The destinations of a trainer's curves while it runs, as plain data from the driver: `reporters` by name, `run_name`,
and `live`, the MLflow run of the stage. Reporters other than MLflow are transformers' own."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stillery.config.reporters import MLFLOW
from stillery.io.storage import Folder
from stillery.telemetry.logs import logger

# Generations of this many of the first validation rows are shown.
NUM_SHOWN = 2
_TENSORBOARD_DIR = "TENSORBOARD_LOGGING_DIR"


def reporting_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """A trainer's arguments for reporters, except MLflow, which `live_callbacks` handles. TensorBoard's files go to the
    stage's folder: files beside a node's checkpoints are removed with them."""
    others = [name for name in config.get("reporters", []) if name != MLFLOW]
    out = Folder(config["out"])
    if "tensorboard" in others and out.is_local:
        os.environ.setdefault(_TENSORBOARD_DIR, str(out.local / "tensorboard"))
    return {"report_to": others or "none", "run_name": config.get("run_name")}


def live_callbacks(config: Mapping[str, Any], *, shown: Sequence[Sequence[int]] = ()) -> list[Any]:
    """The callback that logs to MLflow, where the driver has opened a run; `shown` are prompts, in tokens, whose
    completions are logged at each validation."""
    live = config.get("live")
    if live is None:
        return []
    uri = str(live["tracking_uri"])
    # On a node other than the driver's it would create its own store.
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        logger.info("MLflow's SQLite store is on another machine: curves are logged when the stage has finished")
        return []
    from stillery.training.live_mlflow import LiveMlflow

    return [LiveMlflow(uri, str(live["run_id"]), shown=shown)]


def prompts_of(rows: Any) -> list[list[int]]:
    """The prompts of the first rows of prepared data (`input_ids`, and `labels` of -100 where no loss falls)."""
    found: list[list[int]] = []
    for row in rows.select(range(min(NUM_SHOWN, len(rows)))) if rows is not None else ():
        first = next((at for at, label in enumerate(row["labels"]) if label != -100), 0)
        if first:
            found.append([int(token) for token in row["input_ids"][:first]])
    return found
