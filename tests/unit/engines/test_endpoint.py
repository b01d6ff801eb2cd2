"""The endpoint engine against a real HTTP server that misbehaves on order."""

import contextlib
import dataclasses
import json
import logging
import pickle
import queue
import select
import socket
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stillery.config import EndpointConfig, TeacherConfig
from stillery.engines import log
from stillery.engines.endpoint import OUTAGE, EndpointEngine, _Submitted
from stillery.engines.endpoint_api import Endpoint, EndpointError, write_messages
from stillery.engines.sources import endpoint_source
from stillery.engines.spending import Account, SpentError, cost_of
from stillery.errors import UserError
from stillery.records import Generation, Message, Request, to_table
from stillery.storage import Folder

SECRET = "sk-very-secret-0123456789"
SAMPLING = {"temperature": 0.7, "max_tokens": 100, "seed": 0}


@dataclass
class Answer:
    """What the server does with one request: waits, then sends `body` (as JSON unless bytes), or part of it."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    delay_s: float = 0.0
    cut: bool = False
    close: bool = False


@dataclass(frozen=True)
class Call:
    """One request: what it asks, and the how-many-th time, counted from 1."""

    question: str
    attempt: int


def always(body: Any, **rest: Any) -> Callable[[Call], Answer]:
    """The same answer to everything."""
    return lambda _: Answer(body, **rest)


def reply(text: str = "4", *, message: Mapping[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
    """A chat completion as servers send it."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **(message or {})}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage, **rest}


def refusal(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "error", "code": code}}


class Server(ThreadingHTTPServer):
    """Does with each request what `behave` says."""

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


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield running
        running.shutdown()


def endpoint(server: Server, **changes: Any) -> Endpoint:
    quick = Endpoint(base_url=server.url, model="m", timeout_s=5, backoff_s=0.01, max_backoff_s=0.05, max_attempts=4)
    return dataclasses.replace(quick, **changes)


def request(question: str, index: int = 0) -> Request:
    return Request(f"{question}/{index}", question, index, 7 + index, write_messages([Message("user", question)]))


def stream(
    asked: Endpoint, requests: list[Request], *, sampling: Mapping[str, Any] = SAMPLING, account: Account | None = None
) -> Iterator[Generation]:
    """The samples as they finish; raises what the engine hands back instead of one."""
    finished: queue.SimpleQueue[Generation | Exception] = queue.SimpleQueue()
    with contextlib.closing(EndpointEngine(asked, model_id="m-id", account=account)) as engine:
        for row in requests:
            engine.submit(row, sampling=sampling, done=finished.put)
        for _ in requests:
            result = finished.get(timeout=60)
            if isinstance(result, Exception):
                raise result
            yield result


def ask(asked: Endpoint, *questions: str, account: Account | None = None, **sampling: Any) -> list[Generation]:
    return list(stream(asked, [request(q) for q in questions], sampling=SAMPLING | sampling, account=account))


def test_a_sample_is_asked_for_and_kept_as_it_is(server: Server) -> None:
    (row,) = ask(endpoint(server), "2 + 2?", top_k=5)
    (body,) = server.bodies
    assert body == {
        "path": "/v1/chat/completions", "model": "m", "messages": [{"role": "user", "content": "2 + 2?"}],
        "temperature": 0.7, "max_tokens": 100, "top_k": 5, "seed": 7,
    }  # fmt: skip
    assert row == Generation(
        sample_id="2 + 2?/0", prompt_id="2 + 2?", sample_index=0, seed=7,
        rendered='[{"role": "user", "content": "2 + 2?"}]', completion="2 + 2?", finish_reason="stop",
        num_prompt_tokens=10, num_tokens=5, mean_logprob=None, model="m-id",
        sampling=json.dumps(SAMPLING | {"top_k": 5}, sort_keys=True), round=0, surplus=False, error=None,
    )  # fmt: skip
    assert server.authorizations == {None}


def test_a_rendered_prompt_goes_to_plain_completions(server: Server) -> None:
    choice = {"text": " 4", "finish_reason": "length", "logprobs": {"token_logprobs": [None, -1.0, -3.0]}}
    server.behave = always({"choices": [choice], "usage": {}})
    rows = [Request("s", "p", 0, 7, "Q: 2 + 2?\nA:")]
    (row,) = stream(endpoint(server, api="completions", send_seed=False), rows, sampling={})
    assert server.bodies == [{"path": "/v1/completions", "model": "m", "prompt": "Q: 2 + 2?\nA:"}]
    assert (row.completion, row.finish_reason, row.mean_logprob, row.num_tokens) == (" 4", "length", -2.0, 0)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_comes_before_the_answer(server: Server, name: str) -> None:
    server.behave = always(reply("\n\n4", message={name: "2 and 2\n"}))
    assert ask(endpoint(server), "q")[0].completion == "<think>\n2 and 2\n</think>\n4"


def test_reasoning_that_was_cut_off_stays_open(server: Server) -> None:
    body = reply("", message={"content": None, "reasoning_content": "2 and"})
    body["choices"][0]["finish_reason"] = "length"
    server.behave = always(body)
    (row,) = ask(endpoint(server), "q")
    assert (row.completion, row.finish_reason, row.error) == ("<think>\n2 and", "length", None)


def test_mean_logprob_of_a_chat_completion(server: Server) -> None:
    body = reply("4")
    body["choices"][0]["logprobs"] = {"content": [{"token": "4", "logprob": -0.5}, {"token": "", "logprob": -1.5}]}
    server.behave = always(body)
    assert ask(endpoint(server), "q", logprobs=True)[0].mean_logprob == -1.0


def test_half_an_emoji_can_be_stored(server: Server) -> None:
    server.behave = always(b'{"choices": [{"message": {"content": "\\ud83d"}}]}')
    rows = ask(endpoint(server), "q")
    assert rows[0].completion == "\ufffd"
    assert to_table(rows, Generation).num_rows == 1


@pytest.mark.parametrize(
    "fault",
    [
        Answer(refusal("busy"), status=503),
        Answer(b"<html>bad gateway</html>", status=502),
        Answer(refusal("slow down"), status=429),
        Answer(b"not json"),
        Answer(b"[" * 200_000),
        Answer(["not", "an", "object"]),
        Answer({"choices": []}),
        Answer({"choices": [{"message": "text"}]}),
        Answer({"choices": [{"message": {"content": "cut"}, "finish_reason": "error"}]}),
        Answer(refusal("upstream failed")),
        Answer(reply("half"), cut=True),
        Answer(reply(), close=True),
    ],
    ids=[
        "503",
        "502",
        "429",
        "garbage",
        "nested",
        "list",
        "no choices",
        "shape",
        "error in choice",
        "error in 200",
        "cut",
        "closed",
    ],
)
def test_a_passing_fault_is_tried_again(server: Server, fault: Answer) -> None:
    server.behave = lambda call: fault if call.attempt <= 2 else Answer(reply("done"))
    account = Account()
    (row,) = ask(endpoint(server), "q", account=account)
    assert (row.completion, row.error, server.attempts["q"], account.num_retries) == ("done", None, 3, 2)


def test_a_hanging_server_is_left_and_asked_again(server: Server) -> None:
    server.behave = lambda call: Answer(reply("done"), delay_s=60 if call.attempt == 1 else 0)
    started = time.monotonic()
    (row,) = ask(endpoint(server, timeout_s=0.3), "q")
    assert row.completion == "done"
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_holds_back_everyone(server: Server, as_date: bool) -> None:
    # A date has whole seconds: the one after next is between one and two seconds away.
    wait = formatdate(time.time() + 2, usegmt=True) if as_date else "0.8"
    limited = Answer(refusal("slow down"), status=429, headers={"Retry-After": wait})
    # b is under way when a is turned away; what has not been sent waits, as a does.
    server.behave = lambda call: limited if call == Call("a", 1) else Answer(reply(), delay_s=0.2)
    assert len(ask(endpoint(server, concurrency=2), "a", "b", "c", "d")) == 4
    assert server.attempts == {"a": 2, "b": 1, "c": 1, "d": 1}
    assert server.times[2] - server.times[0] >= (0.9 if as_date else 0.8)


def test_a_wait_that_is_too_long_ends_the_run_after_what_is_under_way(server: Server) -> None:
    limited = Answer(refusal("daily limit"), status=429, headers={"Retry-After": "86400"})
    server.behave = lambda call: limited if call.question == "a" else Answer(reply(), delay_s=0.3)
    rows = stream(endpoint(server), [request("a"), request("b")])
    assert next(rows).prompt_id == "b"
    with pytest.raises(UserError, match=r"429: daily limit, and asks to wait 86400 s; start again after that"):
        next(rows)


def test_the_rate_limit_at_work_uses_up_no_attempts(server: Server) -> None:
    """One slot a moment, many in the queue: none is lost, although each is turned away more often than max_attempts."""
    free = threading.Lock()

    def behave(_: Call) -> Answer:
        if not free.acquire(blocking=False):
            return Answer(refusal("rate"), status=429)
        time.sleep(0.03)
        free.release()
        return Answer(reply())

    server.behave = behave
    rows = ask(endpoint(server, concurrency=8, max_attempts=2), *(f"q{i}" for i in range(24)))
    assert [row.error for row in rows] == [None] * 24
    assert max(server.attempts.values()) > 2


def test_a_refused_prompt_is_recorded_and_its_neighbours_go_on(server: Server) -> None:
    server.behave = lambda call: (
        Answer(refusal("maximum context length is 4096"), status=400) if call.question == "long" else Answer(reply())
    )
    account = Account()
    rows = {row.prompt_id: row for row in ask(endpoint(server), "a", "long", "b", account=account)}
    assert rows["long"].error == "400: maximum context length is 4096"
    assert (rows["long"].completion, rows["long"].finish_reason, rows["long"].num_tokens) == ("", None, 0)
    assert rows["a"].error is rows["b"].error is None
    assert (server.attempts["long"], account.num_refused, account.num_answered) == (1, 1, 2)


def test_a_request_that_always_fails_is_given_up(server: Server) -> None:
    server.behave = lambda call: Answer({"detail": "boom"}, status=500) if call.question == "bad" else Answer(reply())
    rows = {row.prompt_id: row for row in ask(endpoint(server), "bad", "good")}
    assert rows["bad"].error == "gave up after 4 attempts: 500: boom"
    assert (server.attempts["bad"], rows["good"].error) == (4, None)


def test_an_outage_ends_the_run(server: Server) -> None:
    server.behave = always(b"", status=503)
    with pytest.raises(UserError, match=r"8 requests in a row failed 2 times each, the last with: 503"):
        ask(endpoint(server, max_attempts=2, concurrency=2), *(f"q{i}" for i in range(40)))
    assert OUTAGE * 2 <= sum(server.attempts.values()) <= OUTAGE * 2 + 2


def test_a_server_that_is_not_there(server: Server) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        account = Account()
        asked = endpoint(server, base_url=nowhere, max_attempts=2, input_price=1, output_price=1)
        (row,) = ask(asked, "q", account=account)
    assert row.error is not None
    assert row.error.startswith("gave up after 2 attempts: no connection (")
    assert account.cost_unreported == 0


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (401, None, r"/chat/completions answered 401: no such key; check \$THE_KEY \(teacher.endpoint.api_key_env\)"),
        (403, None, r"403: no such key; the key of \$THE_KEY .* may not use m"),
        (402, None, r"no such key; the account has no credit left; top it up, or use another by \$THE_KEY"),
        (
            429,
            "insufficient_quota",
            r"no such key; the account has no credit left; top it up, or use another by \$THE_KEY",
        ),
        (404, None, r"404: no such key; check teacher.model, which is m, and teacher.endpoint.base_url"),
        (400, "model_not_found", r"check teacher.model, which is m"),
        (308, None, r"set teacher.endpoint.base_url to where https://elsewhere/v1 is"),
    ],
)
def test_what_no_request_gets_past_ends_the_run_at_once(
    server: Server, monkeypatch: pytest.MonkeyPatch, status: int, code: str | None, message: str
) -> None:
    monkeypatch.setenv("THE_KEY", SECRET)
    wrong = Answer(refusal("no such key", code), status=status, headers={"Location": "https://elsewhere/v1"})
    server.behave = lambda call: wrong if call.question == "q0" else Answer(reply(), delay_s=60)
    started = time.monotonic()
    with pytest.raises(EndpointError, match=message):
        ask(endpoint(server, api_key_env="THE_KEY", concurrency=4, timeout_s=60), *(f"q{i}" for i in range(20)))
    assert time.monotonic() - started < 30
    assert server.attempts["q0"] == 1
    assert sum(server.attempts.values()) <= 4
    assert server.authorizations == {f"Bearer {SECRET}"}


def _wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_the_concurrency_limit_holds(server: Server) -> None:
    together = threading.Barrier(5, timeout=20)

    def behave(_: Call) -> Answer:
        together.wait()
        return Answer(reply(), delay_s=0.1)  # time for one too many to arrive

    server.behave = behave
    assert len(ask(endpoint(server, concurrency=5, timeout_s=30), *(f"q{i}" for i in range(40)))) == 40
    assert server.most_active == 5


def test_samples_come_as_they_finish_and_go_on_while_the_caller_is_busy(server: Server) -> None:
    delays = {"slow": 1.0, "quick": 0.0, "middle": 0.2}
    server.behave = lambda call: Answer(reply(), delay_s=delays[call.question])
    rows = stream(endpoint(server), [request(name) for name in delays])
    assert next(rows).prompt_id == "quick"
    # Nothing is taken meanwhile.
    _wait_for(lambda: sum(server.attempts.values()) == 3 and server.active == 0)
    assert [row.prompt_id for row in rows] == ["middle", "slow"]


def test_a_closed_iterator_leaves_no_request_running(server: Server) -> None:
    server.behave = lambda call: Answer(reply(), delay_s=0 if call.question == "q0" else 30)
    rows = stream(endpoint(server, concurrency=6), [request(f"q{i}") for i in range(50)])
    next(rows)
    _wait_for(lambda: server.active == 6)
    started = time.monotonic()
    rows.close()
    assert time.monotonic() - started < 10
    _wait_for(lambda: server.active == 0)
    assert server.abandoned == 6
    assert sum(server.attempts.values()) == 7
    assert not [thread for thread in threading.enumerate() if thread.name == "endpoint"]


def test_a_request_that_had_not_begun_gets_the_error_too(server: Server) -> None:
    """Its task is cancelled before its first step."""
    finished: queue.SimpleQueue[Generation | Exception] = queue.SimpleQueue()
    with contextlib.closing(EndpointEngine(endpoint(server), model_id="m")) as engine:
        engine.submit(request("good"), sampling=SAMPLING, done=finished.put)
        assert isinstance(finished.get(timeout=60), Generation)

        def submit_and_break() -> None:
            engine._start(_Submitted(request("late"), SAMPLING, finished.put))
            engine._break(EndpointError("the model is gone"))

        engine._loop.call_soon_threadsafe(submit_and_break)
        assert isinstance(finished.get(timeout=60), EndpointError)
    assert server.attempts["late"] == 0


def test_requests_can_be_added_while_others_run_and_after_the_engine_broke(server: Server) -> None:
    wrong = Answer(refusal("no such model"), status=404)
    server.behave = lambda call: wrong if call.question == "bad" else Answer(reply())
    finished: queue.SimpleQueue[Generation | Exception] = queue.SimpleQueue()
    engine = EndpointEngine(endpoint(server), model_id="m")
    for index in range(3):
        engine.submit(request("good", index), sampling=SAMPLING, done=finished.put)
        made = finished.get(timeout=60)
        assert isinstance(made, Generation)
        assert made.sample_index == index
    for question in ("bad", "good", "late"):
        engine.submit(request(question, 3), sampling=SAMPLING, done=finished.put)
    results = [finished.get(timeout=60) for _ in range(3)]
    engine.submit(request("later"), sampling=SAMPLING, done=finished.put)
    results.append(finished.get(timeout=60))
    errors = [result for result in results if isinstance(result, EndpointError)]
    assert len(errors) >= 2
    assert isinstance(results[2], EndpointError)
    assert server.attempts["later"] == 0
    engine.close()


def test_costs_are_those_of_the_reported_tokens(server: Server) -> None:
    asked = endpoint(server, input_price=2.0, output_price=8.0)
    account = Account()
    ask(asked, "a", "b", "c", account=account)
    assert (account.num_prompt_tokens, account.num_tokens) == (30, 15)
    assert account.cost == pytest.approx(3 * (10 * 2 + 5 * 8) / 1e6)
    assert account.cost == pytest.approx(cost_of(30, 15, endpoint=asked))
    assert account.cost_reserved == pytest.approx(0)
    assert account.cost_unreported == 0


def test_an_attempt_without_a_report_counts_with_the_most_that_it_may_cost(server: Server) -> None:
    server.behave = lambda call: Answer(reply(), cut=call.attempt == 1)
    account = Account()
    ask(endpoint(server, input_price=0.0, output_price=8.0), "a", account=account)
    assert account.cost == pytest.approx(5 * 8 / 1e6)
    assert account.cost_unreported == pytest.approx(100 * 8 / 1e6)


def test_spending_stops_below_the_cap_and_keeps_what_is_paid_for(server: Server) -> None:
    """A sample costs 5 and may cost 100: at a cap of 300 two may be under way at first, and 41 come out of it."""
    server.behave = always(reply(), delay_s=0.005)
    account = Account()
    asked = endpoint(server, input_price=0.0, output_price=1e6, max_cost=300.0, concurrency=8)
    rows = stream(asked, [request(f"q{i}") for i in range(60)], account=account)
    taken: list[Generation] = []
    with pytest.raises(SpentError, match=r"stopped before max_cost=300 is exceeded: spent 205"):
        taken.extend(rows)
    assert (len(taken), account.cost) == (41, 205)
    assert list(rows) == []
    assert server.most_active <= 3
    assert sum(server.attempts.values()) == account.num_answered == 41
    again = ask(dataclasses.replace(asked, max_cost=400.0), "more", account=account)
    assert (len(again), account.cost) == (1, 210)


def test_a_second_start_of_a_run_spends_only_what_the_first_left(server: Server, tmp_path: Path) -> None:
    """A sample costs 5 and may cost 50: a cap of 100 leaves 11 of them over both starts."""
    prices = EndpointConfig(base_url=server.url, input_price=0.0, output_price=1e6, max_cost=100.0)
    teacher = TeacherConfig(kind="endpoint", model="m", endpoint=prices)
    source = endpoint_source(teacher, logs=Folder(str(tmp_path)))
    samples: list[Generation] = []
    for start in range(2):
        with contextlib.closing(source.start()) as engine:
            for i in range(4 if start == 0 else 60):
                finished: queue.SimpleQueue[Generation | Exception] = queue.SimpleQueue()
                engine.submit(request(f"{start}.{i}"), sampling={"max_tokens": 50}, done=finished.put)
                result = finished.get(timeout=60)
                if isinstance(result, Exception):
                    assert (start, type(result)) == (1, SpentError)
                    break
                samples.append(result)
                log.append(Folder(str(tmp_path)) / "key", "block", [result])
    assert len(samples) == sum(server.attempts.values()) == 11


def test_the_key_is_nowhere(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not in rows, exceptions, the locals of their frames, logs or output, even where the server echoes it."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("THE_KEY", f" {SECRET}\n")
    asked = endpoint(server, api_key_env="THE_KEY", max_attempts=2)
    echoes = {
        "bad": Answer(refusal("x" * 290 + f" Bearer {SECRET} is not allowed"), status=400),
        "broken": Answer(f"<html>{SECRET}".encode(), status=500),
        "text": Answer(f"got {SECRET}".encode()),
        "inside": Answer(refusal(f"upstream said {SECRET}")),
        "cut": Answer(reply(), cut=True),
        "closed": Answer(reply(), close=True),
        "wrong": Answer(refusal(f"Incorrect API key provided: {SECRET}"), status=401),
    }
    server.behave = lambda call: echoes[call.question]
    said: list[str] = [repr(asked)]
    for question in echoes:
        try:
            said += [repr(row) for row in ask(asked, question)]
        except UserError as error:
            said += [repr(error.__cause__), repr(error.__context__)]
            frames = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), capture_locals=True)
            said += [str(frame.locals) for frame in frames if frame.filename != __file__]
            said += [str(error), repr(pickle.loads(pickle.dumps(error)))]
    output = capfd.readouterr()
    everything = "\n".join([*said, caplog.text, output.out, output.err])
    assert server.authorizations == {f"Bearer {SECRET}"}
    assert "[key]" in everything
    assert "sk-very" not in everything


@pytest.mark.parametrize("value", [None, "", "  \n", "kéy", "a\nb"])
def test_a_key_that_is_none_is_refused_without_showing_it(
    server: Server, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("THE_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("THE_KEY", value)
    with pytest.raises(
        UserError, match=r"\$THE_KEY (is not set|holds characters that no key has); put the key"
    ) as told:
        ask(endpoint(server, api_key_env="THE_KEY"), "q")
    assert "é" not in str(told.value)
    assert not server.bodies


@pytest.mark.parametrize(
    ("prices", "max_tokens"),
    [({}, 100), ({"input_price": 1.0}, 100), ({"input_price": 1.0, "output_price": 1.0}, None)],
)
def test_a_cap_without_a_bound_is_refused(server: Server, prices: dict[str, float], max_tokens: int | None) -> None:
    with pytest.raises(UserError, match=r"max_cost is set: it needs input_price and output_price"):
        ask(endpoint(server, max_cost=1.0, **prices), "q", max_tokens=max_tokens)
    assert not server.bodies
