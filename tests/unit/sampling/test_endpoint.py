"""The endpoint engine against a real HTTP server: requests, stored results, concurrent requests, a key shown
nowhere."""

import json
import logging
import pickle
import threading
import time
import traceback
from collections.abc import Callable

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
from stillery.records import Generation, Request, to_table


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
        sampling=json.dumps(SAMPLING | {"top_k": 5}, sort_keys=True), attempt=0, surplus=False, error=None,
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
