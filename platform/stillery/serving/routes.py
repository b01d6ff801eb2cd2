"""The routes of an endpoint: parse a request, call the model, build the reply."""

import asyncio
import hashlib
from importlib.resources import files
from math import ceil
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from stillery.serving.backend import EventSource, ModelBackend, ModelRefusedError, ModelReply
from stillery.serving.best_of import Answered, choose, weigh
from stillery.serving.gateway.errors import error_body
from stillery.serving.molecules import describe_trace
from stillery.serving.openai_shape import first_complaint
from stillery.serving.requests import BondsBody, ChatBody, CompletionBody, ReasonedBody
from stillery.serving.settings import ServeSettings, served_name

VERSION_HEADER = "x-stillery-model-version"
# Analysing a trace holds the interpreter lock: more at once would only make each slower.
_READERS = 2
_USUAL_BEST_OF = 8


def add_routes(app: FastAPI, settings: ServeSettings, *, backend: ModelBackend, readiness: Any) -> None:
    """Every route, and errors in OpenAI's shape."""
    add_chat_route(app, settings, backend=backend)
    _add_state_routes(app, settings, readiness)
    _add_completions_route(app, settings, backend)
    _add_bond_routes(app, settings, backend)
    if settings.ingress.page:
        _add_page(app)


def add_chat_route(app: FastAPI, settings: ServeSettings, *, backend: ModelBackend) -> None:
    """The one route that the model's replicas answer directly, with errors in OpenAI's shape."""
    _add_error_handlers(app)
    name = served_name(settings)

    @app.post("/v1/chat/completions")
    async def chat(body: ChatBody) -> Response:
        """A conversation's next message; the thinking is in `reasoning_content`."""
        _check_name(body.model, name)
        return _response(await backend.ask("chat", body.model_dump(exclude_unset=True)))


def _add_error_handlers(app: FastAPI) -> None:
    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, ModelRefusedError)
        return JSONResponse(error.body(), status_code=error.status, headers=_retry_after(error.retry_after_s))

    async def invalid(_: Request, error: Exception) -> Response:
        return JSONResponse(error_body(400, first_complaint(error)), status_code=400)

    async def plain(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse(error_body(error.status_code, str(error.detail)), error.status_code, error.headers)

    async def broken(_: Request, error: Exception) -> Response:
        return JSONResponse(error_body(500, f"the endpoint failed ({type(error).__name__})"), status_code=500)

    app.add_exception_handler(ModelRefusedError, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, plain)
    app.add_exception_handler(Exception, broken)


def _add_state_routes(app: FastAPI, settings: ServeSettings, readiness: Any) -> None:
    name = served_name(settings)
    card = {"id": name, "object": "model", "created": 0, "owned_by": "stillery"}

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the HTTP side is alive."""
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> Response:
        """Whether a model takes requests, and which; 503 until one does."""
        state = await readiness.state()
        serving = state.get("serving")
        is_ready = serving is not None and state["num_replicas"] > 0
        body = {
            "ready": is_ready,
            "model": name,
            "version": serving and serving["version"],
            "fallback": state.get("fallback", False),
            "starting": (state.get("starting") or {}).get("version"),
            "refused_versions": sorted(state.get("failed") or {}),
        }
        return JSONResponse(body, status_code=200 if is_ready else 503)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The one model that is served."""
        return {"object": "list", "data": [card]}

    @app.get("/v1/models/{model:path}")
    async def model(model: str) -> dict[str, Any]:
        """The model's card."""
        _check_name(model, name)
        return card


def _add_completions_route(app: FastAPI, settings: ServeSettings, backend: ModelBackend) -> None:
    name = served_name(settings)

    @app.post("/v1/completions")
    async def completions(body: CompletionBody) -> Response:
        """A prompt's continuation, as the model writes it."""
        _check_name(body.model, name)
        return _response(await backend.ask("completions", body.model_dump(exclude_unset=True)))


def _add_bond_routes(app: FastAPI, settings: ServeSettings, backend: ModelBackend) -> None:
    name = served_name(settings)
    readers = asyncio.Semaphore(_READERS)

    @app.post("/v1/bonds")
    async def bonds(body: BondsBody) -> dict[str, Any]:
        """The reasoning molecule of a trace: stability, conflicts, steps and bonds."""
        longest = settings.ingress.max_trace_chars
        if len(body.text) + len(body.question or "") > longest:
            raise ModelRefusedError(400, f"text and question together may have at most {longest} characters")
        async with readers:
            return await asyncio.to_thread(describe_trace, body.text, question=body.question, svg=body.svg)

    @app.post("/v1/reasoned")
    async def reasoned(body: ReasonedBody) -> Response:
        """The most stable agreed answer of `best_of` samples, and all of them with their stability."""
        _check_name(body.model, name)
        most = settings.ingress.max_best_of
        best_of = body.best_of or min(_USUAL_BEST_OF, most)
        if best_of > most:
            raise ModelRefusedError(400, f"best_of may be at most {most}")
        request = {
            "messages": [{"role": "user", "content": body.question}],
            "n": best_of,
            **body.model_dump(include={"temperature", "max_tokens", "seed"}, exclude_none=True),
        }
        reply = await backend.ask("chat", request)
        if reply.opening.status != 200 or reply.opening.body is None:
            return _response(reply)
        async with readers:
            result = await asyncio.to_thread(_choose_answer, body, reply.opening.body, name)
        return JSONResponse(result, headers={VERSION_HEADER: reply.opening.version})


def _choose_answer(body: ReasonedBody, response: dict[str, Any], name: str) -> dict[str, Any]:
    samples = [
        weigh(
            choice["index"],
            question=body.question,
            reasoning=choice["message"].get("reasoning_content"),
            answer=choice["message"].get("content"),
            finish_reason=choice["finish_reason"],
        )
        for choice in response["choices"]
    ]
    choice = choose(samples, answer_kind=body.answer_kind)
    return {
        "id": response["id"],
        "object": "reasoned.answer",
        "model": name,
        "model_version": response["model_version"],
        "answer": choice.chosen and choice.chosen.answer,
        "reasoning_content": choice.chosen and choice.chosen.reasoning,
        "stability": choice.chosen and choice.chosen.stability,
        "agreement": {"agreeing": choice.agreeing, "voting": choice.voting, "uncompared": choice.uncompared},
        "samples": [_sample(sample) for sample in samples],
        "usage": response.get("usage"),
    }


def _sample(sample: Answered) -> dict[str, Any]:
    return {
        "index": sample.index,
        "answer": sample.answer,
        "reasoning_content": sample.reasoning,
        "finish_reason": sample.finish_reason,
        "stability": sample.stability,
    }


def _add_page(app: FastAPI) -> None:
    page = files("stillery.serving").joinpath("page.html").read_text(encoding="utf-8")
    etag = f'"{hashlib.sha256(page.encode()).hexdigest()[:16]}"'

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index() -> Response:
        return HTMLResponse(page, headers={"etag": etag})


def _check_name(asked: str | None, name: str) -> None:
    if asked is not None and asked != name:
        raise ModelRefusedError(404, f"there is no model of this name; this endpoint serves {name}")


def _response(reply: ModelReply) -> Response:
    headers = {VERSION_HEADER: reply.opening.version, **_retry_after(reply.opening.retry_after_s)}
    if reply.events is None:
        return JSONResponse(reply.opening.body, status_code=reply.opening.status, headers=headers)
    return _EventStream(reply.events, headers=headers)


def _retry_after(seconds: float | None) -> dict[str, str]:
    """The header, in whole seconds; none if there is nothing to wait for."""
    return {} if seconds is None else {"retry-after": str(max(1, ceil(seconds)))}


class _EventStream(StreamingResponse):
    """A stream of events whose client may disconnect at any time, also before the first of them is sent."""

    def __init__(self, events: EventSource, *, headers: dict[str, str]) -> None:
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._events.aclose()
