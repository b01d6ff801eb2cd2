"""vLLM's engine, in the process that calls it: requests in, samples out one by one as they finish.

The engine's own loop is used rather than `LLM.generate`, which returns only when the last sample of a call is done:
what has finished must become durable while the rest still runs.
"""

import atexit
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from stillery.config import EngineConfig
from stillery.engines.models import resolve_model
from stillery.records import Generation, Request, from_table


def load_engine(model: str, config: EngineConfig) -> Any:
    """A `vllm.LLM` for the model. Takes 20 to 40 s on a CPU; keep it.

    Raises what vLLM raises if the model cannot be loaded.
    """
    if config.num_gpus == 0:
        # One process, no engine process beside it: a third faster at this size, and it dies with its actor.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(config.cpu_kv_cache_gb))
        # Other actors work on these cores too: a thread bound to one of them waits for whoever else is there.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        os.environ["OMP_NUM_THREADS"] = str(config.threads or max(1, int(config.num_cpus)))
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    # A compiled extension of vLLM's reports leaks of its own at exit; nothing that a user could act on.
    atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))
    from vllm import LLM

    defaults: dict[str, Any] = {"disable_log_stats": True, "use_tqdm_on_load": False, "trust_remote_code": False}
    if config.num_gpus == 0:
        defaults |= {"dtype": "float32", "enforce_eager": True, "distributed_executor_backend": "uni"}
        # A seeded request whose prompt is prefilled in two chunks fails on a CPU ("CPU Generator does not use offset").
        defaults |= {"enable_chunked_prefill": False}
    return LLM(model=resolve_model(model), **(defaults | dict(config.engine)))


def stream(llm: Any, requests: pa.Table, *, model_id: str, sampling: Mapping[str, Any]) -> Iterator[Generation]:
    """Samples in the order in which they finish.

    A request that the engine refuses (a prompt longer than the context, say) comes out as a Generation with
    `error` set: it must not end the run of its neighbours.
    """
    from vllm import SamplingParams
    from vllm.exceptions import VLLMValidationError
    from vllm.inputs import TokensPrompt

    engine = llm.llm_engine
    tokenizer = llm.get_tokenizer()
    settings = json.dumps(dict(sampling), sort_keys=True)
    params_table = {k: v for k, v in sampling.items() if k != "seed"}
    pending: dict[str, Request] = {}
    for request in from_table(requests, Request):
        # logprobs=0 gives the log-probability of the sampled token itself, of the model before temperature.
        params = SamplingParams(**params_table, n=1, seed=request.seed, logprobs=0)
        tokens = tokenizer(request.rendered, add_special_tokens=False)["input_ids"]
        try:
            engine.add_request(request.sample_id, TokensPrompt(prompt_token_ids=tokens), params)
        except (ValueError, VLLMValidationError) as error:
            yield _refused(request, len(tokens), model_id, settings, str(error))
            continue
        pending[request.sample_id] = request
    while engine.has_unfinished_requests():
        for output in engine.step():
            if output.finished:
                yield _finished(pending.pop(output.request_id), output, model_id, settings)


def _finished(request: Request, output: Any, model_id: str, sampling: str) -> Generation:
    (best,) = output.outputs
    num_tokens = len(best.token_ids)
    return Generation(
        **dataclasses.asdict(request),
        completion=best.text,
        finish_reason=best.finish_reason,
        num_prompt_tokens=len(output.prompt_token_ids),
        num_tokens=num_tokens,
        mean_logprob=best.cumulative_logprob / num_tokens if num_tokens else None,
        model=model_id,
        sampling=sampling,
        round=0,
        surplus=False,
        error=None,
    )


def _refused(request: Request, num_prompt_tokens: int, model_id: str, sampling: str, error: str) -> Generation:
    return Generation(
        **dataclasses.asdict(request),
        completion="",
        finish_reason=None,
        num_prompt_tokens=num_prompt_tokens,
        num_tokens=0,
        mean_logprob=None,
        model=model_id,
        sampling=sampling,
        round=0,
        surplus=False,
        error=error,
    )
