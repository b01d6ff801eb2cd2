"""Pieces of a stream gathered for a few milliseconds: every item that crosses processes costs about as much as a small
model's token."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator


async def coalesce(pieces: AsyncIterator[str], *, interval_s: float) -> AsyncGenerator[str]:
    """The same text in fewer pieces: the first at once, then what came within `interval_s`.

    The source is closed when this is closed, and its error is raised here after what came before it.
    """
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    async def read() -> None:
        try:
            async for piece in pieces:
                queue.put_nowait(piece)
        finally:
            queue.put_nowait(None)

    reader = asyncio.create_task(read())
    try:
        while True:
            gathered = [await queue.get()]
            while not queue.empty():
                gathered.append(queue.get_nowait())
            text = "".join(piece for piece in gathered if piece is not None)
            if text:
                yield text
            if gathered[-1] is None:
                await reader
                return
            if interval_s > 0:
                await asyncio.wait({reader}, timeout=interval_s)
    finally:
        reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({reader})
