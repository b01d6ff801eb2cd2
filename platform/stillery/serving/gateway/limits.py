"""Rate and concurrency limits of a key: a token bucket and a number of slots, as plain logic with an injected clock.

`LimitTable` is the logic; `LocalLimiter` holds one for a single process. In `shared_limiter` a Ray actor holds one
for all replicas, which is why slots belong to a holder: a replica that dies must not keep its slots.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from stillery.serving.gateway.settings import GatewaySettings, KeyLimits

Reason = Literal["rate", "concurrency"]


@dataclass(frozen=True)
class LimitDecision:
    """Whether a request may start; if not, which limit it exceeded and the seconds until a retry."""

    allowed: bool
    reason: Reason | None = None
    retry_after_s: float = 0.0


class Limiter(Protocol):
    """The interface that the gateway calls before a request starts. Every allowed `acquire` is followed by one
    `release`."""

    async def acquire(self, key_id: str) -> LimitDecision: ...

    async def release(self, key_id: str) -> None: ...


@dataclass
class _Bucket:
    """`level` is the number of requests that could start at once at time `filled_at`."""

    level: float
    filled_at: float


@dataclass
class _Holder:
    """One replica: its number of slots of each key, and the time of its last report."""

    slots: Counter[str] = field(default_factory=Counter[str])
    heard_at: float = 0.0


class LimitTable:
    """Buckets of all keys and slots of all holders.

    A holder without a report for `lease_s` seconds has lost its slots (null: slots never expire). All times come from
    `clock`, in seconds.
    """

    def __init__(
        self, settings: GatewaySettings, *, lease_s: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._default = settings.limits
        self._special: Mapping[str, KeyLimits] = settings.key_limits
        self._retry_after_s = settings.retry_after_s
        self._lease_s = lease_s
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._holders: dict[str, _Holder] = {}

    def acquire(self, holder: str, key_id: str) -> LimitDecision:
        """Take a slot and a token for a request of `key_id`, or return which of the two is missing."""
        now = self._clock()
        limits = self._special.get(key_id, self._default)
        self._drop_expired(now)
        if self.in_use(key_id) >= limits.concurrency:
            return LimitDecision(False, "concurrency", self._retry_after_s)
        per_second = limits.requests_per_minute / 60
        bucket = self._buckets.setdefault(key_id, _Bucket(limits.burst, now))
        bucket.level = min(limits.burst, bucket.level + (now - bucket.filled_at) * per_second)
        bucket.filled_at = now
        if bucket.level < 1:
            return LimitDecision(False, "rate", (1 - bucket.level) / per_second)
        bucket.level -= 1
        self._hear(holder, now).slots[key_id] += 1
        return LimitDecision(True)

    def release(self, holder: str, key_id: str) -> None:
        """Return a slot. A slot that has expired is not returned twice."""
        found = self._hear(holder, self._clock())
        if found.slots[key_id] > 1:
            found.slots[key_id] -= 1
        else:
            del found.slots[key_id]

    def report(self, holder: str, slots: Mapping[str, int]) -> None:
        """A holder's report that it is alive, with its slots, which replace the table's earlier record of it."""
        self._hear(holder, self._clock()).slots = Counter({key_id: count for key_id, count in slots.items() if count})

    def in_use(self, key_id: str) -> int:
        """The number of a key's slots in use, over all holders."""
        return sum(holder.slots[key_id] for holder in self._holders.values())

    def _hear(self, holder: str, now: float) -> _Holder:
        found = self._holders.setdefault(holder, _Holder())
        found.heard_at = now
        return found

    def _drop_expired(self, now: float) -> None:
        if self._lease_s is None:
            return
        expired = [name for name, holder in self._holders.items() if now - holder.heard_at > self._lease_s]
        for name in expired:
            del self._holders[name]


class LocalLimiter:
    """The limits within one process. With several replicas each would grant them separately: use the shared limiter."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._table = LimitTable(settings)

    async def acquire(self, key_id: str) -> LimitDecision:
        return self._table.acquire("local", key_id)

    async def release(self, key_id: str) -> None:
        self._table.release("local", key_id)
