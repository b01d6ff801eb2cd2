"""The callback that Ray Serve LLM runs before it starts an engine. Imported in replicas only."""

from typing import Any

from ray.llm._internal.common.callbacks.base import CallbackBase  # as in Ray's own documentation


class SkipDownload(CallbackBase):
    """Skips Ray's download of the model, a task on each node that imports PyTorch and transformers only to find nothing
    to do: the replica has fetched its version, and vLLM downloads models on the Hub."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ctx.run_init_node = False
