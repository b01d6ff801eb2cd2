"""Reads a request's body within bounds on size and time.

A refused body is drained and discarded, so that a client which sends before it reads sees the answer rather than a
reset connection.
"""

import asyncio
import contextlib

from stillery.serving.gateway.asgi import Message, Receive
from stillery.serving.gateway.errors import ApiError
from stillery.serving.gateway.heads import too_large
from stillery.serving.gateway.settings import GatewaySettings


class ClientLeftError(Exception):
    """The client disconnected."""


class BodyReader:
    """The body of one request, which is read once: kept whole by `read`, or discarded by `drain`."""

    def __init__(self, receive: Receive, settings: GatewaySettings) -> None:
        self._receive = receive
        self._settings = settings
        self._complete = False
        self._num_bytes = 0
        # Whether any of it was read, which makes the server tell a client waiting for `100 Continue` to send.
        self.begun = False

    async def read(self) -> bytes:
        """The whole body. Raises an ApiError if it is too large (413) or too slow (408), or ClientLeftError."""
        kept = bytearray()
        try:
            async with asyncio.timeout(self._settings.body_timeout_s):
                while not self._complete:
                    kept += await self._next()
                    if self._num_bytes > self._settings.max_body_bytes:
                        raise too_large(self._settings.max_body_bytes)
        except TimeoutError:
            raise ApiError(
                408, f"The body took more than {self._settings.body_timeout_s:g} seconds to arrive.", reason="slow_body"
            ) from None
        return bytes(kept)

    async def drain(self) -> None:
        """Discard the rest, up to `max_drain_bytes` and `body_timeout_s`; beyond that the client gets no answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.body_timeout_s):
                while not self._complete and self._num_bytes < self._settings.max_drain_bytes:
                    await self._next()

    async def _next(self) -> bytes:
        self.begun = True
        message: Message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        piece: bytes = message.get("body", b"")
        self._num_bytes += len(piece)
        self._complete = not message.get("more_body", False)
        return piece
