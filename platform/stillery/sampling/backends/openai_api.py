"""The protocol of an OpenAI-compatible server: settings, bodies, replies and errors. No network."""

import email.utils
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import environ
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from stillery.errors import UserError
from stillery.records import Message, Request
from stillery.thinking import CLOSE_THINK, OPEN_THINK

PATHS = {"chat": "chat/completions", "completions": "completions"}

# Besides 5xx, the statuses that may succeed on a retry.
TRANSIENT = (408, 409, 425, 429)

# By status or by the error's code: errors that affect every request of the run, and how the user can fix them.
_MODEL = "check teacher.model, which is {model}, and teacher.endpoint.base_url"

_CREDIT = "the account has no credit left; top it up, or use another by {key}"

REMEDIES: dict[int | str | None, str] = {
    401: "check {key}",
    402: _CREDIT,
    403: "the key of {key} may not use {model}",
    404: _MODEL,
    405: _MODEL,
    "insufficient_quota": _CREDIT,
    "model_not_found": _MODEL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIServer:
    """A server and its request settings. `base_url` ends before /chat/completions; `api_key_env` names the environment
    variable that holds the key (None: no key). Prices are per million tokens, `max_cost` in the same currency.

    A request is tried `max_attempts` times, `timeout_s` each; a 429 uses up no attempt while any request was answered
    within the last `timeout_s`. Waits double from `backoff_s` up to `max_backoff_s`; one that the server demands
    (Retry-After) is honoured up to `max_wait_s`, a longer one ends the run.
    """

    base_url: str
    model: str
    api: str = "chat"
    api_key_env: str | None = None
    concurrency: int = 16
    timeout_s: float = 600.0
    max_attempts: int = 6
    backoff_s: float = 1.0
    max_backoff_s: float = 60.0
    max_wait_s: float = 600.0
    send_seed: bool = True
    input_price: float | None = None
    output_price: float | None = None
    max_cost: float | None = None


@dataclass(frozen=True, slots=True)
class ServerReply:
    """One reply of a server. Token counts are None where it reports no usage; `logprobs` is unparsed."""

    completion: str
    finish_reason: str | None
    num_prompt_tokens: int | None
    num_tokens: int | None
    mean_logprob: float | None
    logprobs: Mapping[str, Any] = field(default_factory=dict[str, Any])


class TransientError(Exception):
    """An attempt that may succeed on a retry, after `wait_s`. `billed` says whether the server may charge for it."""

    def __init__(self, reason: str, *, status: int | None = None, billed: bool = False, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.status, self.billed, self.wait_s = status, billed, wait_s


class RequestRefusedError(Exception):
    """A request that the server refuses for good."""


class EndpointError(UserError):
    """The server cannot answer any request of this run: a wrong key, model or address, or no credit."""


def write_messages(messages: Sequence[Message]) -> str:
    """A conversation in the format of `Request.rendered` for a chat server."""
    return json.dumps([{"role": m.role, "content": m.content} for m in messages], ensure_ascii=False)


def join_thinking(thinking: str | None, answer: str | None, *, truncated: bool = False) -> str:
    """Thinking and answer, separate in their source, as one completion in the template's order.

    Thinking that was truncated before any answer stays unclosed.
    """
    answer = answer or ""
    if not thinking or not thinking.strip() or answer.lstrip().startswith(OPEN_THINK):
        return answer
    opened = f"{OPEN_THINK}\n" + thinking.strip("\n")
    return opened if truncated and not answer.strip() else f"{opened}\n{CLOSE_THINK}\n{answer.lstrip(chr(10))}"


def whole_text(text: str) -> str:
    """The text with lone surrogates replaced: half of a cut emoji is legal in JSON, but cannot be stored."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if not text.isascii() else text


def read_key(endpoint: OpenAIServer, *, key: str = "teacher.endpoint") -> str | None:
    """The key from the environment. Raises UserError if a variable is named and holds none."""
    name = endpoint.api_key_env
    if name is None:
        return None
    secret = environ.get(name, "").strip()
    if not secret or not secret.isascii() or not secret.isprintable():
        wrong = "is not set" if not secret else "holds characters that no key has"
        raise UserError(f"${name} {wrong}; put the key into it, or set {key}.api_key_env to null if none is needed")
    return secret


def proxy(base_url: str) -> str | None:
    """The proxy that the environment sets for an address. (aiohttp's own look-up would send ~/.netrc's passwords.)"""
    parts = urlsplit(base_url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def body_of(request: Request, *, endpoint: OpenAIServer, sampling: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON body of the request for one sample."""
    chat = endpoint.api == "chat"
    asked = {"messages": json.loads(request.rendered)} if chat else {"prompt": request.rendered}
    seed = {"seed": request.seed} if endpoint.send_seed else {}
    return {**{k: v for k, v in sampling.items() if k != "seed"}, **asked, **seed, "model": endpoint.model}


def read_reply(body: Any) -> ServerReply:
    """The sample in the body of a successful response. Raises ValueError if there is none."""
    try:
        choice, usage = body["choices"][0], body.get("usage") or {}
        message = choice["message"] if "message" in choice else {"content": choice["text"]}
        thinking = message.get("reasoning_content") or message.get("reasoning")
        content = message.get("content") or message.get("refusal")
        finish_reason = choice.get("finish_reason")
        completion = whole_text(join_thinking(thinking, content, truncated=finish_reason == "length"))
        scores: Mapping[str, Any] = choice.get("logprobs") or {}
        logprobs = _logprobs(scores)
        counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
    except (AttributeError, KeyError, IndexError, TypeError):
        raise ValueError("an answer without a sample") from None
    if finish_reason == "error":
        raise ValueError("a sample that failed half-way")
    mean_logprob = sum(logprobs) / len(logprobs) if logprobs else None
    return ServerReply(completion, finish_reason, counts[0], counts[1], mean_logprob, scores)


def _logprobs(given: Mapping[str, Any]) -> list[float]:
    """The sampled tokens' log-probabilities, in the format of chat completions or plain completions."""
    tokens: list[Any] = given.get("token_logprobs") or [t["logprob"] for t in given.get("content") or []]
    return [float(value) for value in tokens if value is not None]


def error_message(body: Any) -> str:
    """A server's error message, from any of the usual fields."""
    if isinstance(body, Mapping):
        inner = cast(Mapping[str, Any], body)
        for name in ("error", "message", "detail"):
            if inner.get(name):
                return error_message(inner[name])
    return " ".join(str(body).split()) or "no reason given"


def error_code(body: Any) -> str | None:
    """The machine-readable code of a server's error, if it gives one."""
    error = body.get("error") if isinstance(body, dict) else None
    return str(error["code"]) if isinstance(error, dict) and error.get("code") else None


def fault_of(
    status: int, headers: Mapping[str, str], answer: Any, *, said: str, url: str, endpoint: OpenAIServer
) -> TransientError | RequestRefusedError | UserError:
    """The meaning of a response other than 200 for the request and the run; `said` is its message, safe to show."""
    said = f"{status}: {said}"
    remedy = REMEDIES.get(error_code(answer)) or REMEDIES.get(status)
    if 300 <= status < 400:
        remedy = f"set teacher.endpoint.base_url to where {headers.get('Location')} is"
    if remedy is not None:
        name = endpoint.api_key_env
        key = f"${name} (teacher.endpoint.api_key_env)" if name else "teacher.endpoint.api_key_env, which is null"
        return EndpointError(f"{url} answered {said}; {remedy.format(key=key, model=endpoint.model)}")
    if status not in TRANSIENT and status < 500:
        return RequestRefusedError(said)
    wait_s = retry_after(headers)
    if wait_s > endpoint.max_wait_s:
        return UserError(f"{url} answered {said}, and asks to wait {wait_s:.0f} s; start again after that")
    return TransientError(said, status=status, wait_s=wait_s)


def retry_after(headers: Mapping[str, str]) -> float:
    """The seconds to wait that a server demands (Retry-After, in seconds or as a date), else 0."""
    given = headers.get("Retry-After", "")
    try:
        return max(0.0, float(given))
    except ValueError:
        parsed = email.utils.parsedate_tz(given)
        return max(0.0, email.utils.mktime_tz(parsed) - time.time()) if parsed else 0.0
