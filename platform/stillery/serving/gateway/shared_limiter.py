"""One set of limits for all replicas of an endpoint: a named Ray actor that holds the LimitTable.

Each running replica reports its slots. One that stops reporting loses them after the lease, and an actor that was
restarted learns them from the next reports. While the actor cannot be reached a replica applies limits of its own, so
that an endpoint is neither shut nor unbounded.
"""

import asyncio
import dataclasses
import hashlib
import json
import logging
import uuid
from collections import Counter
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol, TypeVar

from stillery.serving.gateway.limits import LimitDecision, LimitTable
from stillery.serving.gateway.settings import GatewaySettings

logger = logging.getLogger(__name__)

LEASE_S = 15.0
# A reply from an actor of the same cluster takes milliseconds.
ANSWER_WITHIN_S = 1.0
# After a failure the actor is not called for this long.
RETRY_EVERY_S = 1.0
# Creating the actor starts a worker process.
_MADE_WITHIN_S = 30.0

_T = TypeVar("_T")


class LimitClient(Protocol):
    """The shared table as seen by one replica. Every method raises ConnectionError if it cannot be reached."""

    async def acquire(self, holder: str, key_id: str) -> LimitDecision: ...

    async def release(self, holder: str, key_id: str) -> None: ...

    async def report(self, holder: str, slots: Mapping[str, int]) -> None: ...


class SharedLimiter:
    """A Limiter for one of several replicas. It can be pickled until its first use, and is then bound to its process.

    `client` accesses the shared table; by default through the Ray actor of this name and these settings.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        name: str = "stillery-limits",
        lease_s: float = LEASE_S,
        answer_within_s: float = ANSWER_WITHIN_S,
        client: LimitClient | None = None,
    ) -> None:
        self._settings = settings
        self._lease_s = lease_s
        self._client: LimitClient = client or RayLimitClient(
            settings, name=name, lease_s=lease_s, answer_within_s=answer_within_s
        )
        self._holder = ""
        self._slots: Counter[str] = Counter()
        self._alone: LimitTable | None = None
        self._alone_until = 0.0
        self._reporter: asyncio.Task[None] | None = None

    async def prepare(self, *, within_s: float = _MADE_WITHIN_S) -> bool:
        """Reach the shared table, which is created if there is none, before the first request is admitted. Returns
        whether that worked: otherwise this replica begins with limits of its own."""
        self._begin()
        end = asyncio.get_running_loop().time() + within_s
        while True:
            try:
                await self._client.report(self._holder, dict(self._slots))
                return True
            except ConnectionError as error:
                if asyncio.get_running_loop().time() >= end:
                    logger.warning("the shared limits were not reached within %g s (%s)", within_s, error)
                    return False
                await asyncio.sleep(0.1)

    async def acquire(self, key_id: str) -> LimitDecision:
        self._begin()
        # Counted before the call, so that a report which overtakes the reply does not take the slot away.
        self._slots[key_id] += 1
        decision = LimitDecision(False)
        try:
            decision = await self._ask(key_id)
        finally:
            if not decision.allowed:
                self._forget(key_id)
        return decision

    async def release(self, key_id: str) -> None:
        self._forget(key_id)
        # If this does not arrive, the next report contains the same.
        if self._reachable():
            await self._try(self._client.release(self._holder, key_id))

    def _begin(self) -> None:
        if self._reporter is None:
            # A replica's own name: copies of one pickled limiter must not share it.
            self._holder = uuid.uuid4().hex
            self._reporter = asyncio.create_task(self._report_for_ever())

    async def _ask(self, key_id: str) -> LimitDecision:
        if self._reachable():
            decision = await self._try(self._client.acquire(self._holder, key_id))
            if decision is not None:
                return decision
        if self._alone is None:
            self._alone = LimitTable(self._settings)
        self._alone.report(self._holder, self._slots - Counter({key_id: 1}))
        return self._alone.acquire(self._holder, key_id)

    async def _report_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            await self._try(self._client.report(self._holder, dict(self._slots)))

    async def _try(self, call: Awaitable[_T]) -> _T | None:
        """The shared table's reply; None, with a pause in calls, if it cannot be reached."""
        try:
            return await call
        except ConnectionError as error:
            if self._reachable():
                logger.warning("the shared limits cannot be reached (%s): this replica goes by its own", error)
            self._alone_until = asyncio.get_running_loop().time() + RETRY_EVERY_S
            return None

    def _reachable(self) -> bool:
        return asyncio.get_running_loop().time() >= self._alone_until

    def _forget(self, key_id: str) -> None:
        self._slots -= Counter({key_id: 1})


class RayLimitClient:
    """The shared table as a named Ray actor, created by the first replica that calls.

    The actor ends with the replica that created it, and the next caller creates it again: nothing is left behind in the
    cluster. Its name includes the settings, so that replicas of an old and a new version do not mix their limits.
    """

    def __init__(
        self, settings: GatewaySettings, *, name: str, lease_s: float, answer_within_s: float = ANSWER_WITHIN_S
    ) -> None:
        limits = [dataclasses.asdict(settings)[key] for key in ("limits", "key_limits", "retry_after_s")]
        digest = hashlib.sha256(json.dumps([limits, lease_s], sort_keys=True).encode()).hexdigest()[:12]
        self._name = f"{name}-{digest}"
        self._settings = settings
        self._lease_s = lease_s
        self._answer_within_s = answer_within_s
        # The creator's handle keeps the actor alive: it is released only once the actor is dead.
        self._finding: asyncio.Future[Any] | None = None

    async def acquire(self, holder: str, key_id: str) -> LimitDecision:
        return await self._call("acquire", holder, key_id)

    async def release(self, holder: str, key_id: str) -> None:
        await self._call("release", holder, key_id)

    async def report(self, holder: str, slots: Mapping[str, int]) -> None:
        await self._call("report", holder, slots)

    async def _call(self, method: str, *arguments: Any) -> Any:
        from ray.exceptions import ActorDiedError, RayError

        if self._finding is None:
            # In a thread: this queries Ray's control store, and must not block requests while it is unreachable.
            self._finding = asyncio.ensure_future(asyncio.to_thread(self._find))
        finding = self._finding
        try:
            async with asyncio.timeout(self._answer_within_s):
                # Shielded: the next request waits for an actor that starts slowly, rather than creating it again.
                actor = await asyncio.shield(finding)
                return await getattr(actor, method).remote(*arguments)
        except (RayError, TimeoutError, ValueError, RuntimeError) as error:
            failed = finding.done() and finding.exception() is not None
            if self._finding is finding and (failed or isinstance(error, ActorDiedError)):
                self._finding = None
            raise ConnectionError(type(error).__name__) from error

    def _find(self) -> Any:
        import ray

        options = {"name": self._name, "namespace": "stillery", "get_if_exists": True, "num_cpus": 0}
        return ray.remote(LimitTable).options(**options).remote(self._settings, lease_s=self._lease_s)
