"""`stillery ui` in a real browser: keys, filters, live parts, hostile traces, and no page wider than its screen."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import uvicorn

from stillery.ui.app import make_app
from stillery.ui.runs import RunList
from support.browser import BROWSER, Page, open_page
from support.ui_runs import make_ui_run

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH")

PAGES = (
    "/",
    "/runs/adder",
    "/runs/adder/samples",
    "/runs/adder/samples/p01s3",
    "/runs/adder/problems",
    "/runs/adder/problems/hostile",
    "/compare",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    make_ui_run(root / "adder")
    make_ui_run(root / "early", until="prompts")
    return root


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        app = make_app(RunList([str(root / "adder"), str(root / "early")]))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def _in_browser(url: str, act: Callable[[Page], Awaitable[None]]) -> None:
    """Do something on a page, and see that the browser has nothing to complain of: no script or style was refused."""

    async def go() -> None:
        async with open_page(url) as page:
            await page.wait_for("document.readyState === 'complete' && document.querySelector('main') !== null")
            await act(page)
            assert page.complaints == []

    asyncio.run(go())


async def _press(page: Page, *keys: str) -> None:
    for key in keys:
        text = {} if len(key) > 1 else {"text": key}
        await page.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        await page.call("Input.dispatchKeyEvent", type="keyUp", key=key)


def test_rows_are_walked_and_opened_by_keys(url: str) -> None:
    async def act(page: Page) -> None:
        await _press(page, "j", "j", "k", "j")
        here = await page.evaluate("document.activeElement.closest('tr').rowIndex")
        assert here == 2
        await page.evaluate("document.activeElement.click()")
        await page.wait_for("location.pathname.endsWith('/samples/p00s3')")
        await page.wait_for("document.readyState === 'complete' && document.querySelector('[rel=next]') !== null")
        await _press(page, "j")
        await page.wait_for("location.pathname.endsWith('/samples/p01s2')")
        await page.wait_for("document.readyState === 'complete' && document.querySelector('[rel=up]') !== null")
        await _press(page, "u")
        await page.wait_for("location.pathname.endsWith('/samples') && location.search === '?verdict=wrong'")

    _in_browser(f"{url}/runs/adder/samples?verdict=wrong", act)


def test_search_filter_and_help_by_keys(url: str) -> None:
    async def act(page: Page) -> None:
        await _press(page, "?")
        assert await page.evaluate("document.querySelector('#help').open")
        await page.evaluate("document.querySelector('#help').close()")
        await _press(page, "/")
        assert await page.evaluate("document.activeElement.name") == "q"
        await page.call("Input.insertText", text="wait, 7")
        await page.evaluate("document.activeElement.form.requestSubmit()")
        # What is empty is left out of the address.
        await page.wait_for("location.search === '?q=wait%2C+7'")
        # The script is deferred: it listens when the page is complete.
        found = "document.querySelector('[role=status]')?.textContent.startsWith('30 of 120 samples')"
        await page.wait_for(f"document.readyState === 'complete' && {found}")
        await page.evaluate("(s => { s.value = 'coins'; s.dispatchEvent(new Event('change', {bubbles: true})) })"
                            "(document.querySelector('select[name=task]'))")  # fmt: skip
        await page.wait_for(
            "location.search.includes('task=coins') && document.querySelectorAll('[data-row]').length === 10"
        )

    _in_browser(f"{url}/runs/adder/samples", act)


@pytest.mark.parametrize("page", ["/runs/adder/samples/p01s3", "/runs/adder/problems/hostile"])
def test_what_a_model_wrote_neither_runs_nor_changes_the_page(url: str, page: str) -> None:
    async def act(browser: Page) -> None:
        await asyncio.sleep(0.3)
        assert "owned" not in await browser.evaluate("document.title")
        assert await browser.evaluate("getComputedStyle(document.body).display") == "block"
        assert "<script>document.title='owned'</script>" in await browser.evaluate("document.body.textContent")

    _in_browser(url + page, act)


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_its_screen(url: str, width: int) -> None:
    async def act(browser: Page) -> None:
        await browser.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        for page in PAGES:
            await browser.call("Page.navigate", url=url + page)
            await browser.wait_for(f"document.readyState === 'complete' && location.pathname === '{page}'")
            assert await browser.evaluate("document.documentElement.scrollWidth") <= width, page
            unnamed = "[...document.querySelectorAll('input:not([type=hidden]), select, button, a[href]')]"
            unnamed += (
                ".filter(e => !(e.textContent.trim() || e.labels?.length || e.ariaLabel || e.querySelector('img')))"
            )
            assert await browser.evaluate(f"{unnamed}.map(e => e.outerHTML)") == [], page

    _in_browser(url, act)


def test_a_running_run_is_shown_as_it_goes_on(url: str, root: Path) -> None:
    lock = root / "early" / ".lock"

    async def act(page: Page) -> None:
        assert await page.evaluate("document.querySelector('#live .running').textContent.trim()") == "running"
        make_ui_run(root / "early", until="generate")
        await page.wait_for("[...document.querySelectorAll('#live .finished')].length === 2", within_s=30)

    import fcntl

    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _in_browser(f"{url}/runs/early", act)
