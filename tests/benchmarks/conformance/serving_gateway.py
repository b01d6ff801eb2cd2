#!/usr/bin/env python3
"""The gateway of a running endpoint from outside: keys, limits, hostile and random requests; then its memory and logs.

    python tests/benchmarks/conformance/serving_gateway.py [--model embedded:teacher] [--random 40] [--grown-mib 60]

Starts one endpoint on loopback with a key file and small limits for two keys. Prints one row per request (for random
ones, one per operation) with the response and what is wrong with it. No answer may be a 5xx other than 503 with
Retry-After, or contain a traceback, a path of this machine, a key or, in an error, the prompt. Exits with status 1 on
any deviation.
"""

import argparse
import collections
import json
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from stillery.serving.gateway.keys import revoke_key  # noqa: E402
from support.endpoints import stillery_endpoint  # noqa: E402
from support.gateway_trial import BURST, PACED, STREAMS, Trial, header, make_keys, settings  # noqa: E402
from support.hostile_requests import PATH, PROMPT, chat_fields, hostile_groups  # noqa: E402
from support.random_requests import operations, try_operation  # noqa: E402
from support.raw_requests import CHAT, Case, begun_stream, post, request, send, wait_until  # noqa: E402

RANDOM_WITHIN_S = 45.0
# Rounds of two bodies of 100 MiB each.
LARGE_BODIES = 5
# One of each was provoked.
REASONS = set("key rate concurrency body_size slow_body malformed parameter headers target path content_type".split())
LONG_STREAM = {"stream": True, "ignore_eos": True, "max_tokens": 900, "n": 8, "logprobs": True, "top_logprobs": 20}


def try_keys(trial: Trial) -> None:
    keys, part = trial.keys, "keys"
    trial.get(part, "none", None, 401)
    trial.get(part, "a wrong one", "stl_0123456789ab_" + "A" * 43, 401)
    trial.get(part, "an id with another's secret", keys["open"][:17] + keys["paced"][17:], 401)
    trial.get(part, "cut short", keys["open"][:-1], 401)
    for value in ("Basic YTpi", "Bearer", f"Token {keys['open']}", f"Bearer {keys['open']} x", "Bearer \xff", ""):
        raw = request("GET", "/v1/models", headers=[f"Authorization: {value}"])
        trial.ask(part, Case(f"Authorization: {ascii(value.replace(keys['open'], 'KEY'))[1:-1]}", [raw], (401,)))
    twice = request("GET", "/v1/models", key=keys["open"], headers=[f"Authorization: Bearer {keys['open']}"])
    trial.ask(part, Case("two headers", [twice], (401,)))
    trial.get(part, "in the query", None, 401, target=f"/v1/models?api_key={keys['open']}")
    trial.get(part, "revoked before the start", keys["revoked"], 401)
    trial.get(part, "expired", keys["expired"], 401)
    trial.get(part, "revoked soon", keys["leaving"], 200)
    revoke_key(trial.key_file, "leaving")
    time.sleep(1.2)
    trial.get(part, "revoked a second ago", keys["leaving"], 401)
    trial.chat(part, "the metrics' key for a chat", keys["scraper"], 403)
    trial.get(part, "an API key for the metrics", keys["open"], 403, target="/metrics")
    trial.get(part, "none for the metrics", None, 401, target="/metrics")
    trial.get(part, "the metrics' key for the metrics", keys["scraper"], 200, target="/metrics")
    for path in ("/", "/health", "/ready"):
        trial.get(part, f"none for {path}", None, 200, target=path)


def try_limits(trial: Trial) -> None:
    open_key, paced, narrow, part = trial.keys["open"], trial.keys["paced"], trial.keys["narrow"], "limits"
    for number in range(BURST):
        trial.get(part, f"{number + 1} of {BURST} at once", paced, 200)
    refused = trial.get(part, "one more", paced, 429)
    wait_s = int(refused.headers.get("retry-after", "0"))
    trial.check(part, "Retry-After is as long as it takes", 1 <= wait_s <= 60 / PACED, f"{wait_s} s")
    trial.get(part, "another key meanwhile", open_key, 200)
    time.sleep(wait_s)
    trial.get(part, "after that time", paced, 200)
    raw = post(CHAT, chat_fields(**LONG_STREAM), key=narrow)
    with begun_stream(trial.address, raw) as first, begun_stream(trial.address, raw) as second:
        trial.check(part, f"{STREAMS} streams of a key", first == second == 200, f"{first}, {second}")
        trial.chat(part, "one more request", narrow, 429)
        trial.chat(part, "another key meanwhile", open_key, 200)
    left = wait_until(lambda: trial.in_flight() == 0, within_s=15)
    trial.check(part, "streams whose clients left are over", left, f"{trial.in_flight()} left")
    trial.chat(part, "a request of that key", narrow, 200)


def try_bad_clients(trial: Trial) -> None:
    """Clients that do not read, that never finish their headers, that leave."""
    open_key, part = trial.keys["open"], "clients"
    with begun_stream(trial.address, post(CHAT, chat_fields(**LONG_STREAM), key=open_key)) as status:
        # Longer than it takes to fill what lies before the client.
        time.sleep(4)
        trial.chat(part, "while a stream is not read", open_key, 200)
    trial.check(part, "the stream had begun", status == 200, status)
    idle = [socket.create_connection(trial.address, timeout=5) for _ in range(50)]
    for connection in idle:
        connection.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: gateway\r\nX-".encode())
    trial.chat(part, "beside 50 that never finish their headers", open_key, 200)
    for connection in idle:
        connection.close()
    for _ in range(8):
        with begun_stream(trial.address, post(CHAT, chat_fields(**LONG_STREAM), key=open_key)):
            pass
    trial.chat(part, "after 8 that left their streams", open_key, 200)
    left = wait_until(lambda: trial.in_flight() == 0, within_s=15)
    trial.check(part, "nothing is under way any more", left, f"{trial.in_flight()} left")


def try_random(trial: Trial, *, num_examples: int) -> None:
    """Random requests to every operation of the endpoint's own schema, in bounded time."""
    schema = json.loads(trial.get("random", "the schema", trial.keys["open"], 200, target="/openapi.json").body)
    until = time.monotonic() + RANDOM_WITHIN_S
    for name, strategy in operations(schema):
        outcomes: collections.Counter[str] = collections.Counter()
        faults: list[str] = []

        def attempt(raw: bytes, outcomes: collections.Counter[str] = outcomes, faults: list[str] = faults) -> None:
            if time.monotonic() > until:
                return
            answer = send(trial.address, [raw])
            outcomes[str(answer.outcome)] += 1
            found = trial.judge(answer, plain=False)
            found += [] if isinstance(answer.outcome, int) else ["no answer"]
            if found and len(faults) < 3:
                head, _, body = raw.partition(b"\r\n\r\n")
                faults.append(f"{'; '.join(found)} for {head.splitlines()[0]!r} {body[:200]!r}")

        try_operation(name, strategy, key=trial.keys["open"], num_examples=num_examples, attempt=attempt)
        told = ", ".join(f"{count} x {outcome}" for outcome, count in sorted(outcomes.items()))
        faults += [] if outcomes else ["no time was left"]
        trial.row("random", f"{name}: {told}", str(outcomes.total()), faults)


def try_afterwards(trial: Trial) -> None:
    part = "afterwards"
    trial.chat(part, "a chat", trial.keys["open"], 200)
    stream = [post(CHAT, chat_fields(stream=True), key=trial.keys["open"])]
    answer = trial.ask(part, Case("a stream", stream, (200,)))
    trial.check(part, "the stream is whole", answer.body.endswith(b"data: [DONE]\n\n"))
    # The last line is written once its answer has been sent.
    time.sleep(1)
    log = trial.access_log.read_text(encoding="utf-8")
    output = trial.server.log.read_text(encoding="utf-8", errors="replace")
    for name, text, words in [("the access log", log, [PROMPT, PATH, "passwd"]), ("the output", output, [PROMPT])]:
        found = any(word in text for word in [*trial.secrets, *words])
        trial.check(part, f"no key and no prompt in {name}", not found)
    lines = [json.loads(line) for line in log.splitlines()]
    trial.check(part, f"a line for each of {trial.num_answered} answers", len(lines) >= trial.num_answered, len(lines))
    missing = REASONS - {line.get("refused") for line in lines}
    trial.check(part, "every reason of a refusal is in the access log", not missing, ", ".join(sorted(missing)))


def warm_up(trial: Trial) -> None:
    """One of everything that a well-meaning client asks, so that what is loaded once is in memory."""
    key = trial.keys["open"]
    question = {"question": "A coin is heads up. Finn turns it over. Is it still heads up?"}
    text = {"text": "<think>7 + 9 = 16.</think><answer>16</answer>", "svg": True}
    asked: Iterable[tuple[str, object]] = [
        (CHAT, chat_fields(n=16, max_tokens=200, logprobs=True, top_logprobs=20)),
        (CHAT, chat_fields(stream=True)),
        ("/v1/completions", {"prompt": "1 2 3", "max_tokens": 8, "echo": True, "logprobs": 5}),
        ("/v1/reasoned", question),
        ("/v1/bonds", {**question, **text}),
    ]
    for target, fields in asked:
        trial.ask("warm-up", Case(target, [post(target, fields, key=key)], (200,)))


def memory_mib(trial: Trial) -> int:
    """Of all processes but the engine's, whose KV cache becomes resident as it is first used."""
    processes = trial.server.memory_by_process().values()
    return sum(mib for title, mib in processes if "EngineCore" not in title)


def try_gateway(trial: Trial, *, num_random: int, grown_mib: int) -> None:
    """Every part, one after the other; then how much memory the endpoint has taken meanwhile."""
    warm_up(trial)
    # Ray's proxy holds a body whole before the gateway see it: its memory and the HTTP side's grow with the first of
    # these, and then stay.
    for _ in range(LARGE_BODIES):
        for case in hostile_groups(trial.keys["open"])["sizes"]:
            trial.ask("warm-up", case)
    before_mib = memory_mib(trial)
    grown: dict[str, int] = {}

    def weigh(part: str) -> None:
        grown[part] = memory_mib(trial) - before_mib

    try_keys(trial)
    try_limits(trial)
    weigh("limits")
    for part, cases in hostile_groups(trial.keys["open"]).items():
        for case in cases:
            trial.ask(part, case)
        weigh(part)
    try_bad_clients(trial)
    weigh("clients")
    try_random(trial, num_examples=num_random)
    weigh("random")
    try_afterwards(trial)
    print(f"MiB above the {before_mib} after the warm-up: {', '.join(f'{p} {mib}' for p, mib in grown.items())}")
    now_mib = memory_mib(trial) - before_mib
    trial.check(
        "afterwards", f"at most {grown_mib} MiB more than after the warm-up", now_mib <= grown_mib, f"{now_mib} MiB"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded:teacher")
    parser.add_argument("--random", type=int, default=40, metavar="N", help="requests to each operation of the schema")
    parser.add_argument("--grown-mib", type=int, default=60, help="how much memory may grow after the warm-up")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
        key_file, access_log = Path(folder) / "keys.jsonl", Path(folder) / "access.log"
        keys = make_keys(key_file)
        with stillery_endpoint(chosen.model, *settings(key_file, access_log)) as server:
            print(f"ready after {server.ready_after_s:.0f} s\n{header()}", flush=True)
            trial = Trial(server, keys, key_file=key_file, access_log=access_log)
            started = time.monotonic()
            try_gateway(trial, num_random=chosen.random, grown_mib=chosen.grown_mib)
            seconds = time.monotonic() - started
    print(f"{trial.num_rows} rows in {seconds:.0f} s, {trial.num_wrong} not as they should be")
    return 1 if trial.num_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
