"""Registry versions without a training run: a checkpoint's folder as the source, and scores if a test gives them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stillery.config import RegisterConfig
from stillery.records import Score
from stillery.registry import mlflow_store
from stillery.registry.gate import MeasuredModel
from stillery.registry.scores import log_evaluation

PROTOCOL = {"sampling": {"temperature": 1.0}, "samples_per_prompt": 5}


def register_folder(
    name: str,
    folder: Path,
    *,
    after: Sequence[Score] = (),
    before: Sequence[Score] = (),
    protocol: Mapping[str, Any] | None = PROTOCOL,
    tracking_uri: str | None = None,
) -> str:
    """Register `folder` (with the files of a checkpoint) as a version, and return its number."""
    from mlflow.exceptions import MlflowException

    uri = mlflow_store.resolve_tracking_uri(tracking_uri)
    with mlflow_store.connect(uri, experiment=RegisterConfig().experiment) as store:
        run = store.client.create_run(store.experiment_id)
        for evaluation, rows in (("evaluate_after", after), ("evaluate_before", before)):
            if rows:
                log_evaluation(store, run.info.run_id, evaluation, MeasuredModel(rows, protocol))
        try:
            store.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return str(store.client.create_model_version(name, folder.as_uri(), run.info.run_id).version)


def scores_at(rate: float, *, problems: int = 12, samples: int = 5) -> list[Score]:
    """Scores of a model with this accuracy on each of the same test problems."""
    return [
        Score(
            model="m",
            prompt_id=f"p{problem}",
            sample_id=f"p{problem}-{index}",
            sample_index=index,
            task="t",
            split="test",
            num_steps=None,
            question="q",
            gold="1",
            completion="c",
            predicted="1",
            verdict="correct" if index < round(rate * samples) else "wrong",
            template="ok",
            num_tokens=5,
            finish_reason="stop",
        )
        for problem in range(problems)
        for index in range(samples)
    ]
