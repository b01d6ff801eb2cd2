"""`stillery push SOURCE`: a registered model, a checkpoint, an edge artifact or a run's training set to the Hub.

The pushed files are first collected in a folder on this machine, with their card; `--out` keeps it and uploads nothing.
"""

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from stillery.config import RegisterConfig
from stillery.errors import UserError
from stillery.export.manifest import MANIFEST
from stillery.io.cards import CARD, licenses_in
from stillery.io.run_folder import find_run, manifests_of
from stillery.registry import mlflow_store
from stillery.registry.resolve import fetch, find_version, is_registered

Kind = Literal["model", "dataset"]


def push(source: str, *, to: str | None, out: Path | None, private: bool, tracking_uri: str | None) -> str:
    """Upload to the Hub's repository `to`, or put the same files into the folder `out`; returns a line that says what
    was done.

    Raises UserError for an invalid source, a folder that is not empty, and a refusal by the Hub.
    """
    if (to is None) == (out is None):
        raise UserError("push: give --to ORG/NAME, or --out FOLDER to look at what would be pushed")
    if out is not None and out.exists() and any(out.iterdir()):
        raise UserError(f"--out {out}: is not empty; name another folder")
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stillery-push-")))
        folder.mkdir(parents=True, exist_ok=True)
        kind = _stage(source, folder, tracking_uri=tracking_uri)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        size = sum(path.stat().st_size for path in files)
        licenses = ", ".join(licenses_in((folder / CARD).read_text(encoding="utf-8")))
        told = f"licence {licenses}" if licenses else "its card states no licence"
        what = f"{len(files)} files, {size / 1e6:.1f} MB, as a {kind}; {told}"
        if to is None:
            return f"{folder}: {what}; nothing was uploaded"
        return f"{_upload(folder, to, kind=kind, private=private)}: {what}"


def _stage(source: str, folder: Path, *, tracking_uri: str | None) -> Kind:
    """Put the files and the card of a source into an empty folder."""
    given = Path(source).expanduser()
    if is_registered(source):
        _stage_version(source, folder, tracking_uri=tracking_uri)
        return "model"
    if any((given / name).is_file() for name in (MANIFEST, "config.json", "adapter_config.json")):
        if not (given / CARD).is_file():
            raise UserError(
                f"{given}: has no {CARD}; write a model card, or push the registered version (models:/NAME/1)"
            )
        shutil.copytree(given, folder, dirs_exist_ok=True)
        return "model"
    _stage_training_set(source, folder)
    return "dataset"


def _stage_version(source: str, folder: Path, *, tracking_uri: str | None) -> None:
    """The checkpoint of a registered version, with the version's description as its card."""
    served = find_version(source, tracking_uri=tracking_uri)
    shutil.copytree(fetch(served, tracking_uri=tracking_uri), folder, dirs_exist_ok=True)
    name = served.source.removeprefix("models:/").rpartition("/")[0]
    uri = mlflow_store.resolve_tracking_uri(tracking_uri)
    with mlflow_store.connect(uri, experiment=RegisterConfig().experiment) as store:
        card = store.client.get_model_version(name, served.version).description
    if not card:
        raise UserError(f"{served.source} has no description, which is its card; write one in MLflow, and push again")
    (folder / CARD).write_text(card, encoding="utf-8")


def _stage_training_set(source: str, folder: Path) -> None:
    """The latest training set of a run: its shards and its card, without the choices table."""
    run = find_run(source)
    curated = manifests_of(run, "curate")
    if not curated:
        raise UserError(f"{source}: no curate stage of this run is finished, so there is no training set to push")
    stage = run / "stages" / "curate" / curated[-1]["fingerprint"]
    for name in (CARD, *stage.names(".parquet")):
        (folder / name).write_bytes(stage.read_bytes(name))


def _upload(folder: Path, to: str, *, kind: Kind, private: bool) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, HTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    hub = HfApi()
    try:
        url = hub.create_repo(to, repo_type=kind, private=private, exist_ok=True)
        hub.upload_folder(repo_id=to, repo_type=kind, folder_path=folder, commit_message="Pushed by stillery")
    except LocalTokenNotFoundError:
        raise UserError("push: no token for the Hub; run `hf auth login`, or set HF_TOKEN") from None
    except (HTTPError, HFValidationError, OfflineModeIsEnabled, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"push: {to}: {reason}") from None
    return str(url)
