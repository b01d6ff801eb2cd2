"""Rates and slots of keys: the table, and replicas that share one when they or it fail."""

import asyncio
import pickle
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from stillery.errors import UserError
from stillery.serving.gateway import GatewaySettings, KeyLimits, LimitDecision, LocalLimiter
from stillery.serving.gateway.limits import LimitTable
from stillery.serving.gateway.settings import ParameterBounds, check_settings
from stillery.serving.gateway.shared_limiter import RETRY_EVERY_S, RayLimitClient, SharedLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def table(clock: Clock, *, lease_s: float | None = None, **limits: float) -> LimitTable:
    settings = GatewaySettings(
        limits=KeyLimits(**limits), key_limits={"vip": KeyLimits(burst=100, concurrency=100)}
    )  # fmt: skip
    return LimitTable(settings, lease_s=lease_s, clock=clock)


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    clock = Clock()
    limits = table(clock, requests_per_minute=60, burst=3, concurrency=1000)
    assert [limits.acquire("a", "key").allowed for _ in range(4)] == [True, True, True, False]
    refused = limits.acquire("a", "key")
    assert (refused.reason, refused.retry_after_s) == ("rate", pytest.approx(1.0))
    clock.now += refused.retry_after_s
    assert limits.acquire("a", "key").allowed
    clock.now += 3600
    assert [limits.acquire("a", "key").allowed for _ in range(4)] == [True, True, True, False]


def test_over_a_long_time_the_rate_holds() -> None:
    clock = Clock()
    limits = table(clock, requests_per_minute=30, burst=5, concurrency=10**6)
    allowed = 0
    for _ in range(6000):
        clock.now += 0.1
        allowed += limits.acquire("a", "key").allowed
    assert allowed == pytest.approx(300 + 5, abs=2)


def test_keys_do_not_share_and_a_named_key_has_its_own_limits() -> None:
    limits = table(Clock(), burst=1, concurrency=5)
    assert limits.acquire("a", "one").allowed
    assert not limits.acquire("a", "one").allowed
    assert limits.acquire("a", "two").allowed
    assert all(limits.acquire("a", "vip").allowed for _ in range(100))
    assert limits.acquire("a", "vip").reason == "concurrency"


def test_slots_come_back_and_a_refusal_for_want_of_one_costs_no_token() -> None:
    limits = table(Clock(), requests_per_minute=1, burst=3, concurrency=1)
    assert limits.acquire("a", "key").allowed
    for _ in range(10):
        assert limits.acquire("a", "key").reason == "concurrency"
    limits.release("a", "key")
    assert limits.acquire("a", "key").allowed


def test_replicas_share_slots_and_a_silent_one_loses_its_own() -> None:
    clock = Clock()
    limits = table(clock, lease_s=10, burst=1000, concurrency=4)
    for holder in ("a", "a", "b", "b"):
        assert limits.acquire(holder, "key").allowed
    assert limits.acquire("c", "key").reason == "concurrency"
    clock.now += 9
    limits.report("b", {"key": 2})
    clock.now += 2
    # a was silent for 11 seconds, b for 2.
    assert limits.acquire("c", "key").allowed
    assert limits.in_use("key") == 3
    # a was only slow: giving back what it lost takes nothing from the others.
    limits.release("a", "key")
    limits.release("a", "key")
    assert limits.in_use("key") == 3
    # And its report sets right what it still holds.
    limits.report("a", {"key": 1})
    assert limits.in_use("key") == 4


def test_release_never_makes_room_out_of_nothing() -> None:
    limits = table(Clock(), burst=1000, concurrency=2)
    for _ in range(5):
        limits.release("a", "key")
    assert [limits.acquire("a", "key").allowed for _ in range(3)] == [True, True, False]


def test_a_local_limiter_travels_in_a_pickle() -> None:
    limiter = pickle.loads(pickle.dumps(LocalLimiter(GatewaySettings(limits=KeyLimits(burst=1)))))

    async def run() -> list[bool]:
        return [(await limiter.acquire("key")).allowed for _ in range(2)]

    assert asyncio.run(run()) == [True, False]


class TableClient:
    """The shared table in this process; `down` makes it unreachable."""

    def __init__(self, shared: LimitTable) -> None:
        self.table = shared
        self.down = False
        self.calls = 0

    async def acquire(self, holder: str, key_id: str) -> LimitDecision:
        self._reach()
        return self.table.acquire(holder, key_id)

    async def release(self, holder: str, key_id: str) -> None:
        self._reach()
        self.table.release(holder, key_id)

    async def report(self, holder: str, slots: Mapping[str, int]) -> None:
        self._reach()
        self.table.report(holder, slots)

    def _reach(self) -> None:
        self.calls += 1
        if self.down:
            raise ConnectionError("away")


SETTINGS = GatewaySettings(limits=KeyLimits(burst=1000, concurrency=3))


def replicas(client: TableClient, *, lease_s: float = 60.0) -> tuple[SharedLimiter, SharedLimiter]:
    return SharedLimiter(SETTINGS, client=client, lease_s=lease_s), SharedLimiter(
        SETTINGS, client=client, lease_s=lease_s
    )


def test_replicas_do_not_multiply_the_limits() -> None:
    async def run() -> None:
        client = TableClient(LimitTable(SETTINGS))
        one, two = replicas(client)
        allowed = [(await limiter.acquire("key")).allowed for limiter in (one, two, one, two, one)]
        assert allowed == [True, True, True, False, False]
        await two.release("key")
        assert (await one.acquire("key")).allowed
        assert client.table.in_use("key") == 3

    asyncio.run(run())


def test_a_replica_that_is_prepared_waits_for_the_table_but_not_for_ever() -> None:
    async def run() -> None:
        client = TableClient(LimitTable(SETTINGS))
        client.down = True
        one, two = replicas(client)
        preparing = asyncio.create_task(one.prepare())
        await asyncio.sleep(0.25)
        assert not preparing.done()
        client.down = False
        assert await preparing
        assert len(client.table._holders) == 1
        client.down = True
        assert not await two.prepare(within_s=0.2)

    asyncio.run(run())


def test_a_replica_goes_by_limits_of_its_own_while_the_table_is_away(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        client = TableClient(LimitTable(SETTINGS))
        one, _ = replicas(client)
        assert (await one.acquire("key")).allowed
        client.down = True
        # The slot that it holds counts: two more, not three.
        assert [(await one.acquire("key")).allowed for _ in range(3)] == [True, True, False]
        assert client.calls == 2
        await one.release("key")
        assert (await one.acquire("key")).allowed
        assert [(await one.acquire("key")).reason for _ in range(2)] == ["concurrency"] * 2
        client.down = False
        await asyncio.sleep(RETRY_EVERY_S + 0.1)
        for _ in range(3):
            await one.release("key")
        assert client.table.in_use("key") == 0

    asyncio.run(run())
    assert caplog.text.count("cannot be reached") == 1


def test_reports_tell_a_new_table_what_is_held() -> None:
    async def run() -> None:
        client = TableClient(LimitTable(SETTINGS, lease_s=0.15))
        one, two = replicas(client, lease_s=0.15)
        for _ in range(2):
            assert (await one.acquire("key")).allowed
        client.table = LimitTable(SETTINGS, lease_s=0.15)
        await asyncio.sleep(0.3)
        # Told anew, and kept alive beyond the lease.
        assert client.table.in_use("key") == 2
        assert [(await two.acquire("key")).allowed for _ in range(2)] == [True, False]

    asyncio.run(run())


def test_an_acquire_that_is_cancelled_leaves_nothing_held() -> None:
    class Stuck(TableClient):
        async def acquire(self, holder: str, key_id: str) -> LimitDecision:
            self.table.acquire(holder, key_id)
            await asyncio.sleep(60)
            raise AssertionError("was not cancelled")

    async def run() -> None:
        client = Stuck(LimitTable(SETTINGS))
        one, _ = replicas(client, lease_s=0.15)
        asking = asyncio.create_task(one.acquire("key"))
        await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert client.table.in_use("key") == 1
        await asyncio.sleep(0.2)
        assert client.table.in_use("key") == 0

    asyncio.run(run())


def test_a_shared_limiter_travels_in_a_pickle_and_copies_are_different_holders() -> None:
    blank = pickle.dumps(SharedLimiter(SETTINGS))
    one, two = pickle.loads(blank), pickle.loads(blank)

    async def run() -> None:
        client = TableClient(LimitTable(SETTINGS))
        # In a process of Serve's the client is the Ray actor.
        one._client = two._client = client
        await one.acquire("key")
        await two.acquire("key")
        assert client.table.in_use("key") == 2
        assert len(client.table._holders) == 2

    asyncio.run(run())


class ScriptedClient(RayLimitClient):
    """Finds actors that behave, one after another, as `script` says."""

    def __init__(self, script: list[Exception | LimitDecision], *, slow_s: float = 0.0) -> None:
        super().__init__(SETTINGS, name="limits", lease_s=1.0)
        self._script = script
        self._slow_s = slow_s
        self.found = 0

    def _find(self) -> Any:
        self.found += 1
        time.sleep(self._slow_s)

        async def answer(*_: Any) -> LimitDecision:
            step = self._script.pop(0)
            if isinstance(step, Exception):
                raise step
            return step

        return SimpleNamespace(acquire=SimpleNamespace(remote=answer))


def test_an_actor_is_looked_for_again_only_when_it_is_dead() -> None:
    from ray.exceptions import ActorDiedError, ActorUnavailableError

    async def run() -> None:
        client = ScriptedClient(
            [ActorUnavailableError("away", None), LimitDecision(True), ActorDiedError(), LimitDecision(True)]
        )
        outcomes = []
        for _ in range(4):
            try:
                outcomes.append((await client.acquire("a", "key")).allowed)
            except ConnectionError:
                outcomes.append(client.found)
        # Unreachable with the first actor, answered by it, dead, answered by the second.
        assert outcomes == [1, True, 1, True]
        assert client.found == 2

    asyncio.run(run())


def test_an_actor_that_starts_slowly_is_made_once() -> None:
    async def run() -> None:
        client = ScriptedClient([LimitDecision(True)] * 3, slow_s=1.3)
        asked = await asyncio.gather(*(client.acquire("a", "key") for _ in range(3)), return_exceptions=True)
        assert all(isinstance(outcome, ConnectionError) for outcome in asked)
        await asyncio.sleep(0.5)
        assert (await client.acquire("a", "key")).allowed
        assert client.found == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (GatewaySettings(max_in_flight=0), "gateway.max_in_flight"),
        (GatewaySettings(limits=KeyLimits(burst=0)), "gateway.limits.burst"),
        (GatewaySettings(key_limits={"a": KeyLimits(concurrency=-1)}), "gateway.key_limits.a.concurrency"),
        (GatewaySettings(bounds=ParameterBounds(max_n=0)), "gateway.bounds.max_n"),
        (GatewaySettings(body_timeout_s=float("nan")), "gateway.body_timeout_s"),
        (GatewaySettings(cors_origins=["*"]), "gateway.cors_origins"),
    ],
)
def test_settings_that_cannot_work_are_named(settings: GatewaySettings, key: str) -> None:
    with pytest.raises(UserError, match=key):
        check_settings(settings)
