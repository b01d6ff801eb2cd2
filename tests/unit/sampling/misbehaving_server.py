"""An HTTP server that answers as ordered by a test, and requests to it through the endpoint engine."""

import contextlib
import dataclasses
import json
import queue
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from stillery.records import Generation, Message, Request
from stillery.sampling.backends.openai import EndpointEngine
from stillery.sampling.backends.openai_api import OpenAIServer, write_messages
from stillery.sampling.cost import Account

SECRET = "sk-very-secret-0123456789"
SAMPLING = {"temperature": 0.7, "max_tokens": 100, "seed": 0}


@dataclass
class Answer:
    """The server's response to one request: waits, then sends `body` (as JSON unless bytes), or part of it."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    delay_s: float = 0.0
    cut: bool = False
    close: bool = False


@dataclass(frozen=True)
class Call:
    """One request: its content, and its attempt number, counted from 1."""

    question: str
    attempt: int


def always(body: Any, **rest: Any) -> Callable[[Call], Answer]:
    """The same answer to every request."""
    return lambda _: Answer(body, **rest)


def reply(text: str = "4", *, message: Mapping[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
    """A chat completion as servers send it."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **(message or {})}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage, **rest}


def refusal(message: str, code: str | None = None) -> dict[str, Any]:
    """An error as servers send it."""
    return {"error": {"message": message, "type": "error", "code": code}}


class Server(ThreadingHTTPServer):
    """Handles each request as `behave` says."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behave: Callable[[Call], Answer] = lambda call: Answer(reply(call.question))
        self.lock = threading.Lock()
        self.attempts: Counter[str] = Counter()
        self.times: list[float] = []
        self.bodies: list[dict[str, Any]] = []
        self.authorizations: set[str | None] = set()
        self.active = self.most_active = self.abandoned = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        server = self.server
        with server.lock:
            server.times.append(time.monotonic())
            server.bodies.append(body | {"path": self.path})
            server.authorizations.add(self.headers.get("Authorization"))
            server.attempts[question] += 1
            attempt = server.attempts[question]
            server.active += 1
            server.most_active = max(server.active, server.most_active)
        answer = server.behave(Call(question, attempt))
        stayed = self.wait(answer.delay_s)
        with server.lock:
            server.active -= 1
            server.abandoned += not stayed
        if not stayed or answer.close:
            self.close_connection = True
        else:
            self.send(answer)

    def wait(self, delay_s: float) -> bool:
        """Whether the client is still there after so long."""
        until = time.monotonic() + delay_s
        while time.monotonic() < until:
            if select.select([self.connection], [], [], 0.01)[0] and self.connection.recv(1, socket.MSG_PEEK) == b"":
                return False
        return True

    def send(self, answer: Answer) -> None:
        data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if answer.cut else data)
        self.close_connection = answer.cut

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Silent."""


def endpoint(server: Server, **changes: Any) -> OpenAIServer:
    """The server as an endpoint with short time-outs, with these changes."""
    quick = OpenAIServer(
        base_url=server.url, model="m", timeout_s=5, backoff_s=0.01, max_backoff_s=0.05, max_attempts=4
    )
    return dataclasses.replace(quick, **changes)


def request(question: str, index: int = 0) -> Request:
    """One sample of a question; the question is also the prompt's identity."""
    return Request(f"{question}/{index}", question, index, 7 + index, write_messages([Message("user", question)]))


def stream(
    asked: OpenAIServer,
    requests: list[Request],
    *,
    sampling: Mapping[str, Any] = SAMPLING,
    account: Account | None = None,
) -> Iterator[Generation]:
    """The samples as they finish; raises an exception that the engine returns in place of one."""
    finished: queue.SimpleQueue[Generation | Exception] = queue.SimpleQueue()
    with contextlib.closing(EndpointEngine(asked, model_id="m-id", account=account)) as engine:
        for row in requests:
            engine.submit(row, sampling=sampling, done=finished.put)
        for _ in requests:
            result = finished.get(timeout=60)
            if isinstance(result, Exception):
                raise result
            yield result


def ask(asked: OpenAIServer, *questions: str, account: Account | None = None, **sampling: Any) -> list[Generation]:
    """All samples of `stream`, one per question, in the order in which they finish."""
    return list(stream(asked, [request(q) for q in questions], sampling=SAMPLING | sampling, account=account))
