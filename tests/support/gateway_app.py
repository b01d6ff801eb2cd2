"""A small application behind the gateway, a client for it, and a real server for tests that need a socket."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import BackgroundTasks, FastAPI, HTTPException
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel, ConfigDict

from stillery.serving.gateway import GatewaySettings, LimitDecision, Limiter, LocalLimiter, install_gateway

PROMPT = "a prompt that nobody may log"
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


class Turn(BaseModel):
    model_config = ConfigDict(extra="allow")
    role: str
    content: str | list[Any] | None = None


class Chat(BaseModel):
    """Strict where vLLM is strict, and open where it is open."""

    model_config = ConfigDict(extra="allow")
    model: str | None = None
    messages: list[Turn]
    stream: bool = False
    n: int = 1
    max_tokens: int | None = None


@dataclass
class Seen:
    """What the application recorded."""

    headers: list[dict[str, str]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    background: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


class CountingLimiter:
    """The local limiter, with a count of the slots in use."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._inner = LocalLimiter(settings)
        self.held = 0
        self.acquired = 0

    async def acquire(self, key_id: str) -> LimitDecision:
        decision = await self._inner.acquire(key_id)
        self.held += decision.allowed
        self.acquired += decision.allowed
        return decision

    async def release(self, key_id: str) -> None:
        self.held -= 1
        await self._inner.release(key_id)


def make_app(settings: GatewaySettings, limiter: Limiter, seen: Seen) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.get("/")
    async def page() -> HTMLResponse:
        return HTMLResponse("<p>page</p>")

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> JSONResponse:
        return JSONResponse({"ready": False}, status_code=503)

    @app.get("/v1/models/{model:path}")
    async def model_card(model: str) -> dict[str, str]:
        return {"id": model}

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(body: Chat) -> JSONResponse | StreamingResponse:
        # A tokenizer does this to every text.
        json.dumps(body.model_dump(), ensure_ascii=False).encode()
        if body.stream:
            return StreamingResponse(_events(seen), media_type="text/event-stream")
        return JSONResponse({"choices": [{"message": {"content": "4"}}], "usage": USAGE})

    @app.post("/v1/slow")
    async def slow() -> dict[str, str]:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.cancelled.append("slow")
            raise
        return {}

    @app.post("/v1/broken")
    async def broken(body: dict[str, Any]) -> None:
        raise RuntimeError(f"cannot tokenize {body['messages']}")

    @app.post("/v1/busy")
    async def busy() -> JSONResponse:
        return JSONResponse({"detail": "queue full"}, status_code=503)

    @app.post("/v1/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "I am a teapot")

    @app.post("/v1/background")
    async def background(tasks: BackgroundTasks) -> dict[str, str]:
        async def later() -> None:
            await asyncio.sleep(0.05)
            seen.background.append("done")

        tasks.add_task(later)
        return {}

    class Watch:
        """Inside the gateway: the requests that it lets through."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                seen.headers.append({k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]})
                seen.keys.append(scope["state"]["key_name"])
            await self._inner(scope, receive, send)

    app.add_middleware(Watch)
    install_gateway(app, settings, limiter)
    return app


async def _events(seen: Seen) -> AsyncIterator[bytes]:
    try:
        for index in range(4):
            yield b'data: {"choices": [{"delta": {"content": "%d"}}]}\n\n' % index
            await asyncio.sleep(0.25)
        # Cut in the middle of the event, as chunks of a stream may be.
        last = b'data: {"choices": [], "usage": ' + json.dumps(USAGE).encode() + b"}\n\n"
        yield last[:20]
        yield last[20:]
        yield b"data: [DONE]\n\n"
    except asyncio.CancelledError:
        seen.cancelled.append("stream")
        raise


@dataclass
class House:
    """An application with a gateway, and access to its internals for a test."""

    settings: GatewaySettings
    log: Path
    limiter: CountingLimiter
    seen: Seen
    app: FastAPI

    def lines(self) -> list[dict[str, Any]]:
        """The access log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def ask(self, method: str = "POST", path: str = "/v1/chat/completions", **arguments: Any) -> httpx.Response:
        """One request without a socket."""
        return self.ask_all([(method, path, arguments)])[0]

    def ask_all(self, requests: list[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
        """Requests one after another, in one event loop."""

        async def run() -> list[httpx.Response]:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway", trust_env=False) as client:
                return [await client.request(method, path, **given) for method, path, given in requests]

        return asyncio.run(run())


def build(folder: Path, **changes: Any) -> House:
    """An application with a gateway of these settings; its access log is in `folder`."""
    log = folder / "access.log"
    settings = GatewaySettings(access_log=str(log), **changes)
    limiter, seen = CountingLimiter(settings), Seen()
    return House(settings, log, limiter, seen, make_app(settings, limiter, seen))


def chat_body(**fields: Any) -> dict[str, Any]:
    return {"model": "student", "messages": [{"role": "user", "content": PROMPT}], **fields}


@contextlib.contextmanager
def serve(house: House) -> Iterator[int]:
    """Serve on a free port of loopback; yields the port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        config = uvicorn.Config(house.app, log_level="critical", lifespan="off", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        wait_until(lambda: server.started)
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join(10)


def wait_until(true: Any, seconds: float = 10.0) -> None:
    """Wait until a condition holds; fail if it does not."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


def metric(text: str, name: str, **labels: str) -> float:
    """The sum of the series with this name and these labels."""
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def check_error(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error of a response, with its format checked."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    found = response.json()
    assert set(found) == {"error"}
    assert set(found["error"]) == {"message", "type", "param", "code"}
    assert found["error"]["message"]
    return found["error"]
