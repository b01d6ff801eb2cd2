"""A headless Chromium driven by a test: open a page, run expressions in it, take a screenshot."""

import asyncio
import base64
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
_STARTS_WITHIN_S = 60.0
# Only this machine's name is resolved: a page that requests anything elsewhere fails.
_FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-dev-shm-usage", "--remote-debugging-port=0", "--window-size=900,1300",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip


class Page:
    """An open page, over Chromium's debugging protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._last_id = 0
        self.complaints: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command's result; errors logged by the page meanwhile are kept in `complaints`."""
        self._last_id += 1
        await self._socket.send_json({"id": self._last_id, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json(timeout=60)
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.complaints.append(message["params"]["entry"]["text"])
            if message.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(message["params"]["exceptionDetails"]["text"])
            if message.get("id") == self._last_id:
                return message["result"]

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        reply = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return reply["result"].get("value")

    async def wait_for(self, expression: str, *, within_s: float = 60.0) -> None:
        """Raise TimeoutError unless the expression becomes true."""
        async with asyncio.timeout(within_s):
            while not await self.evaluate(expression):
                await asyncio.sleep(0.2)

    async def picture(self) -> bytes:
        """The page as a PNG."""
        return base64.b64decode((await self.call("Page.captureScreenshot", captureBeyondViewport=True))["data"])


@contextlib.asynccontextmanager
async def open_page(url: str) -> AsyncIterator[Page]:
    """A page in its own browser, with a temporary profile."""
    assert BROWSER is not None
    # Its helpers may still write to the profile for a moment after it has ended.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            *(BROWSER, *_FLAGS, f"--user-data-dir={profile}", "about:blank"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(await _socket_of(session, Path(profile)), max_msg_size=0) as socket,
            ):
                page = Page(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await page.call(f"{domain}.enable")
                await page.call("Page.navigate", url=url)
                yield page
        finally:
            process.terminate()
            await process.wait()


async def _socket_of(session: aiohttp.ClientSession, profile: Path) -> str:
    """The address of the first page's debugging socket; the browser writes its port to the profile."""
    async with asyncio.timeout(_STARTS_WITHIN_S):
        ports = profile / "DevToolsActivePort"
        # Two lines, the port and a path; the file is there before they are.
        while not (ports.is_file() and len(lines := ports.read_text().splitlines()) == 2):
            await asyncio.sleep(0.1)
        port = lines[0]
        while True:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as reply:
                pages = [target for target in await reply.json() if target["type"] == "page"]
            if pages:
                return pages[0]["webSocketDebuggerUrl"]
            await asyncio.sleep(0.1)
