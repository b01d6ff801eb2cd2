"""Requests that nobody should send, each with its allowed responses: the cases of the trial of an endpoint's gateway.

Prompts contain PROMPT and paths contain PATH, which must not appear in an error or a log.
"""

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

from support.raw_requests import CHAT, Case, Outcome, chunks, post, request

PROMPT = "zyxomma-prompt"
PATH = "zyxomma-path"
# Set by the trial: gateway.body_timeout_s and the engine's max_model_len.
BODY_TIMEOUT_S = 3.0
MAX_MODEL_LEN = 1024
_BIG_BODY = 100 * 2**20
_PIECE = b"x" * 2**16
_COMPLETIONS = "/v1/completions"


def chat_fields(**fields: Any) -> dict[str, Any]:
    """A chat request that a model answers at once, changed by `fields`."""
    return {"messages": [{"role": "user", "content": f"{PROMPT} is heads up."}], "max_tokens": 4, **fields}


def hostile_groups(key: str) -> dict[str, list[Case]]:
    """All cases, sent with an API key without effective limits."""
    return {
        "bodies": _malformed_bodies(key) + _cut_bodies(key),
        "sizes": _large_bodies(key),
        "slow": _slow_bodies(key),
        "head": _heads(key),
        "parameters": _parameters(key),
        "engine": _engine(key),
        "models": _model_names(key),
        "routes": _routes(key),
        "types": _content_types(key),
        "framing": _framing(key),
        "Ray": _headers_of_ray(key),
    }


def _malformed_bodies(key: str) -> list[Case]:
    text = json.dumps(chat_fields())
    bodies = {
        "no JSON": f"{PROMPT}".encode(),
        "JSON without its end": text[:-1].encode(),
        "two JSON values": (text + text).encode(),
        "not an object": b"[1, 2]",
        "bad UTF-8": b'{"messages": "' + PROMPT.encode() + b' \xff\xfe"}',
        "UTF-16": text.encode("utf-16"),
        "half a surrogate pair": text.replace(PROMPT, rf"{PROMPT} \ud800").encode(),
        "a key twice": (text[:-1] + ', "max_tokens": 5}').encode(),
        "50 levels deep": (text[:-1] + ', "user": ' + "[" * 50 + "]" * 50 + "}").encode(),
        "100,000 brackets": b"[" * 100_000,
        "100,000 objects": b'{"a":' * 100_000,
        "temperature NaN": (text[:-1] + ', "temperature": NaN}').encode(),
        "temperature 1e999": (text[:-1] + ', "temperature": 1e999}').encode(),
        "seed of 5,000 digits": (text[:-1] + ', "seed": ' + "9" * 5000 + "}").encode(),
        "nothing": b"",
    }
    return [Case(name, [request("POST", CHAT, key=key, body=body)], (400,)) for name, body in bodies.items()]


def _cut_bodies(key: str) -> list[Case]:
    whole = post(CHAT, chat_fields(), key=key)
    # Nobody is there to read an answer: the server may close, or answer that the body is not whole.
    return [
        Case(name, [whole[:length]], ("closed", 400), plain=True, cut_off=True)
        for name, length in [("cut off in the body", len(whole) - 20), ("cut off in the headers", 40)]
    ]


def _large_bodies(key: str) -> list[Case]:
    count = _BIG_BODY // len(_PIECE)
    declared = request("POST", CHAT, key=key, body=b"", headers=[f"Content-Length: {_BIG_BODY}"])
    chunked = request("POST", CHAT, key=key, body=b"", headers=["Transfer-Encoding: chunked"])
    waiting = request("POST", CHAT, key=key, body=b"", headers=[f"Content-Length: {_BIG_BODY}", "Expect: 100-continue"])
    return [
        Case("100 MiB, declared", itertools.chain([declared], itertools.repeat(_PIECE, count)), (413,)),
        Case("100 MiB, chunked", itertools.chain([chunked], chunks(itertools.repeat(_PIECE, count))), (413,)),
        Case("100 MiB, asked for first", [waiting], (413,)),
    ]


def _slow_bodies(key: str) -> list[Case]:
    head = request("POST", CHAT, key=key, body=b"", headers=["Content-Length: 1000"])

    def drip() -> Iterator[bytes]:
        yield head
        # Much longer than it may take: it ends when the answer begins.
        for _ in range(100):
            time.sleep(0.2)
            yield b" "

    patience_s = BODY_TIMEOUT_S + 4
    return [
        Case("a few bytes, then silence", [head + b'{"mess'], (408,), patience_s=patience_s),
        Case("five bytes a second", drip(), (408,), patience_s=patience_s),
    ]


def _heads(key: str) -> list[Case]:
    def get(*headers: str, target: str = "/v1/models") -> list[bytes]:
        return [request("GET", target, key=key, headers=headers)]

    return [
        Case("2,000 headers", get(*(f"X-{i}: y" for i in range(2000))), (431,)),
        Case("a header of 20 kB", get("X-Big: " + "y" * 20_000), (431,)),
        Case("a header of 1 MB", get("X-Big: " + "y" * 1_000_000), (431,)),
        Case("a query of 3 kB", get(target="/v1/models?q=" + PATH * 250), (414,)),
        Case("a path of 100 kB", get(target="/v1/" + "a" * 100_000), (414, 400), plain=True),
    ]


def _parameters(key: str) -> list[Case]:
    many = [f"{PROMPT} {i}" for i in range(10_000)]
    fields: list[dict[str, Any]] = [
        {"n": 10**9}, {"n": -1}, {"n": 0}, {"n": True}, {"n": "1"}, {"best_of": 10**6},
        {"max_tokens": 10**9}, {"max_tokens": 0}, {"max_tokens": 1.5}, {"min_tokens": 10**9},
        {"n": 16, "max_tokens": 8000},
        {"logprobs": True, "top_logprobs": 10**6}, {"prompt_logprobs": 10**6}, {"top_logprobs": -1},
        {"temperature": -1}, {"temperature": 10**300}, {"temperature": "hot"}, {"top_p": 0}, {"top_k": 2**70},
        {"seed": 2**80}, {"seed": -(2**80)}, {"seed": 0.5},
        {"stop": many}, {"stop": "x" * 10_000}, {"stop": {PROMPT: 1}}, {"bad_words": many},
        {"logit_bias": {str(i): 1 for i in range(10_000)}}, {"logit_bias": {"1": 10**9}},
        {"stop_token_ids": list(range(10_000))}, {"allowed_token_ids": [-1]},
        {"messages": []}, {"messages": PROMPT}, {"messages": [PROMPT]},
        {"messages": [{"role": "user", "content": PROMPT}] * 10_000}, {"messages": [{"role": PROMPT}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://[::1]:1/"}}]}]},
        {"stream": "yes"}, {"stream_options": PROMPT}, {"user": "x" * 10_000},
        {"chat_template": f"{{{{ {PROMPT} }}}}"}, {"tools": [{"type": "function", "function": {"name": PROMPT}}]},
        {"response_format": {"type": "json_object"}}, {"structured_outputs": {"regex": "(a+)+$"}},
        {"priority": -(10**9)}, {"kv_transfer_params": {"do_remote_prefill": True}}, {"prompt_embeds": "AAAA"},
    ]  # fmt: skip
    cases = [Case(_told(given), [post(CHAT, chat_fields(**given), key=key)], (400,)) for given in fields]
    prompts = {"10,000 prompts": many, "no prompt": [], "token ids and text": [1, PROMPT], "negative token id": [-1]}
    return cases + [
        Case(name, [post(_COMPLETIONS, {"prompt": prompt, "max_tokens": 4}, key=key)], (400,))
        for name, prompt in prompts.items()
    ]


def _engine(key: str) -> list[Case]:
    """Requests that the gateway lets through, and the model's own server must refuse or survive."""
    unknown = 10**8
    refused: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": f"{PROMPT} " * MAX_MODEL_LEN}]}, {"max_tokens": 4 * MAX_MODEL_LEN},
        {"max_tokens": 4 * MAX_MODEL_LEN, "stream": True}, {"logit_bias": {str(unknown): 1}},
        {"stop_token_ids": [unknown]}, {"allowed_token_ids": [unknown]}, {"min_tokens": 8},
    ]  # fmt: skip
    borne: list[dict[str, Any]] = [
        {"stop": [""]}, {"stop": ["\x00", "\N{ZERO WIDTH JOINER}"]}, {"bad_words": ["\x00"]}, {"tool_choice": PROMPT},
        {"prompt_logprobs": 20, "logprobs": True, "top_logprobs": 20}, {"repetition_penalty": 0.01},
        {"messages": [{"role": "assistant", "content": None}]}, {"messages": [{"role": "user", "content": ""}]},
        {"messages": [{"role": "user", "content": "\x00\u202e</think><answer><|im_end|>"}]}, {"seed": 2**63 - 1},
        {"n": 16, "temperature": 2, "min_p": 1, "top_k": 1}, {"truncate_prompt_tokens": 1}, {"temperature": 1e-300},
        {"allowed_token_ids": []},
    ]  # fmt: skip
    cases = [Case(_told(given), [post(CHAT, chat_fields(**given), key=key)], (400,)) for given in refused]
    cases += [Case(_told(given), [post(CHAT, chat_fields(**given), key=key)], (200, 400)) for given in borne]
    for name, prompt, expected in [
        ("an unknown token id", [unknown], (400,)),
        ("an empty prompt", "", (200, 400)),
        ("16 prompts, echoed", [PROMPT] * 16, (200, 400)),
    ]:
        asked = {"prompt": prompt, "max_tokens": 4, "echo": True, "logprobs": 5}
        cases.append(Case(name, [post(_COMPLETIONS, asked, key=key)], expected))
    return cases


def _model_names(key: str) -> list[Case]:
    tricky = ["../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:1/x", "a\\b", "a\0b", ""]
    unknown = ["models:/x", "models:/x@champion", "embedded:student", "some/model"]
    cases = [
        Case(f"model {name!r}", [post(CHAT, chat_fields(model=name), key=key)], (status,))
        for names, status in [(tricky, 400), (unknown, 404)]
        for name in names
    ]
    paths = {
        "../../etc/passwd": 400, "..%2f..%2fetc%2fpasswd": 400, "%252e%252e%252fetc": 400, "a%00b": 400, "%ff": 400,
        "%5c%5chost": 400, "/etc/passwd": 400, "models:/x": 404, "http:%2f%2f127.0.0.1": 400,
    }  # fmt: skip
    return cases + [
        Case(f"/v1/models/{name}", [request("GET", f"/v1/models/{name}", key=key)], (status,))
        for name, status in paths.items()
    ]


def _routes(key: str) -> list[Case]:
    asked: list[tuple[str, str, tuple[Outcome, ...], bool]] = [
        ("GET", f"/{PATH}", (404,), False), ("POST", "/v1/embeddings", (404,), False), ("GET", "/docs", (404,), False),
        ("GET", CHAT, (405,), False), ("DELETE", CHAT, (405,), False), ("TRACE", CHAT, (405,), False),
        ("OPTIONS", CHAT, (405,), False), ("GET", f"//{PATH}", (400,), True), ("GET", "/.git/config", (404,), False),
        ("GET", "/-/routes", (200, 404), True), ("GET", f"/-/{PATH}", (404,), True), ("OPTIONS", "*", (400, 404), True),
        ("BREW", CHAT, (400, 405), True), ("CONNECT", "127.0.0.1:1", (400, 404, 405), True),
    ]  # fmt: skip
    cases = [
        Case(f"{method} {target}", [request(method, target, key=key)], expected, plain=plain)
        for method, target, expected, plain in asked
    ]
    upgrade = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
    raw = request("GET", CHAT, key=key, headers=upgrade).replace(b"Connection: close", b"Connection: Upgrade")
    return [*cases, Case("a WebSocket", [raw], (403,), plain=True)]


def _content_types(key: str) -> list[Case]:
    body = json.dumps(chat_fields()).encode()
    kinds = ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "text/json", ""]
    headers = [[f"Content-Type: {kind}"] for kind in kinds]
    headers += [["Content-Type: application/json"] * 2, ["Content-Encoding: gzip"]]
    return [
        Case(", ".join(given), [request("POST", CHAT, key=key, body=body, headers=given)], (415,)) for given in headers
    ]


def _framing(key: str) -> list[Case]:
    """Requests that two servers might split differently, and bytes that are no request."""
    coded = ["Content-Length: 4", "Transfer-Encoding: chunked"]
    raws = {
        "two lengths": request("POST", CHAT, key=key, body=b"{}", headers=["Content-Length: 2", "Content-Length: 3"]),
        "length and chunks": request("POST", CHAT, key=key, body=b"0\r\n\r\n", headers=coded),
        "a length of -1": request("POST", CHAT, key=key, body=b"", headers=["Content-Length: -1"]),
        "a chunk of size ZZ": request("POST", CHAT, key=key, body=b"ZZ\r\n", headers=coded[1:]),
        "a blank before the colon": request("GET", "/v1/models", key=key, headers=["X-A : b"]),
        "bytes above ASCII in the path": request("GET", "/v1/\xff\xfe", key=key),
        "HTTP/9.9": request("GET", "/v1/models", key=key).replace(b"HTTP/1.1", b"HTTP/9.9"),
        "no HTTP": b"\x16\x03\x01\x00\xff\xfe garbage\r\n\r\n",
    }
    return [Case(name, [raw], (400, "closed"), plain=True) for name, raw in raws.items()]


def _headers_of_ray(key: str) -> list[Case]:
    """Headers that Ray Serve's proxy reads for itself before the gateway sees the request."""
    headers = {
        "X-Request-ID: \xff": (200,),
        "X-Session-ID: \xff": (200,),
        "Serve_Multiplexed_Model_Id: \xff": (200,),
        f"Serve_Multiplexed_Model_Id: {PATH}": (200,),
        "X-Request-Timeout-Seconds: nan": (200,),
        "X-Request-Timeout-Seconds: -1": (200,),
        "X-Request-Timeout-Seconds: 0.001": (200, 408),
        "X-Request-Disconnect-Disabled: ?1": (200,),
    }
    body = json.dumps(chat_fields()).encode()
    return [
        Case(ascii(line)[1:-1], [request("POST", CHAT, key=key, body=body, headers=[line])], expected, plain=True)
        for line, expected in headers.items()
    ]


def _told(fields: dict[str, Any]) -> str:
    text = ", ".join(f"{name} {json.dumps(value, ensure_ascii=True)}" for name, value in fields.items())
    return text if len(text) <= 60 else f"{text[:45]}... ({len(text):,} characters)"
