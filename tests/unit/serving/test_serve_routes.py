"""The routes with a scripted model: formats, statuses, the version that answered."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from stillery.serving.backend import ModelRefusedError, ModelReply, Opening
from stillery.serving.routes import VERSION_HEADER, add_routes
from stillery.serving.settings import load_settings

QUESTION = "A bag holds 7 cards. 9 are added. How many are there?"


class ScriptedModel:
    """In place of the replicas: keeps its requests, and gives scripted answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers = ["16"]
        self.refusal: ModelRefusedError | None = None

    async def ask(self, method: str, body: dict[str, Any]) -> ModelReply:
        self.asked.append((method, body))
        if self.refusal is not None:
            raise self.refusal
        if body.get("stream"):
            return ModelReply(Opening(200, "3"), self._events())
        choices = [
            {
                "index": i,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": answer, "reasoning_content": f"7 + 9 = {answer}"},
            }
            for i, answer in enumerate(self.answers)
        ]
        return ModelReply(Opening(200, "3", {"id": "x", "choices": choices, "usage": {}, "model_version": "3"}), None)

    async def _events(self) -> AsyncGenerator[str]:
        yield 'data: {"choices": []}\n\n'
        yield "data: [DONE]\n\n"


class FixedReadiness:
    def __init__(self, state: dict[str, Any]) -> None:
        self.fixed = state

    async def state(self) -> dict[str, Any]:
        return self.fixed


SERVING = {
    "serving": {"version": "3", "source": "models:/coin/3"},
    "num_replicas": 1,
    "failed": {"4": "a secret path"},
    "starting": None,
}


def client_of(model: ScriptedModel, *, state: dict[str, Any] | None = None) -> httpx.AsyncClient:
    app = FastAPI()
    settings = load_settings({"model": "models:/coin@champion", "ingress": {"max_trace_chars": 1000, "max_best_of": 4}})
    readiness = FixedReadiness(SERVING if state is None else state)
    add_routes(app, settings, backend=model, readiness=readiness)  # type: ignore[arg-type]
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def _ask(model: ScriptedModel, path: str, body: Any) -> httpx.Response:
    async with client_of(model) as client:
        return await client.post(path, json=body)


def ask(model: ScriptedModel, path: str, body: Any) -> httpx.Response:
    return asyncio.run(_ask(model, path, body))


def get(path: str, *, state: dict[str, Any] | None = None) -> httpx.Response:
    async def fetch() -> httpx.Response:
        async with client_of(ScriptedModel(), state=state) as client:
            return await client.get(path)

    return asyncio.run(fetch())


def chat(**more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hello"}], **more}


def test_a_chat_goes_to_the_model_as_it_came_and_says_which_version_answered() -> None:
    model = ScriptedModel()
    body = chat(model="coin", temperature=0.5, chat_template_kwargs={"x": 1})
    reply = ask(model, "/v1/chat/completions", body)
    assert (reply.status_code, reply.headers[VERSION_HEADER]) == (200, "3")
    assert model.asked == [("chat", body)]


def test_a_stream_says_the_version_in_its_headers() -> None:
    reply = ask(ScriptedModel(), "/v1/chat/completions", chat(stream=True))
    assert reply.headers[VERSION_HEADER] == "3"
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("path", "body", "status", "named"),
    [
        ("/v1/chat/completions", chat(model="../../etc/passwd"), 404, "coin"),
        ("/v1/chat/completions", chat(temperature=9), 400, "temperature"),
        ("/v1/chat/completions", chat(seed=2**70), 400, "seed"),
        ("/v1/chat/completions", {"messages": []}, 400, "messages"),
        ("/v1/chat/completions", {"messages": [{"role": "root", "content": "x"}]}, 400, "role"),
        ("/v1/chat/completions", [], 400, "body"),
        ("/v1/completions", {}, 400, "prompt"),
        ("/v1/reasoned", {"question": "x", "best_of": 5}, 400, "best_of"),
        ("/v1/reasoned", {"question": "x", "nonsense": 5}, 400, "nonsense"),
        ("/v1/reasoned", {"question": "x", "answer_kind": "numbr"}, 400, "answer_kind"),
        ("/v1/bonds", {"text": "x" * 2000}, 400, "1000"),
        ("/v1/bonds", {"text": ""}, 400, "text"),
        ("/nowhere", {}, 404, "Not Found"),
    ],
)
def test_a_bad_request_is_named_in_openais_shape(path: str, body: Any, status: int, named: str) -> None:
    reply = ask(ScriptedModel(), path, body)
    assert reply.status_code == status
    assert named in reply.json()["error"]["message"]
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


def test_a_complaint_does_not_repeat_what_the_client_sent() -> None:
    reply = ask(ScriptedModel(), "/v1/chat/completions", chat(temperature="my secret prompt"))
    assert "secret" not in reply.text


def test_a_full_model_is_answered_with_a_time_to_wait() -> None:
    model = ScriptedModel()
    model.refusal = ModelRefusedError(503, "the model is busy", retry_after_s=2.0)
    reply = ask(model, "/v1/chat/completions", chat())
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "2")


def test_best_of_gives_the_most_stable_agreed_answer_and_every_sample() -> None:
    model = ScriptedModel()
    model.answers = ["18", "16", "16"]
    reply = ask(model, "/v1/reasoned", {"question": QUESTION, "best_of": 3})
    found = reply.json()
    assert (found["answer"], found["agreement"]["agreeing"], found["agreement"]["voting"]) == ("16", 2, 3)
    assert found["samples"][0]["stability"] < found["stability"]
    assert model.asked[0][1]["n"] == 3


def test_bonds_flag_a_false_claim_and_draw() -> None:
    text = "7 + 9 = 18\n<answer>18</answer>"
    found = ask(ScriptedModel(), "/v1/bonds", {"text": text, "question": QUESTION, "svg": True}).json()
    assert found["conflicts"][0]["text"] == "7 + 9 = 18"
    assert found["svg"].startswith("<svg ")
    assert found["molecule"]["atoms"][0]["text"].strip() == "7 + 9 = 18"
    right = ask(ScriptedModel(), "/v1/bonds", {"text": text.replace("18", "16"), "question": QUESTION}).json()
    assert right["stability"] > found["stability"]
    assert "svg" not in right


def test_ready_says_which_version_serves_and_keeps_reasons_to_itself() -> None:
    reply = get("/ready")
    assert reply.status_code == 200
    assert (reply.json()["version"], reply.json()["refused_versions"]) == ("3", ["4"])
    assert "secret" not in reply.text
    assert get("/ready", state={}).status_code == 503
    assert get("/ready", state={**SERVING, "num_replicas": 0}).status_code == 503


def test_the_page_is_whole_in_itself() -> None:
    page = get("/").text
    assert "</html>" in page
    assert not [mark for mark in ("src=", 'href="/', 'href="http', "@import", "http://", "https://") if mark in page]


def test_the_schema_names_every_route() -> None:
    paths = json.loads(get("/openapi.json").text)["paths"]
    assert {"/v1/chat/completions", "/v1/completions", "/v1/models", "/v1/bonds", "/v1/reasoned", "/ready"} <= set(
        paths
    )
