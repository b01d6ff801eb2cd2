#!/usr/bin/env python3
"""Two clients that send requests without pause until a line arrives on standard input: versions that answered, and
failures.

python tests/support/steady_load.py http://127.0.0.1:8000      (one line on standard input stops it)
"""

import asyncio
import collections
import json
import sys
import threading

import httpx

QUESTION = "A coin is heads up. Finn turns the coin over. Is the coin still heads up?"
CLIENTS = 2


async def ask(client: httpx.AsyncClient, url: str, *, stream: bool) -> str:
    """The version that answered. Raises RuntimeError unless the response is complete."""
    body = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 64, "stream": stream}
    async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
        text = (await response.aread()).decode()
    whole = text.endswith("data: [DONE]\n\n") and '"error"' not in text if stream else '"finish_reason"' in text
    if response.status_code != 200 or not whole:
        last = next((line for line in reversed(text.splitlines()) if line), "")
        raise RuntimeError(f"{response.status_code}: {last[:200]}")
    return response.headers["x-stillery-model-version"]


async def run(url: str, stopped: threading.Event) -> dict[str, object]:
    answered: collections.Counter[str] = collections.Counter()
    failed: list[str] = []

    async def one_client(client: httpx.AsyncClient, number: int) -> None:
        turn = number
        while not stopped.is_set():
            try:
                answered[await ask(client, url, stream=turn % 2 == 0)] += 1
            except (httpx.HTTPError, RuntimeError) as error:
                failed.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.2)
            turn += 1

    async with httpx.AsyncClient(timeout=120) as client:
        await asyncio.gather(*(one_client(client, number) for number in range(CLIENTS)))
    return {"answered": dict(answered), "failed": failed}


def main() -> None:
    stopped = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stopped.set()), daemon=True).start()
    print(json.dumps(asyncio.run(run(sys.argv[1], stopped))))


if __name__ == "__main__":
    main()
