"""Slow fixtures, made once for all integration tests: a Ray, the tables of an MLflow store."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillery.cluster import connect as cluster
from stillery.config import ClusterConfig
from stillery.registry import mlflow_store


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A Ray cluster of this process."""
    import ray

    # Workers import what tests hand them by name: a function of the test's own module, a reward of one's own.
    paths = [os.environ.get("PYTHONPATH"), str(Path(__file__).parents[1]), str(Path(__file__).parent)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
        cluster.connect(ClusterConfig(address="local"))
    yield
    ray.shutdown()


@pytest.fixture(scope="session", autouse=True)
def _mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each new MLflow store of these tests is a copy of the first: its migrations take seconds."""
    tables = tmp_path_factory.mktemp("mlflow_tables") / "mlflow.db"
    make = mlflow_store.make_tables

    def copy(database: Path, artifacts: str) -> None:
        if not tables.exists():
            make(tables, artifacts)
        shutil.copyfile(tables, database)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow_store, "make_tables", copy)
        yield
