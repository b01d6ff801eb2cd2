"""Headers that are no text do not get as far as Serve's proxy."""

import asyncio
from typing import Any

from stillery.serving.proxy_headers import CALLBACK, middlewares


def passed_on(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """What an application behind the middleware sees."""
    seen: list[tuple[bytes, bytes]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(scope["headers"])

    async def nothing(*_: Any) -> Any:
        raise AssertionError("neither reads nor answers")

    (middleware,) = middlewares()
    scope = {"type": "http", "headers": headers}
    asyncio.run(middleware.cls(application, *middleware.args, **middleware.kwargs)(scope, nothing, nothing))
    return seen


def test_only_what_is_utf_8_is_passed_on() -> None:
    kept = [(b"content-type", b"application/json"), (b"x-name", "Ä".encode())]
    assert passed_on([*kept, (b"x-request-id", b"\xff"), (b"\xff", b"1")]) == kept


def test_serve_finds_it_by_its_import_path() -> None:
    module, _, name = CALLBACK.partition(":")
    assert f"{module}:{name}" == f"{middlewares.__module__}:{middlewares.__name__}"
