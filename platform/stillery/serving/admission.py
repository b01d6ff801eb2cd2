"""How many requests a replica works on at once, and how many wait for their turn. Pure asyncio."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class QueueFullError(Exception):
    """A request that finds no place to wait in."""


class Admission:
    """`max_ongoing` requests at once, in the order in which they came; `max_queued` more wait."""

    def __init__(self, *, max_ongoing: int, max_queued: int) -> None:
        self._turns = asyncio.Semaphore(max_ongoing)
        self._max_inside = max_ongoing + max_queued
        self._num_inside = 0

    @asynccontextmanager
    async def admit(self) -> AsyncGenerator[None]:
        """Wait for a turn and keep it. Raises QueueFullError at once where too many wait already."""
        if self._num_inside >= self._max_inside:
            raise QueueFullError
        self._num_inside += 1
        try:
            async with self._turns:
                yield
        finally:
            self._num_inside -= 1
