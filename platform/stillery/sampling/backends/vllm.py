"""vLLM's engine, in a thread of the process that calls it: requests in, samples out one by one as they finish.

The engine's own loop is used rather than `LLM.generate`, which returns only when the last sample of a call is done:
finished samples must become durable while the rest still runs.
"""

import atexit
import contextlib
import dataclasses
import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from stillery.config import EngineConfig
from stillery.records import Generation, Request, ScoredGeneration
from stillery.sampling.engine import settings_json
from stillery.sampling.models import TRUST, resolve_model
from stillery.sampling.top_logprobs import from_vllm


def load_engine(model: str, config: EngineConfig) -> Any:
    """A `vllm.LLM` for the model. Takes 20 to 40 s on a CPU; keep it.

    Raises what vLLM raises if the model cannot be loaded.
    """
    import torch

    if config.num_gpus == 0:
        # One process, no engine process beside it: a third faster at this size, and it ends with its actor.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(config.cpu_kv_cache_gb))
        # Other actors share these cores: a thread bound to one of them waits for their threads there.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        threads = config.threads or max(1, int(config.num_cpus))
        os.environ["OMP_NUM_THREADS"] = str(threads)
        # If PyTorch is already loaded the variable has no effect: Ray starts its workers with 1.
        torch.set_num_threads(threads)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    # A compiled extension of vLLM reports leaks at exit, about which a user can do nothing.
    atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))
    from vllm import LLM

    defaults: dict[str, Any] = {"disable_log_stats": True, "use_tqdm_on_load": False, **TRUST}
    if config.num_gpus == 0:
        defaults |= {"dtype": "float32", "enforce_eager": True, "distributed_executor_backend": "uni"}
        # A seeded request whose prompt is prefilled in two chunks fails on a CPU ("CPU Generator does not use offset").
        defaults |= {"enable_chunked_prefill": False}
    settings = defaults | dict(config.engine)
    if config.num_gpus == 0 and settings["enforce_eager"]:
        # vLLM compiles the ranks of log-probabilities even in eager mode: seconds of C++ for each engine.
        torch.compiler.set_stance("force_eager")
    return LLM(model=resolve_model(model), **settings)


class VllmEngine:
    """vLLM's own engine loop in a thread: requests join the running batch as they come, with no barrier."""

    def __init__(
        self,
        model: str,
        config: EngineConfig,
        *,
        model_id: str,
        stop_token_ids: Sequence[int] = (),
        top_logprobs: int = 0,
    ) -> None:
        """`stop_token_ids` end a sample besides those of the model's own files and of its sampling settings; this many
        `top_logprobs` are kept of each token, which the sampling settings must request."""
        self._model_id = model_id
        self._top_logprobs = top_logprobs
        self._stop_token_ids = stop_token_ids
        self._inbox: queue.SimpleQueue[_Submitted | None] = queue.SimpleQueue()
        self._running: dict[str, _Submitted] = {}
        self._broken: Exception | None = None
        started: Future[None] = Future()
        # Loaded in the thread that runs it: OpenMP keeps a thread pool for each thread that computes.
        self._thread = threading.Thread(target=self._run, args=(model, config, started), daemon=True, name="vllm")
        self._thread.start()
        started.result()

    def submit(
        self, request: Request, *, sampling: Mapping[str, Any], done: Callable[[Generation | Exception], None]
    ) -> None:
        self._inbox.put(_Submitted(request, sampling, done))
        if self._broken is not None:
            self._fail(self._broken)

    def close(self) -> None:
        """End the loop; requests in flight are dropped."""
        self._inbox.put(None)
        self._thread.join()

    def _run(self, model: str, config: EngineConfig, started: "Future[None]") -> None:
        try:
            llm = load_engine(model, config)
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(None)
        try:
            while self._take(llm):
                for output in llm.llm_engine.step():
                    if output.finished:
                        self._finish(output)
        except BaseException as error:
            # Boundary: any engine failure goes to all waiting callers.
            self._broken = error if isinstance(error, Exception) else RuntimeError(repr(error))
            self._fail(self._broken)
        with contextlib.suppress(Exception):
            llm.llm_engine.engine_core.shutdown()

    def _take(self, llm: Any) -> bool:
        """Add the submitted requests; wait if nothing runs. Returns False when the engine is closed."""
        while True:
            try:
                submitted = self._inbox.get(block=not self._running)
            except queue.Empty:
                return True
            if submitted is None:
                return False
            self._add(llm, submitted)

    def _add(self, llm: Any, submitted: "_Submitted") -> None:
        from vllm import SamplingParams
        from vllm.exceptions import VLLMValidationError
        from vllm.inputs import TokensPrompt
        from vllm.sampling_params import RequestOutputKind

        request = submitted.request
        tokens = llm.get_tokenizer()(request.rendered, add_special_tokens=False)["input_ids"]
        try:
            table = {key: value for key, value in submitted.sampling.items() if key != "seed"}
            if self._stop_token_ids:
                table["stop_token_ids"] = [*(table.get("stop_token_ids") or []), *self._stop_token_ids]
            # Only finished samples are used: vLLM need not build an output for every token.
            params = SamplingParams(**table, n=1, seed=request.seed, output_kind=RequestOutputKind.FINAL_ONLY)
            llm.llm_engine.add_request(request.sample_id, TokensPrompt(prompt_token_ids=tokens), params)
        except (ValueError, VLLMValidationError) as error:
            submitted.done(_refused(submitted, len(tokens), self._model_id, str(error)))
            return
        self._running[request.sample_id] = submitted

    def _finish(self, output: Any) -> None:
        submitted = self._running.pop(output.request_id)
        made = _finished(submitted, output, self._model_id)
        if self._top_logprobs:
            top = from_vllm(output.outputs[0], k=self._top_logprobs)
            made = ScoredGeneration(**{f.name: getattr(made, f.name) for f in dataclasses.fields(made)}, top=top)
        submitted.done(made)

    def _fail(self, error: Exception) -> None:
        waiting: list[_Submitted | None] = list(self._running.values())
        self._running.clear()
        with contextlib.suppress(queue.Empty):
            while True:
                waiting.append(self._inbox.get_nowait())
        for submitted in waiting:
            if submitted is not None:
                submitted.done(error)


@dataclasses.dataclass(frozen=True, slots=True)
class _Submitted:
    request: Request
    sampling: Mapping[str, Any]
    done: Callable[[Generation | Exception], None]


def _finished(submitted: _Submitted, output: Any, model_id: str) -> Generation:
    (best,) = output.outputs
    num_tokens, total = len(best.token_ids), best.cumulative_logprob
    return Generation(
        **dataclasses.asdict(submitted.request),
        completion=best.text,
        finish_reason=best.finish_reason,
        num_prompt_tokens=len(output.prompt_token_ids),
        num_tokens=num_tokens,
        # None unless the sampling table requests it: `logprobs: 0` returns the sampled tokens' alone.
        mean_logprob=None if total is None or not num_tokens else total / num_tokens,
        model=model_id,
        sampling=settings_json(submitted.sampling),
        attempt=0,
        surplus=False,
        error=None,
    )


def _refused(submitted: _Submitted, num_prompt_tokens: int, model_id: str, error: str) -> Generation:
    return Generation(
        **dataclasses.asdict(submitted.request),
        completion="",
        finish_reason=None,
        num_prompt_tokens=num_prompt_tokens,
        num_tokens=0,
        mean_logprob=None,
        model=model_id,
        sampling=settings_json(submitted.sampling),
        attempt=0,
        surplus=False,
        error=error,
    )
