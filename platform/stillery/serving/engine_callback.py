"""The callback that Ray Serve LLM runs before it starts an engine. Imported in replicas only."""

from typing import Any

from ray.llm._internal.common.callbacks.base import CallbackBase  # where Ray's own documentation imports it from


class SkipDownload(CallbackBase):
    """Leaves out Ray's download of the model, a task on each node that imports PyTorch and transformers to find that
    there is nothing to do: the replica has fetched its version, and vLLM downloads what is on the Hub."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ctx.run_init_node = False
