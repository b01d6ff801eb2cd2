"""The endpoint on one GPU: `stillery serve` comes up, answers a chat and ends on Ctrl-C."""

import json
import time
import urllib.request
from typing import Any

from benchmarks.gpu_check.evidence import Figures, demand
from stillery.serving.settings import ProbeSettings
from support.endpoints import Server, stillery_endpoint

_ENGINE = ("engine.kwargs.max_model_len=1024",)
_GPU = ("engine.num_gpus=1", "engine.kwargs.gpu_memory_utilization=0.3")


def serve(device: str) -> Figures:
    """One chat request: thinking and answer come apart, and the server's process ends well."""
    overrides = (*_ENGINE, *(_GPU if device == "cuda" else ()))
    with stillery_endpoint("embedded:teacher", *overrides) as server:
        started = time.monotonic()
        reply = ask(server, ProbeSettings().question)
        seconds = time.monotonic() - started
    code = server.process.returncode
    demand(code == 0, f"`stillery serve` ended with {code} on Ctrl-C (its log: {server.log})")
    choice = reply["choices"][0]
    thinking, answer = (choice["message"].get(name) or "" for name in ("reasoning_content", "content"))
    demand(choice["finish_reason"] == "stop", f"the answer ended by {choice['finish_reason']}")
    demand(bool(thinking.strip()), "there is no thinking in the answer")
    demand(bool(answer.strip()), "there is no answer beside the thinking")
    return {
        "ready after s": server.ready_after_s,
        "answered in s": seconds,
        "tokens": reply["usage"]["completion_tokens"],
        "answer": answer.strip(),
    }


def ask(server: Server, question: str) -> dict[str, Any]:
    """The reply to one greedy chat request. Raises urllib's HTTPError for a refusal."""
    body = {"messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 512}
    request = urllib.request.Request(
        f"{server.url}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)
