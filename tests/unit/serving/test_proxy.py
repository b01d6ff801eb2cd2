"""In front of Serve's proxy: non-text headers, lost replicas, and the proxy's own responses."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from stillery.serving.proxy import CALLBACK, LostReplicas, TextHeaders, middlewares


def passed_on(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers as seen by an application behind the middleware."""
    seen: list[tuple[bytes, bytes]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(scope["headers"])

    async def nothing(*_: Any) -> Any:
        raise AssertionError("neither reads nor answers")

    asyncio.run(TextHeaders(application)({"type": "http", "headers": headers}, nothing, nothing))
    return seen


def test_only_what_is_utf_8_is_passed_on() -> None:
    kept = [(b"content-type", b"application/json"), (b"x-name", "Ä".encode())]
    assert passed_on([*kept, (b"x-request-id", b"\xff"), (b"\xff", b"1")]) == kept


def test_serve_finds_it_by_its_import_path() -> None:
    module, _, name = CALLBACK.partition(":")
    assert f"{module}:{name}" == f"{middlewares.__module__}:{middlewares.__name__}"
    assert {middleware.cls for middleware in middlewares()} == {LostReplicas, TextHeaders}


CHAT = "/v1/chat/completions"
JSON = [(b"content-type", b"application/json")]
EVENTS = [(b"content-type", b"text/event-stream")]
TEXT = [(b"content-type", b"text/plain; charset=utf-8")]

Attempt = Callable[[Any], Awaitable[None]]


def says(status: int, headers: list[tuple[bytes, bytes]], *pieces: bytes, whole: bool = True) -> Attempt:
    """An attempt that answers so."""

    async def attempt(send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for number, piece in enumerate(pieces, 1):
            await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces) or not whole})

    return attempt


async def lost(_: Any) -> None:
    """Serve's proxy when a replica dies before its response begins: it sends nothing."""


def asked(*attempts: Attempt, path: str = CHAT, body: bytes = b"{}", leaves: bool = False) -> tuple[Any, list[bytes]]:
    """The messages to a client if the proxy behaves like this at each attempt, and the bodies that it received."""
    seen: list[bytes] = []
    sent: list[Any] = []
    remaining = list(attempts)
    waiting: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]
    waiting += [{"type": "http.disconnect"}] if leaves else []

    async def proxy(scope: Any, receive: Any, send: Any) -> None:
        seen.append((await receive())["body"])
        if leaves:
            await receive()
        await remaining.pop(0)(send)

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(LostReplicas(proxy)({"type": "http", "path": path, "headers": []}, receive, send))
    return sent, seen


def test_an_answer_passes_as_it_is() -> None:
    sent, _ = asked(says(200, EVENTS, b"data: 1\n\n", b"data: [DONE]\n\n"))
    assert [message.get("body") for message in sent] == [None, b"data: 1\n\n", b"data: [DONE]\n\n"]
    sent, _ = asked(says(400, JSON, b'{"error": 1}'))
    assert (sent[0]["status"], sent[1]["body"]) == (400, b'{"error": 1}')


def test_a_request_whose_replica_is_lost_before_it_answers_goes_to_another_one() -> None:
    sent, seen = asked(lost, says(200, JSON, b"{}"), body=b"a prompt")
    assert (sent[0]["status"], seen) == (200, [b"a prompt", b"a prompt"])


@pytest.mark.parametrize("attempts", [(lost, lost), (says(503, TEXT, b"Request dropped due to backpressure"),)])
def test_what_only_the_proxy_could_say_is_a_503_with_a_time_to_wait(attempts: tuple[Attempt, ...]) -> None:
    sent, seen = asked(*attempts)
    assert len(seen) == len(attempts)
    assert (sent[0]["status"], dict(sent[0]["headers"])[b"retry-after"]) == (503, b"2")
    assert json.loads(sent[1]["body"])["error"]["type"] == "overloaded_error"


def test_a_time_limit_that_a_client_sets_itself_is_told_in_the_same_shape() -> None:
    sent, _ = asked(says(408, TEXT, b"Request 1 timed out"))
    assert (sent[0]["status"], json.loads(sent[1]["body"])["error"]["type"]) == (408, "timeout_error")


def test_a_body_that_is_too_long_to_keep_is_sent_once() -> None:
    sent, seen = asked(lost, says(200, JSON, b"{}"), body=b"x" * (1024 * 1024 + 1))
    assert (sent[0]["status"], len(seen)) == (503, 1)


def test_a_stream_that_breaks_off_ends_with_an_error_event() -> None:
    sent, seen = asked(says(200, EVENTS, b"data: 1\n\n", whole=False))
    assert len(seen) == 1
    assert json.loads(sent[-1]["body"].removeprefix(b"data: "))["error"]["message"].startswith("the model's replica")
    assert not sent[-1].get("more_body", False)


def test_nothing_is_said_to_a_client_that_has_left() -> None:
    assert asked(lost, leaves=True)[0] == []


def test_other_paths_and_whole_bodies_are_none_of_its_business() -> None:
    assert asked(lost, path="/v1/models") == ([], [b"{}"])
    sent, _ = asked(says(503, TEXT, b"starting"), path="/-/healthz")
    assert sent[1]["body"] == b"starting"
    sent, _ = asked(says(200, JSON, b'{"half":', whole=False))
    assert len(sent) == 2
