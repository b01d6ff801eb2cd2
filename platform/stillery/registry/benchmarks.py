"""Benchmarks of a registered version: receipts, metrics, and forgetting.

In: a version and the receipt of a benchmark. Out: metrics of the version's run and of its logged model, the receipt as
an artifact, the forgotten tasks as a tag that the gate reads, and a copy in the training run's folder for its report.
"""

import json
from collections.abc import Mapping
from typing import Any

from stillery.config import RegisterConfig
from stillery.io.storage import Folder
from stillery.metrics import in_points
from stillery.records import digest
from stillery.registry import mlflow_store
from stillery.registry.lineage import redact
from stillery.registry.resolve import ServedModel

TAG = "stillery.forgetting"
# The verdict of a forgotten task.
LOST = "lost"
# In MLflow's artifacts and in the folder of a run.
FOLDER = "benchmarks"


def log_receipt(served: ServedModel, receipt: Mapping[str, Any], *, tracking_uri: str | None) -> str:
    """Store a receipt with a version, and return a line with its location. Raises UserError if MLflow cannot be
    reached."""
    name = served.source.removeprefix("models:/").rpartition("/")[0]
    uri = mlflow_store.resolve_tracking_uri(tracking_uri)
    file = f"{receipt['measured'][:10]}-{digest('receipt', receipt)[:8]}.json"
    with mlflow_store.connect(uri, experiment=RegisterConfig().experiment) as store:
        version = store.client.get_model_version(name, served.version)
        if version.run_id:
            run = store.client.get_run(version.run_id)
            numbers = [(key, value, 0) for key, value in metrics_of_receipt(receipt).items()]
            mlflow_store.log_numbers(store, run, numbers, model_id=mlflow_store.model_id_of(version.source))
            store.client.log_dict(version.run_id, redact(dict(receipt)), f"{FOLDER}/{file}")
        if "forgetting" in receipt:
            store.client.set_model_version_tag(name, served.version, TAG, json.dumps(receipt["forgetting"]))
    home = version.tags.get("stillery.run_uri")
    if home and (Folder(home) / "stages").exists(""):
        (Folder(home) / FOLDER).write_bytes(file, json.dumps(receipt, indent=1).encode())
    return f"logged beside {served.source} in {redact(uri)}"


def metrics_of_receipt(receipt: Mapping[str, Any]) -> dict[str, float]:
    """`benchmark/TASK/avg_at_K` with its standard error, pass_at_K and majority_at_K; fractions."""
    metrics: dict[str, float] = {}
    for name, task in receipt["tasks"].items():
        k, result = task["samples_per_problem"], task["result"] or {}
        wanted = {f"avg_at_{k}": "pass@1"}
        if k > 1:
            wanted |= {f"pass_at_{k}": f"pass@{k}", f"majority_at_{k}": f"majority@{k}"}
        for key, measure in wanted.items():
            if measure in result:
                mean, error = result[measure]["mean"], result[measure]["standard_error"]
                metrics[f"benchmark/{name}/{key}"] = mean
                if error is not None:
                    metrics[f"benchmark/{name}/{key}_standard_error"] = error
    return metrics


def losses_in(record: Mapping[str, Any]) -> str | None:
    """The losses in a recorded comparison, in words; None if there are none."""
    lost = [f"{task} {in_points(found)}" for task, found in record["tasks"].items() if found["verdict"] == LOST]
    if not lost:
        return None
    return f"forgot more than {record['max_loss'] * 100:g} points against {record['against']}: {'; '.join(lost)}"
