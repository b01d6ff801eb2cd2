"""The opponent of a new student: the champion, measured under the same protocol.

In: the champion's version and the new student's evaluation. Out: a comparable evaluation of the champion, or the reason
why there is none. A champion that was measured on other problems or under another protocol is fetched from the registry
and measured again; the result stays with the new student's MLflow run.
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

# Measures a checkpoint (a local folder) as the new student was measured; returns the folder of its scores, and the
# summary.
Measure = Callable[[Path], tuple[Folder, Mapping[str, Any]]]


def find_opponent(
    store: Store, champion: Any, *, after: MeasuredModel, run_id: str, measure: Measure
) -> tuple[MeasuredModel, str]:
    """The champion's evaluation, and the reason where it cannot be compared with `after`.

    `run_id` is the new student's MLflow run. Raises TooManyFailuresError, after which another call resumes, and any
    error that breaks the measuring engine.
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
    """The result of an evaluation stage: its scores and, in its summary, its protocol."""
    return MeasuredModel(from_table(folder.read_all(Score), Score), summary.get("protocol"))
