"""Stream chunks merged: the same text, the first two at once, errors and closing passed on."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from stillery.serving.coalesce import coalesce, interval
from stillery.serving.openai_shape import engine_error, error_event, finish_response, rename_reasoning


class Source:
    """Pieces with a pause before each; notes when it is closed."""

    def __init__(self, pieces: list[str | Exception], *, pause_s: float = 0.0) -> None:
        self._pieces = pieces
        self._pause_s = pause_s
        self.closed = False

    async def stream(self) -> AsyncGenerator[str]:
        try:
            for piece in self._pieces:
                await asyncio.sleep(self._pause_s)
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.closed = True


async def gather(source: Source, *, interval_s: float) -> list[str]:
    return [piece async for piece in coalesce(source.stream(), interval_s=lambda: interval_s)]


def test_the_text_stays_and_the_first_two_pieces_are_not_held_back() -> None:
    letters: list[str | Exception] = list("abcdefgh")
    pieces = asyncio.run(gather(Source(letters, pause_s=0.002), interval_s=0.05))
    assert "".join(pieces) == "abcdefgh"
    assert pieces[:2] == ["a", "b"]
    assert len(pieces) < 8


def test_an_error_comes_after_what_came_before_it() -> None:
    source = Source(["a", ValueError("broken")])

    seen: list[str] = []

    async def read() -> None:
        async for piece in coalesce(source.stream(), interval_s=lambda: 0.001):
            seen.append(piece)

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(read())
    assert "".join(seen) == "a"


def test_closing_closes_the_source() -> None:
    letters: list[str | Exception] = ["a", "b", "c"]
    source = Source(letters, pause_s=0.01)

    async def leave() -> None:
        stream = coalesce(source.stream(), interval_s=lambda: 0.001)
        await anext(stream)
        await stream.aclose()

    asyncio.run(leave())
    assert source.closed


def test_the_end_is_not_waited_for() -> None:
    async def timed() -> float:
        started = asyncio.get_running_loop().time()
        await gather(Source(["a", "b"]), interval_s=30)
        return asyncio.get_running_loop().time() - started

    assert asyncio.run(timed()) < 5


@pytest.mark.parametrize(("streams", "expected"), [(1, 0.05), (4, 0.05), (8, 0.1), (16, 0.2), (200, 0.2)])
def test_many_streams_are_gathered_for_longer(streams: int, expected: float) -> None:
    assert interval(0.05, streams=streams) == pytest.approx(expected)
    assert interval(0.0, streams=streams) == 0.0


def test_only_a_key_is_renamed() -> None:
    events = 'data: {"delta": {"reasoning": "the key \\"reasoning\\": stays"}}\n\n'
    assert rename_reasoning(events) == events.replace('{"reasoning"', '{"reasoning_content"')


def test_a_whole_response_names_the_version_and_drops_empty_fields() -> None:
    message = {"role": "assistant", "content": None, "reasoning": "why", "tool_calls": []}
    made = finish_response({"id": "x", "kv": None, "choices": [{"index": 0, "message": message}]}, version="3")
    assert made == {
        "id": "x",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": None, "reasoning_content": "why"}}],
        "model_version": "3",
    }


def test_only_an_error_event_is_an_error_of_the_engine() -> None:
    died = 'data: {"error": {"message": "EngineCore died", "type": "InternalServerError", "code": 500}}\n\n'
    assert engine_error(died) == {"code": 500, "message": "EngineCore died"}
    assert engine_error(error_event(503, "busy")) == {"code": 500, "message": "busy"}
    assert engine_error('data: {"choices": [{"delta": {"content": "{\\"error\\""}}]}\n\n') is None
    assert engine_error("data: [DONE]\n\n") is None
