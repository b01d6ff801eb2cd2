"""Logs artifacts, and the reports of rejected ones, to MLflow beside the model version they were made from."""

from stillery.config import RegisterConfig
from stillery.export.artifact import ArtifactOutcome
from stillery.export.sources import ExportSource
from stillery.registry import mlflow_store


def log_outcome(source: ExportSource, outcome: ArtifactOutcome, register: RegisterConfig) -> None:
    """Log an artifact (with its manifest and card), or the report of a refused one, to the run that trained the model,
    and tag the model version with its metrics, or with the checks that failed.

    Does nothing for a source that isn't registered.
    """
    if source.run_id is None or source.version is None:
        return
    tag = f"stillery.export.{outcome.format}.{outcome.quantization}"
    figures = f"refused: {', '.join(outcome.failed)}"
    if outcome.folder is not None and (parity := outcome.parity) is not None:
        figures = f"{outcome.size_bytes} bytes, KL {parity.kl:.2e}, accuracy {parity.accuracy.mean:.4f}"
    uri = mlflow_store.resolve_tracking_uri(register.tracking_uri)
    with mlflow_store.connect(uri, experiment=register.experiment) as store:
        if outcome.folder is not None:
            store.client.log_artifacts(source.run_id, str(outcome.folder), f"exports/{outcome.folder.name}")
        if outcome.report is not None:
            store.client.log_artifact(source.run_id, str(outcome.report), "exports")
        store.client.set_model_version_tag(source.registered_name, source.version, tag, figures)
