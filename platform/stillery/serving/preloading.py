"""A process that has vLLM imported, from which a CPU engine's process is forked.

Importing vLLM takes some twenty seconds, first in the replica and then again in its engine's process. With a server to
fork from, both import at once. vLLM itself only lets an engine inside a Ray actor be spawned, since Ray's threads do
not survive a fork; this server has none.
"""

import multiprocessing
from multiprocessing import forkserver
from typing import Any

_METHOD = "forkserver"
# The modules that the engine's process needs, including the worker that computes.
_MODULES = ["stillery.serving.forked", "vllm.v1.engine.core", "vllm.v1.worker.cpu_worker"]


def start_preloading() -> None:
    """Begin to import in the background. The server keeps its environment from this moment."""
    multiprocessing.get_context(_METHOD).set_forkserver_preload(_MODULES)
    forkserver.ensure_running()


def preloaded_context() -> Any:
    """The context whose processes are forked from the server."""
    return multiprocessing.get_context(_METHOD)
