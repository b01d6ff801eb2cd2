"""A process that has vLLM imported, which a CPU engine's process is forked from.

vLLM imports for some twenty seconds, first in the replica and then again in its engine's process. With a server to fork
from, both do so at once. vLLM itself lets an engine inside a Ray actor be spawned only, since Ray's threads do not
survive a fork; this server has none.
"""

import multiprocessing
from multiprocessing import forkserver
from typing import Any

_METHOD = "forkserver"
# What the engine's process needs, up to the worker that computes.
_MODULES = ["stillery.serving.forked", "vllm.v1.engine.core", "vllm.v1.worker.cpu_worker"]


def start_preloading() -> None:
    """Begin to import in the background. The server keeps the environment of this moment."""
    multiprocessing.get_context(_METHOD).set_forkserver_preload(_MODULES)
    forkserver.ensure_running()


def preloaded_context() -> Any:
    """The context whose processes are forked from the server."""
    return multiprocessing.get_context(_METHOD)
