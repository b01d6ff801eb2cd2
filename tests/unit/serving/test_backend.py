"""Calls to the model, by handle and in its replica: retries, refusals, and broken streams."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import BackPressureError

from stillery.serving.backend import LocalModel, ModelClient, ModelRefusedError, Opening


class Pieces:
    """A replica's stream, piece by piece; an exception among the pieces is raised."""

    def __init__(self, pieces: list[Any]) -> None:
        self._pieces = list(pieces)
        self.cancelled = False

    def __aiter__(self) -> "Pieces":
        return self

    async def __anext__(self) -> Any:
        if not self._pieces:
            raise StopAsyncIteration
        piece = self._pieces.pop(0)
        if isinstance(piece, BaseException):
            raise piece
        return piece

    def cancel(self) -> None:
        self.cancelled = True


class Handle:
    """A Serve handle: each call gets the next of the scripted replies."""

    def __init__(self, *replies: list[Any]) -> None:
        self.replies = [Pieces(reply) for reply in replies]
        self.num_calls = 0

    @property
    def answer(self) -> "Handle":
        return self

    def remote(self, *_: Any) -> Pieces:
        self.num_calls += 1
        return self.replies[self.num_calls - 1]


STREAM = [Opening(200, "3"), "data: 1\n\n", "data: 2\n\n"]
LOST = ActorDiedError()
FAILED = RayTaskError("answer", "a traceback with a prompt in it", RuntimeError("the engine is dead"))


def ask(handle: Handle) -> tuple[Opening, list[str]]:
    async def read() -> tuple[Opening, list[str]]:
        reply = await ModelClient(retry_after_s=2, find=lambda: handle).ask("chat", {})
        return reply.opening, [event async for event in reply.events] if reply.events else []

    return asyncio.run(read())


def test_a_stream_comes_as_it_was_sent() -> None:
    assert ask(Handle(STREAM)) == (STREAM[0], STREAM[1:])


def test_a_replica_that_is_lost_before_its_first_token_is_asked_for_again() -> None:
    handle = Handle([LOST], STREAM)
    assert ask(handle) == (STREAM[0], STREAM[1:])
    assert handle.num_calls == 2


def test_it_is_asked_for_again_once_only() -> None:
    handle = Handle([LOST], [LOST], STREAM)
    with pytest.raises(ModelRefusedError, match="replaced") as refused:
        ask(handle)
    assert (refused.value.status, refused.value.retry_after_s, handle.num_calls) == (503, 2, 2)


def test_a_request_that_the_model_failed_at_is_not_asked_again() -> None:
    handle = Handle([FAILED], STREAM)
    with pytest.raises(ModelRefusedError, match="failed") as refused:
        ask(handle)
    assert handle.num_calls == 1
    assert "prompt" not in json.dumps(refused.value.body())


def test_a_full_model_is_503_with_a_time_to_wait() -> None:
    with pytest.raises(ModelRefusedError, match="busy") as refused:
        ask(Handle([BackPressureError(num_queued_requests=9, max_queued_requests=9)]))
    assert (refused.value.status, refused.value.retry_after_s) == (503, 2)


def test_a_stream_that_breaks_off_says_so_and_does_not_look_whole() -> None:
    _, events = ask(Handle([*STREAM[:2], LOST]))
    assert events[0] == STREAM[1]
    assert json.loads(events[1].removeprefix("data: "))["error"]["message"].startswith("the model's replica was lost")
    assert not any("[DONE]" in event for event in events)


@pytest.mark.parametrize(("num_read", "cancelled"), [(0, True), (1, True), (3, False)])
def test_a_client_that_leaves_cancels_the_models_work(num_read: int, cancelled: bool) -> None:
    handle = Handle(STREAM)

    async def leave() -> None:
        reply = await ModelClient(retry_after_s=2, find=lambda: handle).ask("chat", {})
        assert reply.events is not None
        events = aiter(reply.events)
        for _ in range(num_read):
            await anext(events, None)
        await reply.events.aclose()

    asyncio.run(leave())
    assert handle.replies[0].cancelled == cancelled


def test_before_a_model_is_up_the_answer_is_503() -> None:
    def find() -> Any:
        raise LookupError

    with pytest.raises(ModelRefusedError, match="no model is up yet") as refused:
        asyncio.run(ModelClient(retry_after_s=2, find=find).ask("chat", {}))
    assert refused.value.status == 503


def local(pieces: list[Any]) -> tuple[LocalModel, list[str]]:
    """A model whose server yields these pieces, and the state of its generator."""
    ended: list[str] = []

    async def answer(*_: Any) -> AsyncGenerator[Opening | str]:
        try:
            for piece in pieces:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
            ended.append("to its end")
        except GeneratorExit:
            ended.append("closed")
            raise

    return LocalModel(answer, retry_after_s=2), ended


def test_a_model_in_the_same_process_streams_as_one_elsewhere() -> None:
    async def read() -> tuple[Opening, list[str]]:
        model, _ = local(STREAM)
        reply = await model.ask("chat", {})
        assert reply.events is not None
        return reply.opening, [event async for event in reply.events]

    assert asyncio.run(read()) == (STREAM[0], STREAM[1:])


def test_a_client_that_leaves_closes_the_server_in_the_same_process() -> None:
    async def leave() -> list[str]:
        model, ended = local(STREAM)
        reply = await model.ask("chat", {})
        assert reply.events is not None
        await reply.events.aclose()
        return ended

    assert asyncio.run(leave()) == ["closed"]


def test_a_whole_answer_leaves_nothing_open() -> None:
    async def ask_local() -> tuple[Any, list[str]]:
        model, ended = local([Opening(200, "3", {"id": "x"})])
        return await model.ask("chat", {}), ended

    reply, ended = asyncio.run(ask_local())
    assert (reply.events, ended) == (None, ["closed"])


def test_an_engine_that_is_dead_is_503_without_its_words() -> None:
    model, _ = local([RuntimeError("a traceback with a prompt in it")])
    with pytest.raises(ModelRefusedError, match="failed") as refused:
        asyncio.run(model.ask("chat", {}))
    assert (refused.value.status, refused.value.retry_after_s) == (503, 2)
    assert "prompt" not in json.dumps(refused.value.body())
