"""The MLflow run of a training stage, open while the stage runs: its curves come in live, from the worker.

Registration makes it a child of the registered model's run.
"""

import contextlib
from collections.abc import Generator, Mapping
from typing import Any

from stillery.config import RegisterConfig
from stillery.config.reporters import MLFLOW, reporters_of
from stillery.errors import UserError
from stillery.registry import mlflow_store
from stillery.registry.lineage import params_of, redact
from stillery.telemetry.logs import logger

# The tag of the run's output.
LIVE_TAG = "stillery.live"


@contextlib.contextmanager
def live_run(
    config: RegisterConfig, *, trl: Mapping[str, Any], name: str, out: str, settings: Mapping[str, Any]
) -> Generator[dict[str, str] | None]:
    """Open the run of the stage output at `out` (again, if it was stopped), and end it when the stage ends. Yields its
    `run_id` and `tracking_uri`; None where MLflow is not among the reporters, or was not requested by name and cannot
    be reached. Raises UserError if it was requested.

    `settings` are the stage's, and become the run's params.
    """
    if MLFLOW not in reporters_of(trl):
        yield None
        return
    uri = mlflow_store.resolve_tracking_uri(config.tracking_uri)
    try:
        with mlflow_store.connect(uri, experiment=config.experiment) as store:
            run = mlflow_store.open_run(store, name=name, key={LIVE_TAG: redact(out)}, tags={})
            mlflow_store.log_params(store, run, params_of(redact(settings)))
            run_id, experiment = run.info.run_id, store.experiment_id
    except UserError as error:
        if trl.get("report_to") is not None:
            raise
        logger.info(f"no live curves: {error}")
        yield None
        return
    logger.info(f"curves: experiment {config.experiment} ({experiment}), run {run_id} in {redact(uri)}")
    status = "FAILED"
    try:
        yield {"run_id": run_id, "tracking_uri": uri}
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        _end(uri, config.experiment, run_id, status)


def _end(uri: str, experiment: str, run_id: str, status: str) -> None:
    with contextlib.suppress(UserError), mlflow_store.connect(uri, experiment=experiment) as store:
        store.client.set_terminated(run_id, status)
