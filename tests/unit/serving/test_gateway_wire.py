"""The gateway behind a real server on loopback: large and slow bodies, streams, clients that disconnect."""

import resource
import socket
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from stillery.serving.gateway import KeyLimits
from support.gateway_app import House, build, chat_body, check_error, metric, serve, wait_until

HEAD = "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=15)


def read_all(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_hundred_megabytes_are_drained_and_refused_without_being_kept(tmp_path: Path, chunked: bool) -> None:
    house = build(tmp_path)
    size, piece = 100 * 2**20, b"x" * 2**16

    def pieces() -> Any:
        for _ in range(size // len(piece)):
            yield piece

    headers = {"content-type": "application/json"} | ({} if chunked else {"content-length": str(size)})
    with serve(house) as port:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        response = httpx.post(
            f"http://127.0.0.1:{port}/v1/chat/completions", content=pieces(), headers=headers, timeout=60
        )
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    check_error(response, 413)
    assert grown < 30 * 1024, f"{grown} KiB"
    assert house.seen.headers == []


def test_a_client_that_asks_before_it_sends_is_told_at_once(tmp_path: Path) -> None:
    with serve(build(tmp_path)) as port, connect(port) as connection:
        head = f"{HEAD}Content-Length: 100000000\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"100 Continue" not in answer


def test_a_slow_sender_is_cut_off_and_gives_its_slot_back(tmp_path: Path) -> None:
    house = build(tmp_path, body_timeout_s=0.5)
    with serve(house) as port, connect(port) as connection:
        connection.sendall(f"{HEAD}Content-Length: 1000\r\n\r\n".encode())
        started = time.monotonic()
        stop = threading.Event()

        def drip() -> None:
            # One byte now and then, as slow-loris tools send.
            while not stop.wait(0.1):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        answer = connection.recv(65536)
        stop.set()
        dripping.join()
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"connection: close" in answer.lower()
        assert time.monotonic() - started < 5
        wait_until(lambda: house.limiter.held == 0)
        assert httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=chat_body()).status_code == 200


def test_slow_senders_of_one_key_do_not_shut_the_endpoint(tmp_path: Path) -> None:
    house = build(tmp_path, body_timeout_s=3, limits=KeyLimits(concurrency=3), max_in_flight=10)
    with serve(house) as port:
        slow = [connect(port) for _ in range(3)]
        for connection in slow:
            connection.sendall(f"{HEAD}Content-Length: 1000\r\n\r\n".encode())
        wait_until(lambda: house.limiter.held == 3)
        refused = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=chat_body())
        assert check_error(refused, 429)["code"] == "rate_limit_exceeded"
        for connection in slow:
            connection.close()
        wait_until(lambda: house.limiter.held == 0)
        assert httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=chat_body()).status_code == 200


def test_a_stream_is_passed_on_as_it_comes(tmp_path: Path) -> None:
    house = build(tmp_path)
    with serve(house) as port:
        arrivals = []
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        with httpx.stream("POST", url, json=chat_body(stream=True), timeout=20) as response:
            assert response.headers["x-accel-buffering"] == "no"
            for line in response.iter_lines():
                if line.startswith("data:"):
                    arrivals.append(time.monotonic())
        wait_until(house.lines)
    # Four events a quarter of a second apart, the usage, the end.
    assert len(arrivals) == 6
    assert arrivals[3] - arrivals[0] > 0.5
    line = house.lines()[0]
    assert (line["prompt_tokens"], line["completion_tokens"]) == (7, 3)
    assert line["first_byte_ms"] < line["ms"] - 500


@pytest.mark.parametrize(("path", "stream", "name"), [("chat/completions", True, "stream"), ("slow", False, "slow")])
def test_a_client_that_leaves_frees_its_slot_and_stops_the_application(
    tmp_path: Path, path: str, stream: bool, name: str
) -> None:
    house = build(tmp_path)
    with serve(house) as port:
        body = httpx.Request("POST", "http://x", json=chat_body(stream=stream)).content
        connection = connect(port)
        head = HEAD.replace("chat/completions", path)
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        if stream:
            assert connection.recv(10)
        wait_until(lambda: house.limiter.held == 1)
        connection.close()
        wait_until(lambda: house.limiter.held == 0, 5)
        wait_until(lambda: house.seen.cancelled == [name], 5)
        wait_until(house.lines)
        # The request for the metrics itself.
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert metric(text, "stillery_http_in_flight") == 1
        assert metric(text, "stillery_http_refused_total", reason="client_left") == 1
    line = house.lines()[0]
    assert (line["status"], line["complete"]) == (200 if stream else 499, False)


@pytest.mark.slow
def test_a_client_that_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    house = build(tmp_path, request_timeout_s=1)
    _add_flood(house)
    with serve(house) as port, connect(port) as connection:
        connection.sendall(b"POST /v1/flood HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\r\n")
        wait_until(lambda: house.limiter.held == 1)
        wait_until(lambda: house.limiter.held == 0, 6)
        wait_until(house.lines)
    assert house.lines()[0]["refused"] == "timeout"


def _add_flood(house: House) -> None:
    from fastapi.responses import StreamingResponse

    async def flood() -> Any:
        while True:
            yield b"data: " + b"x" * 2**16 + b"\n\n"

    @house.app.post("/v1/flood")
    async def route() -> StreamingResponse:
        return StreamingResponse(flood(), media_type="text/event-stream")


def test_a_refused_connection_can_be_used_again(tmp_path: Path) -> None:
    with serve(build(tmp_path)) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(3):
            json_type = {"content-type": "application/json"}
            check_error(client.post("/v1/chat/completions", content=b"{", headers=json_type), 400)
            assert client.post("/v1/chat/completions", json=chat_body()).status_code == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\xff\xfe garbage\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET " + b"/a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 2000 + b"\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    ],
)
def test_garbage_is_answered_without_a_500(tmp_path: Path, raw: bytes) -> None:
    house = build(tmp_path)
    with serve(house) as port:
        with connect(port) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            try:
                answer = read_all(connection)
            except ConnectionResetError:
                answer = b""
        assert not answer.startswith(b"HTTP/1.1 5")
        assert not answer.startswith(b"HTTP/1.1 2")
        assert httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
    assert house.seen.headers[:-1] == []
