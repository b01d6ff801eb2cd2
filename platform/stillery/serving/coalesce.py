"""Coalesces a stream for a few milliseconds: an item that crosses processes costs about as much as a token."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable

# The first event of a chat names its role and has no content: the next one is what a person waits for.
_AT_ONCE = 2
# Up to this many streams do not slow each other down; with more of them each is gathered for longer, up to a maximum
# factor.
_FEW_STREAMS = 4
_LONGEST = 4.0


def interval(base_s: float, *, streams: int) -> float:
    """How long a stream's tokens are gathered while `streams` are active: their total cost per second then hardly grows
    with their number."""
    return base_s * min(max(streams / _FEW_STREAMS, 1.0), _LONGEST)


async def coalesce(pieces: AsyncIterator[str], *, interval_s: Callable[[], float]) -> AsyncGenerator[str]:
    """The same text in fewer pieces: the first two at once, then the text of each interval of `interval_s()`.

    Closing this closes the source, and the source's error is raised here after its earlier items.
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
            if num_read >= _AT_ONCE:
                await asyncio.wait({reader}, timeout=interval_s())
    finally:
        reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({reader})
