"""Resolves MODEL on the command line to a local checkpoint and its provenance.

In: `embedded:NAME`, `pretrained:NAME`, a folder, `models:/NAME@ALIAS` or `models:/NAME/VERSION`. Out: the checkpoint's
folder, and the registered version and run for manifests.
"""

from dataclasses import dataclass
from pathlib import Path

from stillery.config import RegisterConfig
from stillery.errors import UserError
from stillery.registry import mlflow_store
from stillery.registry.resolve import fetch, find_version, is_registered
from stillery.sampling.models import EMBEDDED, check_model, is_folder, resolve_model
from stillery.sampling.pretrained import PRETRAINED


@dataclass(frozen=True, slots=True)
class ExportSource:
    """A checkpoint: `name` for files, `model` as given by the user or the registry. The last three are set only for a
    registered model; `run_id` is the MLflow run that trained it."""

    name: str
    model: str
    folder: Path
    registered_name: str | None = None
    version: str | None = None
    run_id: str | None = None


def open_source(model: str, register: RegisterConfig) -> ExportSource:
    """The checkpoint of a model; a registered one is copied to this machine once.

    Raises UserError for a missing model, or the name of one on the Hub.
    """
    if is_registered(model):
        return _open_registered(model, register)
    if not is_folder(model):
        raise UserError(f"{model}: give a checkpoint folder, models:/NAME@ALIAS, models:/NAME/VERSION or embedded:NAME")
    check_model("MODEL", model)
    folder = Path(resolve_model(model))
    prefix = next((prefix for prefix in (EMBEDDED, PRETRAINED) if model.startswith(prefix)), None)
    if prefix is not None:
        return ExportSource(model.removeprefix(prefix), model, folder)
    given = Path(model.removeprefix("file://")).expanduser()
    return ExportSource(given.absolute().name, str(given.absolute()) if given.exists() else model, folder)


def _open_registered(model: str, register: RegisterConfig) -> ExportSource:
    found = find_version(model, tracking_uri=register.tracking_uri)
    folder = fetch(found, tracking_uri=register.tracking_uri)
    name = found.source.removeprefix("models:/").rpartition("/")[0]
    uri = mlflow_store.resolve_tracking_uri(register.tracking_uri)
    with mlflow_store.connect(uri, experiment=register.experiment) as store:
        run_id = store.client.get_model_version(name, found.version).run_id
    return ExportSource(f"{name}-v{found.version}", found.source, Path(folder), name, found.version, run_id)
