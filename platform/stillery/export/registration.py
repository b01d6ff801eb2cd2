"""Kept artifacts beside the model version that they were made from, in MLflow."""

from stillery.config import RegisterConfig
from stillery.export.artifact import Outcome
from stillery.export.sources import Source
from stillery.registry import mlflow_store


def log_outcome(source: Source, outcome: Outcome, register: RegisterConfig) -> None:
    """Log a kept artifact to the run that trained the model, and tag the model version with its figures.

    Does nothing for a source that isn't registered, or an artifact that was refused.
    """
    folder, parity = outcome.folder, outcome.parity
    if folder is None or parity is None or source.run_id is None or source.version is None:
        return
    tag = f"stillery.export.{outcome.format}.{outcome.quantization}"
    figures = f"{outcome.size_bytes} bytes, KL {parity.kl:.2e}, accuracy {parity.accuracy.mean:.4f}"
    uri = mlflow_store.resolve_tracking_uri(register.tracking_uri)
    with mlflow_store.connect(uri, experiment=register.experiment) as store:
        store.client.log_artifacts(source.run_id, str(folder), f"exports/{folder.name}")
        store.client.set_model_version_tag(source.registered_name, source.version, tag, figures)
