"""One Ray for all integration tests: starting it costs seconds, and two cores hold one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillery.cluster import connect as cluster
from stillery.config import ClusterConfig


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
