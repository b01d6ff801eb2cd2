"""An OpenAI-compatible server on this machine that takes time to answer and almost no CPU.

Seen from outside it is a teacher on some GPUs: responses take a given time, any number at once. The problems are sums
that it can solve; the request's seed decides whether it answers correctly, wrongly or not at all.
"""

import asyncio
import json
import random
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

# Approximate characters per token of English reasoning in the Qwen tokenizers.
CHARACTERS_PER_TOKEN = 3.5
PROMPT_TOKENS = 60


@dataclass
class ScriptedTeacher:
    """Use as a context. Responses take from half of `latency_s` to one and a half of it; every second one is right; one
    request in `refuse_one_in` is refused. `spans` holds when each request came and was answered (time.monotonic)."""

    characters: int
    latency_s: float
    refuse_one_in: int | None = None
    url: str = ""
    spans: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    def __enter__(self) -> "ScriptedTeacher":
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        host, port = self._runner.addresses[0]
        self.url = f"http://{host}:{port}/v1"
        return self

    def __exit__(self, *exception: Any) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def completion_tokens(self) -> int:
        """The number of tokens reported for each response."""
        return int(self.characters / CHARACTERS_PER_TOKEN)

    async def _open(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        return runner

    async def _answer(self, request: web.Request) -> web.Response:
        came = time.monotonic()
        body: dict[str, Any] = await request.json()
        seed = int(body["seed"])
        draw = random.Random(seed)
        if self.refuse_one_in is not None and seed % self.refuse_one_in == 0:
            return web.json_response({"error": {"message": "refused by the trial"}}, status=400)
        await asyncio.sleep(self.latency_s * draw.uniform(0.5, 1.5))
        content = trace(answer_to(body["messages"][-1]["content"], is_right=draw.random() < 0.5), draw, self.characters)
        self.spans.append((came, time.monotonic()))
        return web.json_response(
            {
                "choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": self.completion_tokens},
            }
        )


def question(number: int) -> str:
    return f"What is {number} + 7? Explain every step that you take on the way. " * 4


def answer_to(asked: str, *, is_right: bool) -> str:
    found = re.search(r"What is (\d+) \+ 7\?", asked)
    assert found is not None, f"not a problem of this trial: {asked[:80]!r}"
    return str(int(found[1]) + (7 if is_right else 8))


def trace(said: str, draw: random.Random, characters: int) -> str:
    """Sums in English sentences, about `characters` of them, and the answer."""
    lines: list[str] = []
    length = 0
    while length < characters:
        a, b = draw.randrange(1000), draw.randrange(1000)
        lines.append(f"Let me see what {a} plus {b} makes, which is needed in what follows: {a} + {b} = {a + b}.\n")
        length += len(lines[-1])
    return f"<think>\n{''.join(lines)}</think>\n<answer>{said}</answer>"


def write_problems(folder: Path, *, num_train: int) -> list[str]:
    """Write problems to train on, of which one in twenty becomes validation, and one to measure on. Returns the
    settings with which a run uses them and this teacher, except for its address."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, numbers in (("train", range(num_train)), ("test", range(num_train, num_train + 1))):
        rows = [json.dumps({"question": question(number), "answer": str(number + 7)}) for number in numbers]
        (folder / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    return [
        "prompts.source=file", f"prompts.train={folder / 'train.jsonl'}", f"prompts.test={folder / 'test.jsonl'}",
        "teacher.kind=endpoint", "teacher.model=scripted", "export.formats=[]",
    ]  # fmt: skip
