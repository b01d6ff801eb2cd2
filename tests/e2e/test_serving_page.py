"""The web page in a browser, behind the real gateway, with a scripted model."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from stillery.serving.backend import ModelRefusedError, ModelReply, Opening
from stillery.serving.gateway import LocalLimiter, install_gateway
from stillery.serving.routes import add_routes
from stillery.serving.settings import load_settings
from support.browser import BROWSER, Page, open_page

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH")

DELTAS = [
    {"role": "assistant", "content": ""},
    {"reasoning_content": "start 7\nthen picks 9: 7 + 9 = 18\n"},
    {"reasoning_content": "<b>check</b>: 18 - 9 = 9\n"},
    {"content": "18"},
]


class ScriptedModel:
    """Streams DELTAS, or refuses."""

    def __init__(self) -> None:
        self.refusal: ModelRefusedError | None = None

    async def ask(self, method: str, body: dict[str, Any]) -> ModelReply:
        if self.refusal is not None:
            raise self.refusal
        assert (method, body["stream"]) == ("chat", True)
        return ModelReply(Opening(200, "3"), self._events())

    async def _events(self) -> AsyncGenerator[str]:
        for number, delta in enumerate(DELTAS):
            reason = "stop" if number == len(DELTAS) - 1 else None
            event = f"data: {json.dumps({'choices': [{'delta': delta, 'finish_reason': reason}]})}\n\n"
            # In two pieces, as a network may deliver it.
            yield event[:20]
            await asyncio.sleep(0.02)
            yield event[20:]
        yield "data: [DONE]\n\n"


class Ready:
    async def state(self) -> dict[str, Any]:
        return {
            "serving": {"version": "3", "source": "models:/coin/3"},
            "num_replicas": 1,
            "failed": {},
            "starting": None,
        }


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel()


@pytest.fixture
def url(model: ScriptedModel) -> Iterator[str]:
    settings = load_settings({"model": "models:/coin@champion", "gateway": {"access_log": "off"}})
    app = FastAPI()
    add_routes(app, settings, backend=model, readiness=Ready())  # type: ignore[arg-type]
    install_gateway(app, settings.gateway, LocalLimiter(settings.gateway))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until = time.monotonic() + 30
        while not server.started and time.monotonic() < until:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        server.should_exit = True
        thread.join(timeout=10)


async def text_of(page: Page, name: str) -> str:
    return await page.evaluate(f"document.getElementById({json.dumps(name)}).textContent")


def test_a_problem_is_asked_and_its_reasoning_answer_and_molecule_appear(url: str) -> None:
    async def ask() -> None:
        async with open_page(url) as page:
            await page.wait_for("document.getElementById('status')?.textContent.includes('version 3')")
            await page.evaluate("document.getElementById('ask').click()")
            await page.wait_for("document.getElementById('measures').textContent.includes('stability')")
            # What a model writes is text, never markup.
            assert "<b>check</b>" in await text_of(page, "reasoning")
            assert await text_of(page, "answer") == "18"
            assert "7 + 9 = 18" in await text_of(page, "measures")
            assert await page.evaluate("document.querySelectorAll('#molecule svg circle').length") > 1
            assert await page.evaluate("document.getElementById('molecule').innerText") != ""
            assert page.complaints == []

    asyncio.run(ask())


def test_a_refusal_is_told_to_the_person(url: str, model: ScriptedModel) -> None:
    model.refusal = ModelRefusedError(503, "the model is busy; try again soon", retry_after_s=2)

    async def ask() -> None:
        async with open_page(url) as page:
            await page.wait_for("document.getElementById('status')?.textContent.includes('version 3')")
            await page.evaluate("document.getElementById('ask').click()")
            await page.wait_for("document.getElementById('error').textContent !== ''")
            assert await text_of(page, "error") == "the model is busy; try again soon (try again in 2 s)"
            assert not await page.evaluate("document.getElementById('ask').disabled")

    asyncio.run(ask())
