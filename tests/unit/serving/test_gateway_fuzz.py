"""Random bodies, headers and paths against the gateway: never a 500, always one error format, never a secret in a
log."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillery.serving.gateway import field_checks
from stillery.serving.gateway.errors import ApiError, reshape_error
from stillery.serving.gateway.json_body import parse_body
from stillery.serving.gateway.keys import add_key
from stillery.serving.gateway.parameters import check_parameters
from stillery.serving.gateway.settings import ParameterBounds
from stillery.serving.gateway.usage import UsageReader
from support.gateway_app import House, build

FUZZ = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
SECRET = "sEcReT-PrOmPt"

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(alphabet=st.characters()),
    st.sampled_from([SECRET, "../..", "\ud800", 2**63, -1, 1e308, ""]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=8
)
FIELDS = (
    "model messages prompt n best_of max_tokens max_completion_tokens min_tokens logprobs top_logprobs temperature "
    "top_p top_k stop stop_token_ids logit_bias stream stream_options user seed tools response_format presence_penalty"
).split()
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.just("user") | SCALARS, "content": st.just(SECRET) | VALUES}), max_size=3
)
# Mostly right, so that much of it gets past the first check.
REQUESTS = st.builds(
    lambda base, extra: base | extra,
    st.fixed_dictionaries({"model": st.just("student"), "messages": MESSAGES}),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3),
)
BODIES = st.one_of(
    st.binary(max_size=200),
    VALUES.map(lambda value: json.dumps(value).encode()),
    REQUESTS.map(lambda value: json.dumps(value).encode()),
    st.builds(lambda value, cut: json.dumps(value).encode()[:cut], REQUESTS, st.integers(0, 60)),
)
# What an HTTP server lets through as a header's value.
HEADER_VALUES = st.binary(max_size=60).map(lambda value: bytes(b for b in value if b >= 32 and b != 127))
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"content-type", b"content-length", b"content-encoding", b"authorization", b"x-request-id", b"expect",
             b"transfer-encoding", b"origin", b"cookie", b"accept", b"x-other"]
        ),
        st.one_of(
            HEADER_VALUES,
            st.sampled_from([b"application/json", b"gzip", b"100-continue", b"Bearer x", b"-1", b"9" * 30, b"\xff"]),
        ),
    ),
    max_size=5,
)  # fmt: skip


def check(response: Any) -> None:
    """No answer of the server's own making is a 500, and every error has the one shape."""
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}
        assert len(response.content) < 2000


def _outcome(call: Callable[[], Any]) -> tuple[Any, ApiError | None]:
    try:
        return call(), None
    except ApiError as refusal:
        return None, refusal


@pytest.fixture
def house(tmp_path: Path) -> House:
    return build(tmp_path)


@pytest.fixture
def locked_house(tmp_path: Path) -> House:
    path = tmp_path / "keys.jsonl"
    add_key(path, "phone")
    return build(tmp_path, key_file=str(path), body_timeout_s=0.5)


@pytest.mark.slow
@FUZZ
@given(body=BODIES)
def test_no_body_breaks_the_application(house: House, caplog: pytest.LogCaptureFixture, body: bytes) -> None:
    check(house.ask(content=body, headers={"content-type": "application/json"}))
    assert house.limiter.held == 0
    assert SECRET not in house.log.read_text() + caplog.text


@FUZZ
@given(headers=HEADERS, body=BODIES)
def test_no_headers_break_the_application_or_open_it(
    locked_house: House, caplog: pytest.LogCaptureFixture, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    response = locked_house.ask(content=body, headers=headers)
    check(response)
    assert response.status_code >= 400
    assert locked_house.seen.headers == []
    written = locked_house.log.read_text() + caplog.text
    assert SECRET not in written
    assert "Bearer" not in written


@FUZZ
@given(path=st.text(alphabet=st.characters(codec="utf-8"), max_size=60), method=st.sampled_from(["GET", "POST", "PUT"]))
def test_no_path_breaks_the_application(house: House, path: str, method: str) -> None:
    response = house.ask(method, "/v1/models/" + quote(path, safe="/."))
    check(response)
    if response.status_code == 200:
        # What the application is given as a model's name is one, or nothing.
        name = response.json()["id"]
        assert not name or field_checks.model_name(name) is None
    assert {line["route"] for line in house.lines()} <= {"/v1/models/{model:path}", "unmatched"}


@FUZZ
@given(value=VALUES)
def test_what_passes_the_parser_is_plain_json(value: Any) -> None:
    body = json.dumps({"value": value}).encode()
    found, refusal = _outcome(lambda: parse_body(body, max_depth=32))
    if refusal is not None:
        assert refusal.status == 400
        return
    # Every other reader and writer of JSON takes it too.
    assert json.loads(json.dumps(found, allow_nan=False, ensure_ascii=False).encode("utf-8")) == found


@FUZZ
@given(request=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6))
def test_parameters_are_let_through_or_refused_by_name(request: dict[str, Any]) -> None:
    _, refusal = _outcome(lambda: check_parameters(request, ParameterBounds()))
    if refusal is not None:
        assert refusal.status == 400
        assert refusal.param is not None
        assert refusal.param.split("[")[0].split(".")[0] in request


@FUZZ
@given(status=st.integers(400, 599), body=BODIES)
def test_any_error_of_an_application_gets_the_shape(status: int, body: bytes) -> None:
    _, text = reshape_error(status, body)
    assert set(json.loads(text)["error"]) == {"message", "type", "param", "code"}


@FUZZ
@given(pieces=st.lists(st.binary(max_size=50) | st.sampled_from([b'data: {"usage": ', b'{"usage"', b"\n", b"}\n\n"])))
@pytest.mark.parametrize("content_type", ["text/event-stream; charset=utf-8", "application/json", "image/png", ""])
def test_no_response_breaks_the_counting_of_tokens(content_type: str, pieces: list[bytes]) -> None:
    reader = UsageReader(content_type)
    for piece in pieces:
        reader.feed(piece, last=False)
    reader.feed(b"", last=True)
    assert reader.usage.completion_tokens >= 0


@given(cuts=st.lists(st.integers(0, 80), max_size=5))
def test_tokens_are_counted_wherever_a_stream_is_cut(cuts: list[int]) -> None:
    whole = b'data: {"a": 1}\n\ndata: {"usage": {"prompt_tokens": 7, "completion_tokens": 3}}\n\n'
    reader = UsageReader("text/event-stream")
    edges = sorted({0, len(whole), *(min(cut, len(whole)) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        reader.feed(whole[start:end], last=end == len(whole))
    assert (reader.usage.prompt_tokens, reader.usage.completion_tokens, reader.usage.known) == (7, 3, True)
