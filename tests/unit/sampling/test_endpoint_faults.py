"""A failing server: what the endpoint engine retries, waits for, records as refused, or aborts on."""

import contextlib
import queue
import socket
import threading
import time
from email.utils import formatdate

import pytest
from misbehaving_server import (
    SAMPLING,
    SECRET,
    Answer,
    Call,
    Server,
    always,
    ask,
    endpoint,
    refusal,
    reply,
    request,
    stream,
)

from stillery.errors import UserError
from stillery.records import Generation
from stillery.sampling.backends.openai import OUTAGE, EndpointEngine, _SubmittedRequest
from stillery.sampling.backends.openai_api import EndpointError
from stillery.sampling.cost import Account


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


@pytest.mark.slow
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


def test_a_request_that_had_not_begun_gets_the_error_too(server: Server) -> None:
    """Its task is cancelled before its first step."""
    finished: queue.SimpleQueue[Generation | Exception] = queue.SimpleQueue()
    with contextlib.closing(EndpointEngine(endpoint(server), model_id="m")) as engine:
        engine.submit(request("good"), sampling=SAMPLING, done=finished.put)
        assert isinstance(finished.get(timeout=60), Generation)

        def submit_and_break() -> None:
            engine._start(_SubmittedRequest(request("late"), SAMPLING, finished.put))
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
