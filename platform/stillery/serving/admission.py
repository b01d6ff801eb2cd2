"""Bounds the number of requests that a replica handles at once, and of those that wait. Pure asyncio."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class QueueFullError(Exception):
    """A request for which the queue has no room."""


class Admission:
    """`max_ongoing` requests at once, in the order in which they came; `max_queued` more wait."""

    def __init__(self, *, max_ongoing: int, max_queued: int) -> None:
        self._turns = asyncio.Semaphore(max_ongoing)
        self._max_inside = max_ongoing + max_queued
        self._num_inside = 0

    @asynccontextmanager
    async def admit(self) -> AsyncGenerator[None]:
        """Wait for a slot and hold it. Raises QueueFullError at once where too many are already waiting."""
        if self._num_inside >= self._max_inside:
            raise QueueFullError
        self._num_inside += 1
        try:
            async with self._turns:
                yield
        finally:
            self._num_inside -= 1
