"""vLLM's engine on a CPU, with its one worker inside the engine's process. Imported in replicas only."""

from typing import Any

from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine

from stillery.serving.preloading import preloaded_context


class OneProcessEngine(VLLMEngine):
    """Ray Serve LLM's engine without vLLM's worker process.

    vLLM gives a CPU worker a process of its own, because it sets the worker's OpenMP threads through the environment;
    ours are set before the engine's process starts. The two processes would wait for each other in a loop that keeps a
    core busy all the while, which on a small machine is the core that the endpoint itself needs.
    """

    def _start_async_llm_engine(self, vllm_engine_args: Any, vllm_engine_config: Any, placement_group: Any) -> Any:
        from vllm.v1.engine import utils

        vllm_engine_config.parallel_config.distributed_executor_backend = "uni"
        utils.get_mp_context = preloaded_context
        return super()._start_async_llm_engine(vllm_engine_args, vllm_engine_config, placement_group)
