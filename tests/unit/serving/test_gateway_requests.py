"""The gateway around an application: refusals, headers, metrics and the access log, without a socket."""

import asyncio
import json
import logging
import os
import pickle
from pathlib import Path

import pytest
from starlette.middleware import Middleware

from stillery.errors import UserError
from stillery.serving.gateway import GatewaySettings, KeyLimits, LocalLimiter, install_gateway
from stillery.serving.gateway.exchange import SECURITY_HEADERS
from support.gateway_app import PROMPT, USAGE, Seen, build, chat_body, check_error, make_app, metric


def test_a_good_request_passes_unchanged(tmp_path: Path) -> None:
    house = build(tmp_path)
    response = house.ask(json=chat_body())
    assert response.status_code == 200
    assert response.json()["usage"] == USAGE
    assert (house.limiter.acquired, house.limiter.held) == (1, 0)
    assert house.ask("GET", "/v1/models/some/model").json() == {"id": "some/model"}


def test_every_response_carries_the_security_headers(tmp_path: Path) -> None:
    house = build(tmp_path, hsts=True)
    answers = house.ask_all(
        [
            ("GET", "/", {}),
            ("POST", "/v1/chat/completions", {"json": chat_body()}),
            ("POST", "/v1/chat/completions", {"content": b"{", "headers": {"content-type": "application/json"}}),
            ("GET", "/nothing", {}),
            ("GET", "/metrics", {}),
        ]
    )
    for response in answers:
        for name, value in SECURITY_HEADERS.items():
            assert response.headers[name.decode()] == value.decode()
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert response.headers["strict-transport-security"].startswith("max-age=")
        assert not any(name.startswith("access-control-") for name in response.headers)
    assert "connect-src 'self'" in answers[0].headers["content-security-policy"]
    assert "script-src" not in answers[1].headers["content-security-policy"]


def test_request_ids_are_kept_if_harmless(tmp_path: Path) -> None:
    house = build(tmp_path)
    ids = ["abc-123", "x" * 65, "a b", '"} evil', "<script>"]
    asked = [("GET", "/health", {"headers": {"x-request-id": name}}) for name in ids]
    answered = [response.headers["x-request-id"] for response in house.ask_all(asked)]
    assert answered[0] == "abc-123"
    assert all(len(name) == 32 and name.isalnum() for name in answered[1:])
    assert house.seen.headers[0]["x-request-id"] == "abc-123"
    assert [line["request_id"] for line in house.lines()] == answered


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        ({"content": b'{"a": "\xff"}'}, 400, "malformed"),
        ({"content": b"[" * 10_000}, 400, "malformed"),
        ({"content": json.dumps(chat_body(n=999)).encode()}, 400, "parameter"),
        ({"content": b"x" * 2000}, 413, "body_size"),
        ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, "content_type"),
        ({"content": b"{}", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 415, "content_type"),
        ({"content": b"{}", "headers": {"content-encoding": "gzip"}}, 415, "content_type"),
        ({"content": b"{}", "headers": {"content-length": "-1"}}, 400, "headers"),
        ({"content": b"{}", "headers": {f"x-{i}": "y" for i in range(80)}}, 431, "headers"),
        ({"content": b"{}", "headers": {"x-big": "y" * 20_000}}, 431, "headers"),
        ({"content": b"{}", "params": {"q": "y" * 3000}}, 414, "target"),
    ],
)
def test_bad_requests_are_refused_before_the_application(
    tmp_path: Path, arguments: dict[str, object], status: int, reason: str
) -> None:
    house = build(tmp_path, max_body_bytes=1000 if status == 413 else 2**20)
    headers = {"content-type": "application/json"} | arguments.pop("headers", {})
    check_error(house.ask(headers=headers, **arguments), status)
    assert house.seen.headers == []
    assert house.limiter.held == 0
    assert house.lines()[0]["refused"] == reason
    assert metric(house.ask("GET", "/metrics").text, "stillery_http_refused_total", reason=reason) == 1


@pytest.mark.parametrize(("most", "taken"), [(10**9, 100), (50_000, 50)])
def test_a_refused_body_is_drained_before_the_answer_up_to_a_limit(tmp_path: Path, most: int, taken: int) -> None:
    house = build(tmp_path, max_body_bytes=5000, max_drain_bytes=most)
    events = []

    async def receive() -> dict[str, object]:
        events.append("piece")
        return {"type": "http.request", "body": b"x" * 1000, "more_body": len(events) < 100}

    async def send(message: dict[str, object]) -> None:
        events.append(message.get("status", "body"))

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")],
    }
    asyncio.run(house.app(scope, receive, send))
    assert events == ["piece"] * taken + [413, "body"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/..%2f..%2fetc%2fpasswd",
        "/v1/models/%2e%2e/x",
        "/v1/models/%252e%252e%252fx",
        "/v1/models/a%5cb",
        "/v1/models/a%00b",
        "/v1/models/a%0ab",
        "/v1/models/%ff",
        "/v1/models//etc/passwd",
        "/v1/models/file:%2f%2f%2fetc",
    ],
)
def test_path_tricks_are_refused(tmp_path: Path, path: str) -> None:
    house = build(tmp_path)
    check_error(house.ask("GET", path), 400)
    assert house.seen.headers == []


def test_rate_and_concurrency_are_answered_with_a_time_to_wait(tmp_path: Path) -> None:
    house = build(tmp_path, limits=KeyLimits(requests_per_minute=20, burst=2, concurrency=5))
    asked = [("POST", "/v1/chat/completions", {"json": chat_body()})] * 3
    *good, refused = house.ask_all(asked)
    assert [response.status_code for response in good] == [200, 200]
    assert check_error(refused, 429)["code"] == "rate_limit_exceeded"
    assert refused.headers["retry-after"] == "3"
    # What needs no key counts towards no limit.
    assert house.ask("GET", "/health").status_code == 200


def test_a_full_replica_answers_503(tmp_path: Path) -> None:
    house = build(tmp_path, max_in_flight=2, request_timeout_s=1)

    async def run() -> list[int]:
        import httpx

        transport = httpx.ASGITransport(app=house.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            slow = [asyncio.create_task(client.post("/v1/slow")) for _ in range(2)]
            await asyncio.sleep(0.3)
            refused = await client.post("/v1/chat/completions", json=chat_body())
            check_error(refused, 503)
            assert refused.headers["retry-after"] == "2"
            ended = await asyncio.gather(*slow)
            after = await client.post("/v1/chat/completions", json=chat_body())
            return [response.status_code for response in [*ended, after]]

    assert asyncio.run(run()) == [504, 504, 200]
    assert house.limiter.held == 0


def test_a_request_that_takes_too_long_is_cancelled(tmp_path: Path) -> None:
    house = build(tmp_path, request_timeout_s=0.2)
    check_error(house.ask(path="/v1/slow"), 504)
    assert house.seen.cancelled == ["slow"]
    assert house.limiter.held == 0
    assert house.lines()[0]["refused"] == "timeout"


def test_a_stream_that_takes_too_long_ends_with_an_error_event(tmp_path: Path) -> None:
    house = build(tmp_path, request_timeout_s=0.4)
    response = house.ask(json=chat_body(stream=True))
    assert response.status_code == 200
    last = response.text.strip().split("\n\n")[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["type"] == "timeout_error"
    assert "[DONE]" not in response.text
    assert house.seen.cancelled == ["stream"]


def test_a_failing_application_tells_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    house = build(tmp_path)
    with caplog.at_level(logging.DEBUG):
        error = check_error(house.ask(path="/v1/broken", json=chat_body()), 500)
    assert error["message"] == "The server failed to answer this request."
    assert "RuntimeError" in caplog.text
    assert "gateway_app.py" in caplog.text
    assert PROMPT not in caplog.text + house.log.read_text()


def test_errors_of_the_application_get_the_one_shape(tmp_path: Path) -> None:
    house = build(tmp_path)
    assert check_error(house.ask(path="/v1/teapot"), 418)["message"] == "I am a teapot"
    missing = house.ask(json={"model": "student"})
    assert check_error(missing, 400)["param"] == "messages"
    check_error(house.ask("GET", "/nothing"), 404)
    check_error(house.ask("DELETE", "/v1/chat/completions"), 405)
    busy = house.ask(path="/v1/busy")
    check_error(busy, 503)
    assert busy.headers["retry-after"] == "2"
    # What is asked by a load balancer keeps its own form.
    ready = house.ask("GET", "/ready")
    assert (ready.status_code, ready.json()) == (503, {"ready": False})
    head = house.ask("HEAD", "/nothing")
    assert (head.status_code, head.content) == (404, b"")


def test_background_work_after_an_answer_is_finished(tmp_path: Path) -> None:
    house = build(tmp_path)
    assert house.ask(path="/v1/background").status_code == 200
    assert house.seen.background == ["done"]


def test_the_access_log_tells_what_happened_and_no_more(tmp_path: Path) -> None:
    house = build(tmp_path)
    house.ask(json=chat_body(), params={"secret": "QUERY"})
    house.ask("GET", "/v1/models/PATHPART")
    house.ask("BREW", "/no/such/PATHPART")
    lines = house.lines()
    assert lines[0] == {
        "time": lines[0]["time"],
        "request_id": lines[0]["request_id"],
        "key": "anybody",
        "method": "POST",
        "route": "/v1/chat/completions",
        "status": 200,
        "complete": True,
        "ms": lines[0]["ms"],
        "first_byte_ms": lines[0]["first_byte_ms"],
        "prompt_tokens": 7,
        "completion_tokens": 3,
    }
    assert 0 < lines[0]["first_byte_ms"] <= lines[0]["ms"]
    assert [line["route"] for line in lines[1:]] == ["/v1/models/{model:path}", "unmatched"]
    assert lines[2]["method"] == "other"
    text = house.log.read_text()
    assert not any(word in text for word in (PROMPT, "QUERY", "PATHPART", "BREW"))


def test_a_log_can_be_off_and_a_log_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = GatewaySettings(access_log="off")
    house = build(tmp_path)
    house.app = make_app(settings, LocalLimiter(settings), Seen())
    assert house.ask("GET", "/health").status_code == 200
    assert capsys.readouterr().err == ""
    settings = GatewaySettings(access_log=str(tmp_path / "none" / "log"))
    with pytest.raises(UserError, match=r"gateway\.access_log"):
        make_app(settings, LocalLimiter(settings), Seen())


def test_metrics_count_by_route_and_no_client_can_make_series(tmp_path: Path) -> None:
    house = build(tmp_path)
    house.ask(json=chat_body())
    house.ask(json=chat_body(stream=True))
    for index in range(20):
        house.ask("GET", f"/made/up/{index}")
        house.ask(f"VERB{index}", "/health")
    text = house.ask("GET", "/metrics").text
    route = "/v1/chat/completions"
    assert metric(text, "stillery_http_requests_total", route=route, method="POST", status="200") == 2
    assert metric(text, "stillery_http_requests_total", route="unmatched", method="GET", status="404") == 20
    assert metric(text, "stillery_http_requests_total", route="/health", method="other", status="405") == 20
    assert metric(text, "stillery_tokens_total", kind="completion") == 6
    assert metric(text, "stillery_http_request_seconds_count", route=route) == 2
    # The request for the metrics is itself under way.
    assert metric(text, "stillery_http_in_flight") == 1
    assert "made/up" not in text
    replica = f"-{os.getpid()}"
    assert all(f'{replica}"' in line for line in text.splitlines() if line.startswith("stillery_"))


def test_cors_is_off_unless_origins_are_named(tmp_path: Path) -> None:
    asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
    closed = build(tmp_path).ask("OPTIONS", "/v1/chat/completions", headers=asked)
    assert closed.status_code == 405
    assert "access-control-allow-origin" not in closed.headers
    house = build(tmp_path, cors_origins=["https://app.example"])
    assert house.ask("OPTIONS", "/v1/chat/completions", headers=asked).status_code == 200
    answer = house.ask(json=chat_body(), headers={"origin": "https://app.example"})
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    other = house.ask(json=chat_body(), headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    assert "access-control-allow-credentials" not in answer.headers


def test_cors_headers_of_an_application_go_no_further(tmp_path: Path) -> None:
    from fastapi import FastAPI
    from fastapi.middleware.cors import CORSMiddleware

    house = build(tmp_path)
    open_app = FastAPI()
    open_app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_credentials=True)
    install_gateway(open_app, house.settings, house.limiter)
    house.app = open_app
    answer = house.ask("GET", "/openapi.json", headers={"origin": "https://evil.example"})
    assert answer.status_code == 200
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_what_is_installed_travels_in_a_pickle(tmp_path: Path) -> None:
    house = build(tmp_path)
    gateway = house.app.user_middleware[0]
    again = pickle.loads(pickle.dumps(gateway.kwargs))
    assert again["settings"] == house.settings
    house.app.user_middleware[0] = Middleware(gateway.cls, **again)
    assert house.ask(json=chat_body()).status_code == 200


def test_web_sockets_are_closed(tmp_path: Path) -> None:
    house = build(tmp_path)
    sent = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message["type"])

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/", "headers": [], "query_string": b""}
    asyncio.run(house.app(scope, receive, send))
    assert sent == ["websocket.close"]
