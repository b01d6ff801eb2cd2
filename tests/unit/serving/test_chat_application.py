"""The application inside a model's replica: the chat route behind the gateway, wherever Serve mounts it."""

import asyncio
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from stillery.serving.backend import MODEL_ROUTE, ModelReply, Opening
from stillery.serving.chat_application import chat_application
from stillery.serving.gateway import LocalLimiter
from stillery.serving.gateway.metrics import Metrics, exposition
from stillery.serving.settings import load_settings


class Echo:
    """Repeats its prompt."""

    async def ask(self, method: str, body: dict[str, Any]) -> ModelReply:
        if body.get("user") == "one too many":
            return ModelReply(Opening(503, "3", {"error": {"message": "busy"}}, retry_after_s=7), None)
        return ModelReply(Opening(200, "3", {"asked": body, "method": method}), None)


def ask(path: str, body: dict[str, Any], metrics: Metrics) -> httpx.Response:
    settings = load_settings({"model": "models:/coin@champion", "gateway": {"access_log": "off"}})
    app = chat_application(settings, Echo(), limiter=LocalLimiter(settings.gateway), metrics=metrics)
    # Serve's prefix is the root path of its requests.
    transport = httpx.ASGITransport(app=app, root_path=MODEL_ROUTE)

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post(path, json=body)

    return asyncio.run(send())


def test_a_chat_passes_the_gateway_and_reaches_the_model() -> None:
    body = {"messages": [{"role": "user", "content": "hello"}]}
    reply = ask("/v1/chat/completions", body, Metrics())
    assert reply.json() == {"asked": body, "method": "chat"}
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_the_gateway_refuses_here_too_and_there_is_nothing_else() -> None:
    refused = ask("/v1/chat/completions", {"messages": [], "n": 10**9}, Metrics())
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "n")
    assert ask("/v1/chat/other", {}, Metrics()).status_code == 404


def test_its_counts_stand_beside_those_of_the_ingress_under_one_heading() -> None:
    here, there = Metrics(), Metrics()
    ask("/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}]}, there)
    here.refuse("key")
    text = exposition([*here.families(), *there.families()]).decode()
    assert text.count("# TYPE stillery_http_requests_total") == 1
    families = {family.name: family.samples for family in text_string_to_metric_families(text)}
    (asked,) = [s for s in families["stillery_http_requests"] if s.name.endswith("_total")]
    assert (asked.labels["route"], asked.value) == ("/v1/chat/completions", 1)
    assert [s.value for s in families["stillery_http_refused"] if s.name.endswith("_total")] == [1]


def test_a_full_model_says_when_to_try_again() -> None:
    body = {"messages": [{"role": "user", "content": "hello"}], "user": "one too many"}
    reply = ask("/v1/chat/completions", body, Metrics())
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "7")
