"""The MLflow calls: all other code in this package reaches a tracking server through a Store of this file.

Every step first looks for what an earlier, killed call left behind, so repeating a call adds nothing. MLflow is
imported inside the functions: it takes seconds.
"""

import contextlib
import logging
import os
import uuid
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillery.errors import UserError
from stillery.io.run_folder import home
from stillery.registry.lineage import redact

MODEL_NAME = "student"
# The folder of a downloaded model that is the Hugging Face checkpoint, including tokenizer and chat template.
CHECKPOINT_FOLDER = "model"
# The adapter among the run's artifacts, and the version's tag with its location.
ADAPTER_FOLDER, ADAPTER_TAG = "adapter", "stillery.adapter"
DONE_TAG = "stillery.registered"
PARENT_TAG = "mlflow.parentRunId"


@dataclass(frozen=True, slots=True)
class Store:
    """A connection: the client, the tracking URI and the experiment's id."""

    client: Any
    tracking_uri: str
    experiment_id: str


def resolve_tracking_uri(configured: str | None) -> str:
    """The config's URI, else $MLFLOW_TRACKING_URI, else a SQLite store under HOME."""
    return configured or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"


@contextlib.contextmanager
def connect(tracking_uri: str, *, experiment: str) -> Generator[Store]:
    """Use a tracking server for both tracking and models, and create the experiment if it does not exist.

    The artifacts of a SQLite store lie in `mlartifacts` beside it. The previous settings are restored afterwards.
    Raises UserError, within about half a minute, if MLflow cannot be reached there.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    before = (mlflow.get_tracking_uri(), mlflow.get_registry_uri()) if mlflow.is_tracking_uri_set() else None
    with _without_noise():
        try:
            artifacts = _prepare_sqlite(tracking_uri)
            with _few_retries():
                mlflow.set_tracking_uri(tracking_uri)
                mlflow.set_registry_uri(tracking_uri)
                client = mlflow.MlflowClient(tracking_uri, tracking_uri)
                experiment_id = _experiment(client, experiment, artifacts=artifacts)
        except (MlflowException, OSError) as error:
            raise _unreachable(tracking_uri, error) from None
        try:
            yield Store(client, tracking_uri, experiment_id)
        except MlflowException as error:
            if "API request to" not in str(error):
                raise
            raise _unreachable(tracking_uri, error) from None
        finally:
            mlflow.set_tracking_uri(before[0] if before else "")
            mlflow.set_registry_uri(before[1] if before else "")


def _prepare_sqlite(tracking_uri: str) -> str | None:
    """Create a SQLite store if it does not exist; the URI of its artifacts, None for a store that is not a SQLite file.

    MLflow creates its tables in many steps, and a store that was killed in between can never be opened again: it is
    created under a temporary name and linked to its final one when complete.
    """
    if not tracking_uri.startswith("sqlite:///"):
        return None
    database = Path(tracking_uri.removeprefix("sqlite:///")).absolute()
    artifacts = (database.parent / "mlartifacts").as_uri()
    if not database.exists():
        database.parent.mkdir(parents=True, exist_ok=True)
        temporary = database.with_name(f".{database.name}.{uuid.uuid4().hex}.partial")
        make_tables(temporary, artifacts)
        with contextlib.suppress(FileExistsError):
            # Unlike a rename, a link never replaces a store that another process created meanwhile.
            os.link(temporary, database)
        temporary.unlink()
    return artifacts


def make_tables(database: Path, artifacts: str) -> None:
    """A SQLite file with MLflow's tables, created by all of its migrations; artifacts go to a URI by default."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(f"sqlite:///{database}", artifacts).engine.dispose()


def _experiment(client: Any, name: str, *, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        return client.create_experiment(name, artifact_location=artifacts)
    if found.lifecycle_stage == "deleted":
        raise UserError(f"MLflow experiment {name!r} is deleted: restore it, or choose another register.experiment")
    return found.experiment_id


def _unreachable(tracking_uri: str, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0][:200]
    return UserError(
        f"MLflow cannot be used at {redact(tracking_uri)} ({redact(reason)}): start it, or correct "
        "register.tracking_uri or $MLFLOW_TRACKING_URI (neither set: a SQLite store under $STILLERY_HOME)"
    )


def open_run(store: Store, *, name: str, key: Mapping[str, str], tags: Mapping[str, str]) -> Any:
    """The MLflow run whose tags match `key`, resumed if it was left unfinished, else a new one."""
    found = _find_run(store, key)
    if found is None:
        return store.client.create_run(store.experiment_id, run_name=name, tags={**key, **tags})
    if DONE_TAG not in found.data.tags:
        store.client.update_run(found.info.run_id, status="RUNNING")
    return found


def _find_run(store: Store, key: Mapping[str, str]) -> Any | None:
    conditions = [f"tags.`{name}` = '{value.replace(chr(39), '')}'" for name, value in key.items()]
    runs = store.client.search_runs([store.experiment_id], " and ".join(conditions), max_results=1)
    return runs[0] if runs else None


def log_stage(
    store: Store,
    run: Any,
    *,
    stage: str,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    params: Mapping[str, str],
    live: Mapping[str, str],
) -> None:
    """Log a finished stage as a child of the run: the run with the tags `live` that was open while the stage worked,
    unless it already has a parent, else a new one."""
    key = {PARENT_TAG: run.info.run_id, "stillery.stage": stage}
    found = _find_run(store, live)
    if _find_run(store, key) is None and found is not None and PARENT_TAG not in found.data.tags:
        for name, value in key.items():
            store.client.set_tag(found.info.run_id, name, value)
    child = open_run(store, name=stage, key=key, tags=tags)
    for name, value in {**tags, DONE_TAG: "true"}.items():
        store.client.set_tag(child.info.run_id, name, value)
    log_params(store, child, params)
    log_numbers(store, child, [(name, value, 0) for name, value in metrics.items()])
    store.client.set_terminated(child.info.run_id, "FINISHED")


def log_numbers(
    store: Store, run: Any, numbers: Sequence[tuple[str, float, int]], *, model_id: str | None = None
) -> None:
    """Log (name, value, step) metrics of a run and, where one is named, of a logged model of it. Their time is the
    run's start, so that logging them again adds no point."""
    from mlflow.entities import Metric

    start_time = run.info.start_time
    metrics = [
        Metric(name, value, start_time, step, model_id=model_id, run_id=run.info.run_id if model_id else None)
        for name, value, step in numbers
    ]
    for start in range(0, len(metrics), 500):
        store.client.log_batch(run.info.run_id, metrics=metrics[start : start + 500])


def log_params(store: Store, run: Any, params: Mapping[str, str]) -> None:
    """Log the params that the run does not have yet: MLflow refuses to change one."""
    from mlflow.entities import Param

    missing = [Param(name, value) for name, value in params.items() if name not in run.data.params]
    for start in range(0, len(missing), 100):
        store.client.log_batch(run.info.run_id, params=missing[start : start + 100])


def log_datasets(store: Store, run: Any, datasets: Iterable[tuple[str, str, str]]) -> None:
    """Log (name, digest, URI) of the run's source tables, as MLflow's dataset inputs."""
    from mlflow.entities import Dataset, DatasetInput

    inputs = [DatasetInput(Dataset(name, digest, "local", f'{{"uri": "{uri}"}}')) for name, digest, uri in datasets]
    store.client.log_inputs(run.info.run_id, inputs)


def log_checkpoint(store: Store, run: Any, checkpoint: Path) -> str:
    """The URI of the checkpoint as a model of the run, copied there without loading its weights.

    A copy that a killed call left behind is used if complete and deleted if not.
    """
    import mlflow
    import mlflow.transformers

    run_id = run.info.run_id
    whole = None
    for model in store.client.search_logged_models([store.experiment_id], f"source_run_id = '{run_id}'"):
        if model.status == "READY" and whole is None:
            whole = model
        elif model.status != "READY":
            store.client.delete_logged_model(model.model_id)
    if whole is not None:
        return whole.model_uri
    with mlflow.start_run(run_id=run_id):
        info = mlflow.transformers.log_model(
            str(checkpoint),
            name=MODEL_NAME,
            task="text-generation",
            pip_requirements=["torch", "transformers"],
        )
    _check_arrived(store, info.model_id, checkpoint)
    return info.model_uri


def model_id_of(source: str | None) -> str | None:
    """The logged model that a version's source names; None for a version made from a plain folder."""
    return source.removeprefix("models:/") if source and source.startswith("models:/m-") else None


def log_folder(store: Store, run: Any, folder: Path, *, name: str) -> str:
    """The URI of a small folder as artifacts of the run; logging it again replaces the same files."""
    store.client.log_artifacts(run.info.run_id, str(folder), name)
    return f"runs:/{run.info.run_id}/{name}"


def _check_arrived(store: Store, model_id: str, checkpoint: Path) -> None:
    """Raise UserError if the artifact store lacks a file of the checkpoint, or has it in another size; the incomplete
    model is deleted, so that the next call makes it again."""
    found = store.client.list_logged_model_artifacts(model_id, CHECKPOINT_FOLDER)
    sizes = {file.path.rpartition("/")[2]: file.file_size for file in found}
    for path in sorted(path for path in checkpoint.iterdir() if path.is_file()):
        if sizes.get(path.name) != path.stat().st_size:
            store.client.delete_logged_model(model_id)
            raise UserError(
                f"{path.name} of {checkpoint} has {sizes.get(path.name, 'no')} bytes in MLflow's artifact store and "
                f"{path.stat().st_size} here; see that the store is not full and register again"
            )


def register_version(store: Store, run: Any, *, name: str, source: str, tags: Mapping[str, str]) -> Any:
    """The model version made from the run; a new one if there is none."""
    import mlflow

    found = find_version(store, run, name=name)
    if found is not None:
        return found
    return mlflow.register_model(source, name, tags=dict(tags))


def find_version(store: Store, run: Any, *, name: str) -> Any | None:
    """The version of the registered model made from the run."""
    quoted = name.replace("'", "")
    found = store.client.search_model_versions(f"name = '{quoted}' and run_id = '{run.info.run_id}'")
    return found[0] if found else None


def versions_of(store: Store, name: str) -> list[Any]:
    """All versions of a registered model; none if the model does not exist."""
    quoted = name.replace("'", "")
    found: list[Any] = []
    token: str | None = None
    while True:
        page = store.client.search_model_versions(f"name = '{quoted}'", page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def get_alias(store: Store, name: str, alias: str) -> Any | None:
    """The version with an alias; None if there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return store.client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


@contextlib.contextmanager
def _few_retries() -> Generator[None]:
    """First contact fails fast; MLflow would otherwise retry for minutes. Uploads keep its default retries."""
    wanted = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    added = [name for name in wanted if name not in os.environ]
    os.environ.update({name: wanted[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextlib.contextmanager
def _without_noise() -> Generator[None]:
    """Drop log lines about which a user can do nothing: a new store's tables, a local model's missing card."""

    def worth_reading(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(
            (
                "Creating initial MLflow database tables",
                "Updating database tables",
                "The model card could not be retrieved",
                "Unable to find license information",
            )
        )

    loggers = [logging.getLogger(name) for name in ("mlflow.store.db.utils", "mlflow.transformers")]
    for logger in loggers:
        logger.addFilter(worth_reading)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(worth_reading)
