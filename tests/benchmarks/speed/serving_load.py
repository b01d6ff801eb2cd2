#!/usr/bin/env python3
"""Concurrent streams against the endpoint and against bare `vllm serve`, in turn; then an overload of the endpoint.

    python tests/benchmarks/speed/serving_load.py [--model embedded:teacher] [--streams 1 8 32] [--overload-s 60]

Both serve the same model with the same engine settings on the same machine, one after the other, never at the same
time. Prints one table: output tokens per second, the median and 95th percentile of the time to the first token, and the
cores used by each of the server's processes.
"""

import argparse
import asyncio
import collections
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from support.endpoints import Server, bare_vllm, stillery_endpoint  # noqa: E402
from support.ratios import Ratio, add_json_option, write_ratios  # noqa: E402

PROMPT = "A coin is heads up. Finn turns the coin over. Jack does not flip the coin. Is the coin still heads up?"
REQUESTS_PER_STREAM = 6
MAX_TOKENS = 128
# Of a core; who takes less is not named.
SMALLEST_SHARE = 0.02
SMALLEST_GROWTH_MIB = 3
# The clients are one key's: its limits must not be what is measured.
OPEN_GATEWAY = (
    "gateway.limits.requests_per_minute=1000000",
    "gateway.limits.burst=100000",
    "gateway.limits.concurrency=1000",
    "gateway.max_in_flight=200",
)


@dataclass(frozen=True)
class Streamed:
    first_token_s: float
    tokens: int


async def stream(client: httpx.AsyncClient, server: Server, *, seed: int) -> Streamed:
    """One streamed completion of exactly MAX_TOKENS tokens."""
    body = {
        "model": server.model,
        "messages": [{"role": "user", "content": PROMPT}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": MAX_TOKENS,
        "ignore_eos": True,
        "seed": seed,
    }
    started = time.perf_counter()
    first, tokens = 0.0, 0
    async with client.stream("POST", f"{server.url}/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            if not first and ('"content":"' in line or '"reasoning' in line) and '"content":""' not in line:
                first = time.perf_counter() - started
            if '"completion_tokens":' in line:
                tokens = int(line.split('"completion_tokens":')[1].split(",")[0].rstrip("}"))
    if tokens != MAX_TOKENS:
        raise RuntimeError(f"{server.name}: a stream had {tokens} of {MAX_TOKENS} tokens")
    return Streamed(first, tokens)


async def measure(server: Server, streams: int) -> tuple[float, float]:
    """`streams` clients, each with REQUESTS_PER_STREAM requests one after the other, after one warm-up each.

    Prints a row. Returns the tokens a second of all, and the median milliseconds to the first token.
    """
    limits = httpx.Limits(max_connections=streams)
    async with httpx.AsyncClient(timeout=300, limits=limits) as client:
        await asyncio.gather(*(stream(client, server, seed=i) for i in range(streams)))

        async def one_client(number: int) -> list[Streamed]:
            return [await stream(client, server, seed=number * 1000 + i) for i in range(REQUESTS_PER_STREAM)]

        before, started = server.cpu_seconds(), time.perf_counter()
        done = [s for part in await asyncio.gather(*map(one_client, range(streams))) for s in part]
        seconds = time.perf_counter() - started
        after = server.cpu_seconds()
    firsts = sorted(s.first_token_s * 1000 for s in done)
    rate = sum(s.tokens for s in done) / seconds
    p95 = firsts[int(0.95 * (len(firsts) - 1))]
    row = f"{server.name:<12}{streams:>8}{rate:>12.0f}{statistics.median(firsts):>14.0f}{p95:>14.0f}"
    # By process, as a process's title changes with what it is doing.
    shares = [((used - before.get(pid, ("", 0.0))[1]) / seconds, title) for pid, (title, used) in after.items()]
    busiest = sorted(((share, title) for share, title in shares if share >= SMALLEST_SHARE), reverse=True)
    print(f"{row}  {', '.join(f'{name} {share:.2f}' for share, name in busiest)}", flush=True)
    return rate, statistics.median(firsts)


async def overload(server: Server, *, seconds: float, clients: int) -> None:
    """Many more clients than fit, for a while: what they were told, and whether memory grew."""
    statuses: collections.Counter[str] = collections.Counter()
    retry_after = 0
    until = time.monotonic() + seconds
    before = server.memory_by_process()

    async def client_loop(client: httpx.AsyncClient) -> None:
        nonlocal retry_after
        body = {"model": server.model, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": MAX_TOKENS}
        while time.monotonic() < until:
            try:
                response = await client.post(f"{server.url}/v1/chat/completions", json=body)
            except httpx.HTTPError as error:
                statuses[type(error).__name__] += 1
                continue
            statuses[str(response.status_code)] += 1
            retry_after += "retry-after" in response.headers
            await asyncio.sleep(0 if response.status_code == 200 else 0.2)

    async with httpx.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=None)) as client:
        await asyncio.gather(*(client_loop(client) for _ in range(clients)))
        after = server.memory_by_process()
        body = {"model": server.model, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 8}
        last = await client.post(f"{server.url}/v1/chat/completions", json=body)
    totals = [sum(mib for _, mib in taken.values()) for taken in (before, after)]
    growth = [(mib - before.get(pid, ("", 0))[1], title) for pid, (title, mib) in after.items()]
    grown = ", ".join(
        f"{title} {more:+d}" for more, title in sorted(growth, reverse=True) if more >= SMALLEST_GROWTH_MIB
    )
    print(
        f"overload: {clients} clients for {seconds:.0f} s: {dict(statuses)}, {retry_after} with Retry-After; memory "
        f"{totals[0]} -> {totals[1]} MiB ({grown}); a request afterwards: {last.status_code}",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded:teacher")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--servers", nargs="+", choices=("vllm", "stillery"), default=["vllm", "stillery"])
    parser.add_argument("--overload-s", type=float, default=60.0)
    parser.add_argument("--overload-clients", type=int, default=320)
    parser.add_argument("--overloads", type=int, default=2, help="so many in turn: does memory grow again?")
    add_json_option(parser)
    chosen = parser.parse_args(arguments)
    print(f"{'server':<12}{'streams':>8}{'tokens/s':>12}{'TTFT p50 ms':>14}{'TTFT p95 ms':>14}  cores", flush=True)
    measured: dict[tuple[str, int], tuple[float, float]] = {}
    for name in chosen.servers:
        with bare_vllm(chosen.model) if name == "vllm" else stillery_endpoint(chosen.model, *OPEN_GATEWAY) as server:
            for streams in chosen.streams:
                measured[name, streams] = asyncio.run(measure(server, streams))
            for _ in range(chosen.overloads if name == "stillery" else 0):
                asyncio.run(overload(server, seconds=chosen.overload_s, clients=chosen.overload_clients))
    if len(set(chosen.servers)) == 2:
        found = [ratios(n, measured["stillery", n], measured["vllm", n]) for n in chosen.streams]
        write_ratios(chosen.json, [ratio for pair in found for ratio in pair])


def ratios(streams: int, ours: tuple[float, float], bare: tuple[float, float]) -> tuple[Ratio, Ratio]:
    """Tokens a second and the time to the first token, each of ours and of bare vLLM's."""
    where = f"endpoint, {streams} stream{'s' if streams > 1 else ''}"
    return (
        Ratio(f"{where}, tokens/s to bare vLLM", ours[0] / bare[0], aim=0.95),
        Ratio(f"{where}, first token to bare vLLM", ours[1] / bare[1], aim=1.1, at_most=True),
    )


if __name__ == "__main__":
    main()
