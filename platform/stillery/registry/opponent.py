"""Whom a new student is compared with: the champion, measured as the new one was.

In: the champion's version and the new student's evaluation. Out: an evaluation of the champion that can be compared
with it, and why not where there is none. A champion that was measured on other problems or in another way is fetched
from the registry and measured again; what is measured stays with the new student's MLflow run.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.metrics import TooManyFailuresError
from stillery.records import Score, from_table
from stillery.registry.gate import MeasuredModel, incomparable, too_few
from stillery.registry.mlflow_store import Store
from stillery.registry.resolve import ServedModel, fetch
from stillery.registry.scores import champion_name, log_evaluation, read_evaluation
from stillery.telemetry.logs import logger

# Measures a checkpoint (a local folder) as the new student was measured: the folder of its scores, and the summary.
Measure = Callable[[Path], tuple[Folder, Mapping[str, Any]]]


def find_opponent(
    store: Store, champion: Any, *, after: MeasuredModel, run_id: str, measure: Measure
) -> tuple[MeasuredModel, str]:
    """The champion's evaluation, and what there is to say where it cannot be compared with `after`.

    `run_id` is the new student's MLflow run. Raises TooManyFailuresError, after which another call goes on, and
    whatever breaks the engine that measures.
    """
    found = read_evaluation(store, champion.run_id, "evaluate_after")
    fault = incomparable(found, after)
    if fault is None or too_few(after) is not None:
        return found, ""
    kept = read_evaluation(store, run_id, champion_name(champion))
    if incomparable(kept, after) is None:
        return kept, ""
    logger.info(f"champion version {champion.version} is measured again, for {fault}")
    served = ServedModel(str(champion.version), f"models:/{champion.name}/{champion.version}")
    try:
        folder, summary = measure(Path(fetch(served, tracking_uri=store.tracking_uri)))
    except TooManyFailuresError:
        raise
    except UserError as error:
        return found, f"it could not be measured again ({error})"
    measured = evaluation_of(folder, summary)
    log_evaluation(store, run_id, champion_name(champion), measured)
    return measured, "this was found after it was measured again"


def evaluation_of(folder: Folder, summary: Mapping[str, Any]) -> MeasuredModel:
    """What an evaluation stage left: its scores and, in its summary, its protocol."""
    return MeasuredModel(from_table(folder.read_all(Score), Score), summary.get("protocol"))
