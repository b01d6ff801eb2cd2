"""Runs the application for one request, until it has responded, the client disconnects, or time is up."""

import asyncio

from stillery.serving.gateway.asgi import App, Message, Receive, Scope
from stillery.serving.gateway.bodies import ClientLeftError
from stillery.serving.gateway.errors import server_error
from stillery.serving.gateway.exchange import Exchange


async def run_application(
    app: App, scope: Scope, content: bytes, receive: Receive, exchange: Exchange, *, timeout_s: float
) -> None:
    """Pass a request with the body `content` to `app`, whose response goes to `exchange`.

    The application is cancelled when the client disconnects before the response is complete (raises ClientLeftError)
    and after `timeout_s` seconds (raises an ApiError of status 504). Its own exceptions propagate.
    """
    over = asyncio.Event()
    serving = asyncio.ensure_future(app(scope, _replay(content, over), exchange.send))
    watching = asyncio.create_task(_watch(receive))
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.wait({serving, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done() and not exchange.finished:
                raise ClientLeftError
            # A complete response may be followed by background work of the application.
            await asyncio.wait({serving})
    except TimeoutError:
        # Only the limit above raises it: an exception of the application stays in `serving`.
        if not exchange.finished:
            raise server_error(504, reason="timeout") from None
    finally:
        over.set()
        serving.cancel()
        watching.cancel()
        # Wait until the application has released its resources; its exception is handled below.
        await asyncio.gather(serving, watching, return_exceptions=True)
    if exchange.finished and serving.cancelled():
        return
    if serving.cancelled():
        raise server_error(503, reason="cancelled", retry_after_s=1)
    serving.result()
    if not exchange.status:
        raise RuntimeError("the application returned without an answer")


def _replay(content: bytes, over: asyncio.Event) -> Receive:
    """`receive` for the application: the whole body at once, then the end of the request when `over` is set."""
    messages: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await over.wait()
        return {"type": "http.disconnect"}

    return receive


async def _watch(receive: Receive) -> None:
    """Return when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass
