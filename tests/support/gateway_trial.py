"""An endpoint under trial: its settings and keys; each response is judged, printed, and counted if it is wrong."""

import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from stillery.serving.gateway.keys import add_key, revoke_key
from support.endpoints import Server
from support.hostile_requests import BODY_TIMEOUT_S, MAX_MODEL_LEN, PROMPT, chat_fields
from support.raw_requests import CHAT, Answer, Case, post, request, send

ROOT = Path(__file__).parents[2]
# The limits of the keys `paced` (requests a minute, and at once) and `narrow` (requests under way).
PACED, BURST = 20, 3
STREAMS = 2
# In every response of the gateway; a response without it came from the server in front.
MARK = ("x-content-type-options", "nosniff")
LEAKS = {
    "Traceback": "a traceback",
    'File "': "a traceback",
    "root:x:": "/etc/passwd",
    f"{ROOT}/": "a path",
    f"{sys.prefix}/": "a path",
    f"{tempfile.gettempdir()}/": "a path",
    "/site-packages/": "a path",
}


def settings(key_file: Path, access_log: Path) -> list[str]:
    """Small limits for two keys, none in practice for the others, and time-outs short enough to wait for."""
    return [
        f"engine.kwargs.max_model_len={MAX_MODEL_LEN}",
        f"gateway.key_file={key_file}",
        f"gateway.access_log={access_log}",
        f"gateway.body_timeout_s={BODY_TIMEOUT_S}",
        "gateway.limits.requests_per_minute=1000000",
        "gateway.limits.burst=100000",
        f"gateway.key_limits.paced.requests_per_minute={PACED}",
        f"gateway.key_limits.paced.burst={BURST}",
        f"gateway.key_limits.narrow.concurrency={STREAMS}",
    ]


def make_keys(key_file: Path) -> dict[str, str]:
    """Keys by name: two without effective limits, two with small limits, one for the metrics, one revoked, one
    expired."""
    keys = {name: add_key(key_file, name) for name in ("open", "paced", "narrow", "revoked", "leaving")}
    revoke_key(key_file, "revoked")
    expired = add_key(key_file, "expired", lifetime_s=0.001)
    return {**keys, "expired": expired, "scraper": add_key(key_file, "scraper", scope="metrics")}


class Trial:
    """An endpoint with its keys by name, and the number of wrong results."""

    def __init__(self, server: Server, keys: dict[str, str], *, key_file: Path, access_log: Path) -> None:
        url = urlsplit(server.url)
        self.server = server
        self.address = (url.hostname or "", url.port or 0)
        self.keys = keys
        self.key_file = key_file
        self.access_log = access_log
        self.num_rows = self.num_wrong = self.num_answered = 0
        # The key, and what of it is secret.
        self.secrets = [*keys.values(), *(key.split("_", 2)[2] for key in keys.values())]

    def ask(self, part: str, case: Case) -> Answer:
        """Send a case and print its row."""
        answer = send(self.address, case.pieces, cut_off=case.cut_off, patience_s=case.patience_s)
        faults = self.judge(answer, plain=case.plain)
        if answer.outcome not in case.expected:
            message = answer.body[:200].decode(errors="replace")
            faults.append(f"expected {' or '.join(map(str, case.expected))}; it said {message!r}")
        self.row(part, case.name, f"{answer.outcome}", faults, seconds=answer.seconds)
        return answer

    def get(self, part: str, name: str, key: str | None, *expected: int, target: str = "/v1/models") -> Answer:
        return self.ask(part, Case(name, [request("GET", target, key=key)], expected))

    def chat(self, part: str, name: str, key: str, *expected: int) -> Answer:
        return self.ask(part, Case(name, [post(CHAT, chat_fields(), key=key)], expected))

    def judge(self, answer: Answer, *, plain: bool) -> list[str]:
        """The faults of a response, independent of the request. It is counted if it came through the gateway."""
        status = answer.outcome if isinstance(answer.outcome, int) else 0
        text = answer.body.decode(errors="replace")
        told = text + str(answer.headers)
        faults = [f"{what} in the answer" for leak, what in LEAKS.items() if leak in told]
        faults += ["a key in the answer"] if any(secret in told for secret in self.secrets) else []
        faults += ["the prompt in the error"] if status >= 400 and PROMPT in told else []
        faults += [f"{status}: {text[:200]!r}"] if status >= 500 and status != 503 else []
        if status in (429, 503) and not re.fullmatch("[1-9][0-9]*", answer.headers.get("retry-after", "")):
            faults.append("no Retry-After")
        marked = answer.headers.get(MARK[0]) == MARK[1]
        self.num_answered += marked
        if status and not plain and not marked:
            faults.append("no security headers")
        if status >= 400 and not plain and not _is_openai_error(text):
            faults.append(f"not OpenAI's error: {text[:200]!r}")
        return faults

    def check(self, part: str, name: str, right: bool, told: object = "") -> None:
        """A row for something other than a request."""
        self.row(part, name, str(told), [] if right else ["not so"])

    def row(self, part: str, name: str, told: str, faults: Sequence[str], *, seconds: float | None = None) -> None:
        self.num_rows += 1
        self.num_wrong += bool(faults)
        ms = "" if seconds is None else f"{seconds * 1000:.0f}"
        print(_line(part, name, told, ms, f"WRONG: {'; '.join(faults)}" if faults else ""), flush=True)

    def in_flight(self) -> int:
        """Requests in progress, from the metrics, without the request for the metrics."""
        page = send(self.address, [request("GET", "/metrics", key=self.keys["scraper"])]).body.decode()
        found = re.search(r"^stillery_http_in_flight\{[^}]*\} ([0-9.]+)$", page, re.MULTILINE)
        return int(float(found[1])) - 1 if found else -1


def header() -> str:
    """The first line of the table."""
    return _line("part", "what", "came", "ms", "")


def _line(part: str, name: str, told: str, ms: str, wrong: str) -> str:
    return f"{part:<11}{name:<64}{told:>10}{ms:>8}  {wrong}".rstrip()


def _is_openai_error(text: str) -> bool:
    try:
        error = json.loads(text)["error"]
        return set(error) == {"message", "type", "param", "code"} and bool(error["message"])
    except (ValueError, KeyError, TypeError):
        return False
