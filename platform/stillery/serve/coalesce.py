"""Pieces of a stream gathered for a few milliseconds: every item that crosses processes costs about as much as a small
model's token."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

# The first event of a chat names its role and says nothing: the next one is what a person waits for.
_AT_ONCE = 2


async def coalesce(pieces: AsyncIterator[str], *, interval_s: float) -> AsyncGenerator[str]:
    """The same text in fewer pieces: the first two at once, then what came within `interval_s`.

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
    num_read = 0
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
            num_read += len(gathered)
            if interval_s > 0 and num_read >= _AT_ONCE:
                await asyncio.wait({reader}, timeout=interval_s)
    finally:
        reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({reader})
