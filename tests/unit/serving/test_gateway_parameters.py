"""Bodies and parameters: the accepted ones, and those with a 400 that names the field."""

import json
from typing import Any

import pytest

from stillery.serving.gateway.errors import ApiError, reshape_error
from stillery.serving.gateway.json_body import parse_body
from stillery.serving.gateway.parameters import check_parameters
from stillery.serving.gateway.settings import ParameterBounds

BOUNDS = ParameterBounds(max_total_tokens=20000)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"a": 1}x', "not valid JSON"),
        (b"[1]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b'{"a": "\xff"}', "not valid UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "not valid UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not valid UTF-8"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b'{"a": 1, "a": 2}', "occurs twice"),
        (b'{"a": {"b": 1, "b": 1}}', "occurs twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too long"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 100_000, "nested"),
        (b'{"a": ' + b"[" * 32 + b"]" * 32 + b"}", "nested"),
    ],
)
def test_a_bad_body_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(ApiError, match=message) as refusal:
        parse_body(body, max_depth=32)
    assert refusal.value.status == 400


def test_a_good_body_is_read_as_it_is() -> None:
    body: dict[str, Any] = {"é": ["😀", 1, 1.5, None, True, {"b": []}], "deep": []}
    inner = body["deep"]
    for _ in range(30):
        inner.append([])
        inner = inner[0]
    assert parse_body(json.dumps(body).encode(), max_depth=32) == body
    assert parse_body(json.dumps(body, ensure_ascii=False).encode(), max_depth=32) == body


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 0), ("n", 17), ("n", -1), ("n", "2"), ("n", True), ("n", 1.0), ("n", 10**30), ("n", []),
        ("best_of", 1000), ("max_tokens", 0), ("max_tokens", 8193), ("max_completion_tokens", -5),
        ("min_tokens", -1), ("logprobs", 21), ("logprobs", -1), ("top_logprobs", 10**9), ("prompt_logprobs", -1),
        ("temperature", -0.1), ("temperature", 2.1), ("temperature", "hot"), ("top_p", 0), ("top_p", 1.1),
        ("min_p", -1), ("top_k", -2), ("top_k", 2**63), ("presence_penalty", 2.5), ("frequency_penalty", -1e300),
        ("repetition_penalty", 0), ("repetition_penalty", 1e9), ("seed", 2**63), ("seed", "x"),
        ("stop", ["x"] * 17), ("stop", "x" * 257), ("stop", [1]), ("stop", {"a": 1}), ("stop_token_ids", [2**31]),
        ("stop_token_ids", list(range(257))), ("stop_token_ids", [True]), ("bad_words", "x"),
        ("logit_bias", {"1": 101}), ("logit_bias", {"x": 1}), ("logit_bias", {str(i): 1 for i in range(301)}),
        ("logit_bias", [1]), ("stream", "yes"), ("stream_options", True), ("user", "u" * 513),
        ("model", "../../etc/passwd"), ("model", "/etc/passwd"), ("model", "a//b"), ("model", "a\\b"),
        ("model", "a\0b"), ("model", "a%2e%2e"), ("model", "m" * 201), ("model", ""), ("model", 5), ("model", "a b"),
        ("model", "a/../b"), ("model", "file:///etc/passwd"), ("model", "modèle"), ("model", "a\n"),
        ("messages", []), ("messages", "hello"), ("messages", [{"role": "user"}] * 257),
        ("prompt", []), ("prompt", {}), ("prompt", ["a"] * 17), ("prompt", [[1], "x", 3]), ("prompt", [[]]),
        ("prompt", [-1]), ("prompt", [1.5]), ("prompt", [[2**40]]), ("prompt", 5),
        ("chat_template", "{{ x }}"), ("structured_outputs", {"regex": "(a+)+"}), ("priority", -1),
        ("response_format", {"type": "json_schema"}), ("use_beam_search", True), ("vllm_xargs", {"a": 1}),
        ("prompt_embeds", "AAAA"), ("tools", [{}]),
    ],
)  # fmt: skip
def test_an_absurd_parameter_is_named(field: str, value: Any) -> None:
    with pytest.raises(ApiError) as refusal:
        check_parameters({field: value}, BOUNDS)
    assert (refusal.value.status, refusal.value.param) == (400, field)
    assert field in refusal.value.message


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (["hi"], "messages[0]"),
        ([{"role": 5}], "messages[0].role"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": "user", "content": "x"}, {"role": "user", "content": 7}], "messages[1].content"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://10.0.0.1/"}}]}],
         "messages[0].content"),
        ([{"role": "user", "content": [{"type": "text", "text": "x", "image_url": "y"}]}], "messages[0].content"),
        ([{"role": "user", "content": [None]}], "messages[0].content"),
    ],
)  # fmt: skip
def test_a_bad_message_is_named(messages: list[Any], param: str) -> None:
    with pytest.raises(ApiError) as refusal:
        check_parameters({"messages": messages}, BOUNDS)
    assert refusal.value.param == param


def test_what_all_samples_may_make_together_is_bounded() -> None:
    check_parameters({"n": 4, "max_tokens": 5000}, BOUNDS)
    for request, field in [
        ({"n": 4, "max_tokens": 5001}, "max_tokens"),
        ({"best_of": 5, "n": 1, "max_completion_tokens": 5000}, "max_completion_tokens"),
        ({"prompt": ["a", "b", "c"], "max_tokens": 7000}, "max_tokens"),
        ({"prompt": [[1], [2], [3]], "max_tokens": 7000}, "max_tokens"),
    ]:
        with pytest.raises(ApiError) as refusal:
            check_parameters(request, BOUNDS)
        assert refusal.value.param == field


def test_what_ordinary_clients_send_is_let_through() -> None:
    check_parameters(
        {
            "model": "models:/stillery-student@champion",
            "messages": [
                {"role": "system", "content": "Think."},
                {"role": "user", "content": [{"type": "text", "text": "2+2?"}]},
                {"role": "assistant", "content": None},
            ],
            "n": None, "temperature": 0, "top_p": 1, "max_tokens": 512, "stop": ["\n", "</answer>"], "seed": -5,
            "logprobs": True, "top_logprobs": 5, "stream": True, "stream_options": {"include_usage": True},
            "logit_bias": {"42": -100}, "response_format": {"type": "text"}, "tools": [], "user": "u-1",
            "presence_penalty": -2, "frequency_penalty": 2, "top_k": -1,
        },
        BOUNDS,
    )  # fmt: skip
    check_parameters({"prompt": [1, 2, 3], "logprobs": 5, "echo": True, "stop": "x"}, BOUNDS)
    check_parameters({"prompt": ["a", "b"]}, BOUNDS)


@pytest.mark.parametrize(
    ("status", "body", "expected", "message", "param"),
    [
        (422, b'{"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "Field required", "input": "SECRET"}]}',
         400, "messages.0.role: Field required", "messages.0.role"),
        (404, b'{"detail": "Not Found"}', 404, "Not Found", None),
        (404, b"plain", 404, "There is nothing here.", None),
        (400, b'{"error": {"message": "m", "param": {"content": "SECRET"}, "code": 400}}', 400, "m", None),
        (400, b'{"error": {"message": "m", "param": "the whole SECRET prompt"}}', 400, "m", None),
        (400, b'{"error": {"message": "m", "param": "messages[0]", "code": "c"}}', 400, "m", "messages[0]"),
        (400, b'{"error": "SECRET"}', 400, "The request was not accepted.", None),
        (500, b'{"error": {"message": "SECRET traceback"}}', 500, "The server failed to answer this request.", None),
        (503, b'{"error": {"message": "try again soon"}}', 503, "try again soon", None),
        (503, b"[" * 100_000, 503, "The server is busy or starting; try again later.", None),
        (599, b"", 599, "The server failed to answer this request.", None),
    ],
)  # fmt: skip
def test_errors_of_an_application_get_the_one_shape(
    status: int, body: bytes, expected: int, message: str, param: str | None
) -> None:
    new_status, text = reshape_error(status, body)
    error = json.loads(text)["error"]
    assert (new_status, error["message"], error["param"]) == (expected, message, param)
    assert set(error) == {"message", "type", "param", "code"}
    assert "SECRET" not in text.decode()


def test_a_chat_without_a_length_counts_as_one_of_full_length() -> None:
    messages = [{"role": "user", "content": "?"}]
    bounds = ParameterBounds(max_tokens=8192, max_total_tokens=20000)
    check_parameters({"messages": messages, "n": 2}, bounds)
    check_parameters({"messages": messages, "n": 16, "max_tokens": 100}, bounds)
    # A completion has a default length of vLLM's, and /v1/reasoned one of ours.
    check_parameters({"prompt": "?", "n": 16}, bounds)
    check_parameters({"question": "?", "best_of": 16}, bounds)
    with pytest.raises(ApiError, match="must be given with 3 samples") as refused:
        check_parameters({"messages": messages, "n": 3}, bounds)
    assert refused.value.param == "max_tokens"
