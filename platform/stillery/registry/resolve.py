"""Resolves a model reference to the version to serve, and the version to a local folder, through the registry.

`find_version` resolves a reference to its current version; `fetch` brings that version to this machine. A version never
changes, so a fetched folder is reused without contacting the registry.
"""

import contextlib
import os
import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillery.config import RegisterConfig
from stillery.errors import UserError
from stillery.io.copies import keep_copy
from stillery.io.transfer import verify_model
from stillery.records import digest
from stillery.registry import mlflow_store
from stillery.registry.lineage import redact
from stillery.sampling.models import check_model, resolve_model

_REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


@dataclass(frozen=True)
class ServedModel:
    """A version to serve. `version` is the registry's number, or `unregistered` for a folder or Hub name; `source` is
    what is loaded: `models:/NAME/VERSION`, a folder or a Hub name."""

    version: str
    source: str


UNREGISTERED = "unregistered"


class NoSuchVersionError(UserError):
    """The registry answers, but has no such model, version or alias."""


def is_registered(model: str) -> bool:
    """Whether a reference is to the registry."""
    return model.startswith("models:/")


def find_version(model: str, *, tracking_uri: str | None) -> ServedModel:
    """The current version of a reference.

    Raises NoSuchVersionError where the name, version or alias is unknown, and UserError where MLflow cannot be reached
    or a folder is not a model.
    """
    if not is_registered(model):
        check_model("model", model)
        return ServedModel(UNREGISTERED, model)
    parts = _REGISTERED.fullmatch(model)
    if parts is None:
        raise UserError(f"model={model}: expected models:/NAME@ALIAS or models:/NAME/VERSION")
    with _registry(tracking_uri) as store:
        found = _lookup(store, parts["name"], alias=parts["alias"], version=parts["version"])
    return ServedModel(str(found.version), f"models:/{parts['name']}/{found.version}")


def fetch(served: ServedModel, *, tracking_uri: str | None) -> Path | str:
    """The local folder of a version (for a Hub name, the name), copied from the registry once per machine.

    Raises UserError where it cannot be fetched or is not a model.
    """
    if not is_registered(served.source):
        return resolve_model(served.source)
    key = digest("registered", mlflow_store.resolve_tracking_uri(tracking_uri), served.source)
    folder = keep_copy(key, lambda partial: _download(served, partial, tracking_uri=tracking_uri), what=served.source)
    checkpoint = _checkpoint_of(folder)
    check_model(served.source, str(checkpoint))
    return checkpoint


def _checkpoint_of(folder: Path) -> Path:
    """The folder of a downloaded model that is the Hugging Face checkpoint."""
    checkpoint = folder / mlflow_store.CHECKPOINT_FOLDER
    return checkpoint if checkpoint.is_dir() else folder


def _lookup(store: mlflow_store.Store, name: str, *, alias: str | None, version: str | None) -> Any:
    from mlflow.exceptions import MlflowException

    # An endpoint polls every few seconds: the existing versions are looked up only for the error message.
    if alias is not None:
        found = mlflow_store.get_alias(store, name, alias)
        if found is None:
            raise _no_such(
                store,
                name,
                f"@{alias}: no version has this alias",
                f"; set it with `stillery promote {name} VERSION`, or serve models:/{name}/VERSION",
            )
        return found
    try:
        return store.client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise _no_such(store, name, f"/{version}: there is no such version") from None


def _no_such(store: mlflow_store.Store, name: str, complaint: str, remedy: str = "") -> NoSuchVersionError:
    """The error with the existing versions; another one for an unknown model."""
    known = store.client.search_model_versions(f"name = '{name.replace(chr(39), '')}'")
    if known:
        versions = ", ".join(sorted((str(v.version) for v in known), key=int))
        return NoSuchVersionError(f"models:/{name}{complaint} (versions: {versions}){remedy}")
    names = sorted(m.name for m in store.client.search_registered_models(max_results=20))
    there = f"it has {', '.join(names)}" if names else "it has none yet; `make demo` registers one"
    return NoSuchVersionError(
        f"models:/{name}: the registry at {redact(store.tracking_uri)} has no such model; {there}"
    )


def _download(served: ServedModel, folder: Path, *, tracking_uri: str | None) -> None:
    """The version's files, as registered."""
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    try:
        with _registry(tracking_uri):
            mlflow.artifacts.download_artifacts(served.source, dst_path=str(folder))
    except (MlflowException, OSError) as error:
        raise UserError(f"{served.source} could not be fetched: {str(error).strip().splitlines()[0][:300]}") from None
    # For a source that is gone MLflow returns an empty folder.
    if not any(folder.iterdir()):
        raise UserError(f"{served.source} could not be fetched: the registry's source of it holds no files")
    verify_model(_checkpoint_of(folder))


@contextlib.contextmanager
def _registry(tracking_uri: str | None) -> Generator[mlflow_store.Store]:
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    uri = mlflow_store.resolve_tracking_uri(tracking_uri)
    with mlflow_store.connect(uri, experiment=RegisterConfig().experiment) as store:
        yield store
