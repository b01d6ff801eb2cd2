"""The endpoint from its clients' side: one `stillery serve` on CPU, with real Ray Serve, vLLM and MLflow.

The embedded teacher is served, because it thinks; the registry has it as version 1 and a broken model as version 2.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from stillery.registry.promotion import promote, roll_back
from stillery.sampling.models import resolve_model
from support.endpoints import Server, stillery_endpoint
from support.registered_models import register_folder

TEACHER = Path(resolve_model("embedded:teacher"))
QUESTION = "A coin is heads up. Finn turns the coin over. Jack does not flip the coin. Is the coin still heads up?"
MESSAGES = [{"role": "user", "content": QUESTION}]
NAME = "coin"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A SQLite registry whose champion is version 1."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('registry') / 'mlflow.db'}"
    assert register_folder(NAME, TEACHER, tracking_uri=uri) == "1"
    promote(NAME, "1", tracking_uri=uri, force="the first")
    return uri


@pytest.fixture(scope="module")
def server(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    overrides = [f"tracking_uri={registry}", "fallback=null", "follow.poll_s=1", "engine.kwargs.max_model_len=1024"]
    home = tmp_path_factory.mktemp("home")
    with stillery_endpoint(f"models:/{NAME}@champion", *overrides, home=home) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60)


def test_a_whole_answer_comes_apart_into_reasoning_and_answer(client: openai.OpenAI) -> None:
    reply = client.chat.completions.with_raw_response.create(
        model=NAME, messages=MESSAGES, temperature=0, max_tokens=400, logprobs=True, top_logprobs=2
    )
    assert reply.headers["x-stillery-model-version"] == "1"
    completion = reply.parse()
    choice = completion.choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.reasoning_content.strip()  # type: ignore[attr-defined]
    assert choice.message.content
    assert "<" not in choice.message.content
    assert completion.usage is not None
    assert completion.usage.completion_tokens == len(choice.logprobs.content)  # type: ignore[union-attr]
    assert len(choice.logprobs.content[0].top_logprobs) == 2  # type: ignore[union-attr,index]


def test_a_stream_says_the_same_as_the_whole_answer(client: openai.OpenAI) -> None:
    asked = {"model": NAME, "messages": MESSAGES, "temperature": 0, "max_tokens": 400}
    whole = client.chat.completions.create(**asked).choices[0].message
    reasoning, content, usage, num_pieces = "", "", None, 0
    for event in client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        usage = event.usage or usage
        for choice in event.choices:
            reasoning += getattr(choice.delta, "reasoning_content", None) or ""
            content += choice.delta.content or ""
            num_pieces += 1
    assert (reasoning, content) == (whole.reasoning_content, whole.content)  # type: ignore[attr-defined]
    assert num_pieces > 5
    assert usage.completion_tokens > 0


def test_completions_stop_strings_and_several_choices(client: openai.OpenAI) -> None:
    reply = client.completions.create(model=NAME, prompt="1 2 3 4", max_tokens=30, n=2, seed=1, logprobs=1)
    assert len(reply.choices) == 2
    assert reply.choices[0].logprobs.token_logprobs  # type: ignore[union-attr]
    full = client.completions.create(model=NAME, prompt=QUESTION, max_tokens=30, temperature=0).choices[0].text
    stop = full[len(full) // 2]
    cut = client.completions.create(model=NAME, prompt=QUESTION, max_tokens=30, temperature=0, stop=[stop]).choices[0]
    assert cut.text == full.partition(stop)[0]
    assert cut.finish_reason == "stop"


def test_curl_reads_a_stream(server: Server) -> None:
    body = json.dumps({"messages": MESSAGES, "max_tokens": 20, "stream": True})
    command = ["curl", "-sN", f"{server.url}/v1/chat/completions", "-H", "content-type: application/json", "-d", body]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split("\n\n")
    assert lines[-2] == "data: [DONE]"
    assert json.loads(lines[0].removeprefix("data: "))["object"] == "chat.completion.chunk"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_documented_javascript_client_streams(server: Server, tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "guides" / "serving.md").read_text(encoding="utf-8")
    script = tmp_path / "ask.mjs"
    script.write_text(page.split("```js\n")[1].split("```")[0], encoding="utf-8")
    environment = {**os.environ, "STILLERY_URL": server.url}
    done = subprocess.run(
        ["node", str(script)], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"messages": MESSAGES, "model": "another"}, 404),
        ({"messages": MESSAGES, "model": "../../etc/passwd"}, 400),
        ({"messages": MESSAGES, "max_tokens": 100_000}, 400),
        ({"messages": MESSAGES, "max_tokens": 2000, "stream": True}, 400),
        ({"messages": MESSAGES, "temperature": -1}, 400),
        ({"messages": [{"role": "user", "content": "long " * 5000}]}, 400),
        ({"messages": MESSAGES, "logit_bias": {"x": "y"}}, 400),
        ({"messages": MESSAGES, "stop": 7}, 400),
        ({"messages": MESSAGES, "n": 10**9}, 400),
        ("not an object", 400),
    ],
)
def test_what_cannot_be_answered_is_the_clients_fault_in_openais_shape(
    server: Server, body: object, status: int
) -> None:
    reply = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
    assert reply.status_code == status, reply.text
    assert reply.json()["error"]["message"]
    assert "Traceback" not in reply.text


def test_best_of_and_bonds(server: Server) -> None:
    reply = httpx.post(f"{server.url}/v1/reasoned", json={"question": QUESTION, "best_of": 4}, timeout=60).json()
    assert len(reply["samples"]) == 4
    assert reply["agreement"]["agreeing"] <= reply["agreement"]["voting"] <= 4
    best = next(s for s in reply["samples"] if s["answer"] == reply["answer"])
    text = f"<think>{best['reasoning_content']}</think><answer>{best['answer']}</answer>"
    bonds = httpx.post(f"{server.url}/v1/bonds", json={"text": text, "question": QUESTION, "svg": True}, timeout=60)
    assert bonds.json()["molecule"]["atoms"]
    assert bonds.json()["svg"].startswith("<svg ")


def test_the_page_health_and_metrics_are_there(server: Server) -> None:
    page = httpx.get(f"{server.url}/")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}
    assert httpx.get(f"{server.url}/ready").json()["version"] == "1"
    assert httpx.get(f"{server.url}/metrics").status_code == 200
    assert (
        "access-control-allow-origin"
        not in httpx.get(f"{server.url}/v1/models", headers={"origin": "http://x"}).headers
    )


def test_a_client_that_leaves_frees_the_model(server: Server) -> None:
    body = json.dumps({"messages": MESSAGES, "max_tokens": 900, "ignore_eos": True, "stream": True}).encode()
    fields = f"Host: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    head = f"POST /v1/chat/completions HTTP/1.1\r\n{fields}\r\n\r\n"
    host, port = server.url.removeprefix("http://").split(":")
    for _ in range(8):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(head.encode() + body)
            connection.recv(64)
    started = time.monotonic()
    reply = httpx.post(f"{server.url}/v1/chat/completions", json={"messages": MESSAGES, "max_tokens": 8}, timeout=60)
    assert reply.status_code == 200
    assert time.monotonic() - started < 10


def test_versions_change_under_load_without_a_failed_request_and_a_broken_one_is_refused(
    server: Server, registry: str, tmp_path: Path
) -> None:
    """Version 2 has no config; version 3 is the teacher again."""
    broken = tmp_path / "broken"
    shutil.copytree(TEACHER, broken)
    (broken / "config.json").unlink()
    assert register_folder(NAME, broken, tracking_uri=registry) == "2"
    assert register_folder(NAME, TEACHER, tracking_uri=registry) == "3"
    load = subprocess.Popen(
        [sys.executable, str(Path(__file__).parents[2] / "support" / "steady_load.py"), server.url],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )
    try:
        promote(NAME, "2", tracking_uri=registry, force="to see what a broken one does")
        _wait(server, lambda state: "2" in state["refused_versions"])
        assert httpx.get(f"{server.url}/ready").json()["version"] == "1"
        assert roll_back(NAME, tracking_uri=registry).startswith(f"models:/{NAME}/1 is the champion again")
        promote(NAME, "3", tracking_uri=registry, force="works")
        # A second engine starts beside the first, which is working, on the same cores.
        _wait(server, lambda state: state["version"] == "3", within_s=400)
        time.sleep(2)
    finally:
        out, _ = load.communicate("stop\n", timeout=60)
    seen = json.loads(out)
    assert seen["failed"] == []
    assert seen["answered"]["1"] > 0
    assert seen["answered"]["3"] > 0
    assert "2" not in seen["answered"]


def _wait(server: Server, condition, *, within_s: float = 120) -> None:
    until = time.monotonic() + within_s
    state: dict[str, object] = {}
    while time.monotonic() < until:
        state = httpx.get(f"{server.url}/ready").json()
        if condition(state):
            return
        time.sleep(0.5)
    raise AssertionError(f"not within {within_s} s: {state}")
