"""The shared limiter between real Ray actors that stand in for an endpoint's replicas."""

import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from stillery.serving.gateway import GatewaySettings, KeyLimits
from stillery.serving.gateway.shared_limiter import SharedLimiter

SETTINGS = GatewaySettings(limits=KeyLimits(burst=1000, concurrency=3))
LEASE_S = 2.0


class Replica:
    """A process with its own limiter, from one pickled limiter."""

    def __init__(self, limiter: SharedLimiter) -> None:
        self._limiter = limiter

    async def prepare(self) -> bool:
        return await self._limiter.prepare()

    async def acquire(self) -> bool:
        return (await self._limiter.acquire("key")).allowed

    async def release(self) -> None:
        await self._limiter.release("key")


@pytest.fixture
def replicas(ray_cluster: None, request: pytest.FixtureRequest) -> list[Any]:
    import ray

    # Workers cannot import a module of the tests.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    # A crowded machine may stand still for longer than an endpoint's client would wait.
    limiter = SharedLimiter(SETTINGS, name=request.node.name, lease_s=LEASE_S, answer_within_s=20)
    return [ray.remote(Replica).options(num_cpus=0).remote(limiter) for _ in range(2)]


def acquire(replica: Any, times: int) -> int:
    """The number of these requests that may start."""
    import ray

    return sum(ray.get([replica.acquire.remote() for _ in range(times)]))


def within(seconds: float, true: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def test_replicas_share_one_limit_and_a_dead_one_loses_its_slots(replicas: list[Any]) -> None:
    import ray

    one, two = replicas
    # The first makes the table.
    assert ray.get(two.prepare.remote())
    assert ray.get(one.prepare.remote())
    assert acquire(two, 1) == 1
    assert acquire(one, 5) == 2
    assert acquire(two, 5) == 0
    # The replica that did not make the table dies: its slots come back with the lease, not before.
    ray.kill(one)
    assert acquire(two, 1) == 0
    assert within(LEASE_S * 3, lambda: acquire(two, 1) == 1)
    assert within(LEASE_S, lambda: acquire(two, 1) == 1)
    assert acquire(two, 5) == 0


def test_the_limit_survives_the_replica_that_holds_the_table(replicas: list[Any]) -> None:
    import ray

    one, two = replicas
    assert ray.get(one.prepare.remote())
    assert ray.get(two.prepare.remote())
    assert acquire(one, 2) == 2
    assert acquire(two, 2) == 1
    ray.kill(one)
    # The table ended with its maker. The one that is left still counts the slot that it holds.
    assert within(LEASE_S * 3, lambda: acquire(two, 1) == 1)
    assert within(LEASE_S, lambda: acquire(two, 1) == 1)
    time.sleep(LEASE_S)
    assert acquire(two, 5) == 0
    ray.get(two.release.remote())
    assert within(LEASE_S, lambda: acquire(two, 1) == 1)
    assert acquire(two, 5) == 0
