"""One Ray for all integration tests: starting it costs seconds, and two cores hold one."""

from collections.abc import Iterator

import pytest

from stillery.cluster import connect as cluster
from stillery.config import ClusterConfig


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A Ray cluster of this process."""
    import ray

    cluster.connect(ClusterConfig(address="local"))
    yield
    ray.shutdown()
