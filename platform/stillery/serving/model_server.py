"""A replica of the model: Ray Serve LLM's server with vLLM's engine, checked by a probe before it takes traffic.

Chats come directly from Serve's proxy, to the application in `chat_application`; the ingress calls it by Serve's handle
for all other routes. In: OpenAI request bodies as plain data. Out: an `Opening` (status, the version that answers, the
whole body unless it streams), then the pieces of the stream. Ray Serve LLM and vLLM are imported in the replica only:
the deploying process need not wait for them.
"""

import asyncio
import importlib
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from prometheus_client import Metric

from stillery.records import digest
from stillery.registry.resolve import ServedModel, fetch
from stillery.sampling.models import TRUST
from stillery.serving.admission import Admission, QueueFullError
from stillery.serving.backend import LocalModel, Opening
from stillery.serving.chat_application import chat_application
from stillery.serving.coalesce import coalesce, interval
from stillery.serving.gateway import check_binding
from stillery.serving.gateway.errors import error_body
from stillery.serving.gateway.metrics import Metrics
from stillery.serving.gateway.shared_limiter import SharedLimiter
from stillery.serving.listening import listening_host
from stillery.serving.openai_shape import (
    engine_error,
    error_event,
    finish_response,
    first_complaint,
    rename_reasoning,
)
from stillery.serving.preloading import start_preloading
from stillery.serving.settings import EngineSettings, ProbeSettings, ServeSettings, load_settings, served_name
from stillery.verify.template import parse_template

log = logging.getLogger("ray.serve")

OUR_PARSER = "stillery"
_PARSER_PLUGIN = str(Path(__file__).with_name("think_answer.py"))
_METHODS = {"chat": "ChatCompletionRequest", "completions": "CompletionRequest"}


class StreamInterruptedError(RuntimeError):
    """vLLM ended a stream with an error after it had begun."""


class ProbeFailedError(RuntimeError):
    """A new replica that fails its probe."""


class ModelServer:
    """The Serve deployment. A replica whose constructor raises never takes traffic, so the probe is part of it."""

    async def __init__(self, served: ServedModel, args: Mapping[str, Any]) -> None:
        settings = load_settings(args)
        check_binding(listening_host(), settings.gateway)
        self._settings = settings
        self._served = served
        self._digest = settings_digest(settings)
        self._name = served_name(settings)
        self._interval_s = settings.engine.stream_interval_ms / 1000
        self._num_streams = 0
        self._admission = Admission(
            max_ongoing=settings.engine.max_ongoing_requests, max_queued=settings.engine.max_queued_requests
        )
        self._metrics = Metrics()
        set_engine_environment(settings.engine)
        if is_one_process(settings.engine):
            start_preloading()
        folder = await asyncio.to_thread(fetch, served, tracking_uri=settings.tracking_uri)
        if settings.engine.reasoning_parser == OUR_PARSER:
            # vLLM's own server loads a plug-in in its main function, which Ray Serve LLM does not run.
            importlib.import_module("stillery.serving.think_answer")
        from ray.llm._internal.serve.core.server import llm_server
        from ray.serve.llm import LLMConfig
        from ray.serve.llm.deployment import LLMServer

        # It starts an actor that collects model statistics for Ray's developers, and the replica waits five seconds for
        # it.
        llm_server.push_telemetry_report_for_all_models = _report_nothing
        config = LLMConfig(**llm_config(settings, source=str(folder), name=self._name))
        self._server: Any = LLMServer.sync_init(config, engine_cls=engine_class(settings.engine))
        await self._server.start()
        if settings.probe.enabled:
            await self._probe(settings.probe)

    async def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Serve once the constructor is done."""
        model = LocalModel(self.answer, retry_after_s=self._settings.engine.retry_after_s)
        limiter = SharedLimiter(self._settings.gateway)
        await limiter.prepare()
        return chat_application(self._settings, model, limiter=limiter, metrics=self._metrics)

    async def answer(self, method: str, body: dict[str, Any]) -> AsyncGenerator[Opening | str]:
        """`method` is chat or completions. Never raises for a client's input: that becomes an Opening with 400."""
        from pydantic import ValidationError
        from ray.llm._internal.serve.core.configs import openai_api_models
        from vllm.exceptions import VLLMValidationError

        try:
            request = getattr(openai_api_models, _METHODS[method]).model_validate({**body, "model": self._name})
        except ValidationError as error:
            yield Opening(400, self._served.version, error_body(400, first_complaint(error)))
            return
        except (VLLMValidationError, ValueError, TypeError) as error:
            yield Opening(400, self._served.version, error_body(400, str(error).splitlines()[0][:300]))
            return
        try:
            async with self._admission.admit():
                # The engine itself: the server would load the adapter named in a client's header.
                replies = getattr(self._server.engine, method)(request)
                # Closed from the inside out as soon as the client disconnects: the engine then stops working on the
                # request.
                async with aclosing(replies), aclosing(self._speak(replies)) as spoken:
                    async for item in spoken:
                        yield item
        except QueueFullError:
            body = error_body(503, "the model is busy; try again soon")
            yield Opening(503, self._served.version, body, retry_after_s=self._settings.engine.retry_after_s)

    async def _speak(self, replies: AsyncIterator[Any]) -> AsyncGenerator[Opening | str]:
        version = self._served.version
        first: Any = await anext(aiter(replies))
        if not isinstance(first, str):
            error = getattr(first, "error", None)
            if error is not None:
                status = error.code if isinstance(error.code, int) else 400
                yield Opening(status, version, error_body(status, error.message, param=getattr(error, "param", None)))
            else:
                yield Opening(200, version, finish_response(first.model_dump(mode="json"), version=version))
            return
        error = engine_error(first)
        if error is not None:
            status = 400 if 400 <= error["code"] < 500 else 503
            yield Opening(status, version, error_body(status, error["message"]))
            return
        yield Opening(200, version)
        pieces = coalesce(
            _texts(first, replies), interval_s=lambda: interval(self._interval_s, streams=self._num_streams)
        )
        self._num_streams += 1
        try:
            async with aclosing(pieces):
                async for text in pieces:
                    yield rename_reasoning(text)
        except Exception as error:
            # Boundary: the status has been sent, so the client gets the error in the stream.
            log.exception("a stream broke off")
            yield error_event(500, f"the model broke off ({type(error).__name__}); ask again")
        finally:
            self._num_streams -= 1

    def gateway_metrics(self) -> list[Metric]:
        """The metrics of this replica's gateway."""
        return self._metrics.families()

    def served(self) -> tuple[ServedModel, str]:
        """The version, and the digest of the settings that it was started with."""
        return self._served, self._digest

    async def check_health(self) -> None:
        await self._server.check_health()

    async def _probe(self, probe: ProbeSettings) -> None:
        """Raise ProbeFailedError unless the model answers the probe's question correctly in one of its tries."""
        complaint = ""
        for attempt in range(probe.tries):
            body: dict[str, Any] = {
                "messages": [{"role": "user", "content": probe.question}],
                "temperature": 0.0 if attempt == 0 else 1.0,
                "seed": attempt,
                # The sampled tokens: the parser has removed the template's tags from the message.
                "logprobs": True,
                "top_logprobs": 0,
            }
            if probe.max_tokens is not None:
                body["max_tokens"] = probe.max_tokens
            try:
                async with asyncio.timeout(probe.timeout_s):
                    opening = await anext(aiter(self.answer("chat", body)))
            except TimeoutError:
                complaint = f"it was not answered within {probe.timeout_s:g} s (probe.timeout_s)"
                continue
            assert isinstance(opening, Opening)
            complaint = judge_probe(opening, probe)
            if not complaint:
                log.info("version %s passed the probe", self._served.version)
                return
        raise ProbeFailedError(f"version {self._served.version} failed the probe {probe.tries} times: {complaint}")


def _report_nothing(**_: Any) -> None:
    """Replaces a usage report."""


async def _texts(first: Any, rest: AsyncIterator[Any]) -> AsyncGenerator[str]:
    """The stream's events. Raises StreamInterruptedError where vLLM reports an error, before its `[DONE]`."""
    yield _text(first)
    async for item in rest:
        text = _text(item)
        error = engine_error(text)
        if error is not None:
            raise StreamInterruptedError(error["message"])
        yield text


def _text(item: Any) -> str:
    """A reply as a server-sent event; an error in mid-stream is an event too."""
    return item if isinstance(item, str) else error_event(item.error.code, item.error.message)


def judge_probe(opening: Opening, probe: ProbeSettings) -> str:
    """What is wrong with the answer to the probe; empty if nothing is."""
    if opening.status != 200 or opening.body is None:
        return f"it was answered with {opening.status}"
    choice = opening.body["choices"][0]
    if choice["finish_reason"] != "stop":
        limit = "the tokens that its context holds" if probe.max_tokens is None else f"{probe.max_tokens} tokens"
        return f"it did not stop within {limit} (probe.max_tokens)"
    if probe.require == "stop":
        return ""
    text = "".join(token["token"] for token in choice["logprobs"]["content"])
    parts = parse_template(text)
    if not parts.answer or not parts.answer_closed:
        return "it gave no answer in <answer> tags (probe.require=stop for a model that was not trained on them)"
    if probe.require == "thinking" and not (parts.thinking or "").strip():
        return "it answered without thinking"
    return ""


def settings_digest(settings: ServeSettings) -> str:
    """The digest of a replica's settings: if it changes the replica has to be restarted."""
    parts = (asdict(part) for part in (settings.engine, settings.probe, settings.gateway))
    return digest("replica", *parts, served_name(settings))


def set_engine_environment(engine: EngineSettings) -> None:
    """The environment of this replica, which the engine's process inherits."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    # vLLM's own usage report goes to a server of its developers.
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("RAYLLM_ENABLE_REQUEST_PROMPT_LOGS", "0")
    if engine.num_gpus == 0:
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(engine.cpu_kv_cache_gb))
        # Other replicas share these cores: a thread bound to one of them waits for their threads there.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        os.environ["OMP_NUM_THREADS"] = str(engine.threads or max(1, int(engine.num_cpus)))
        if engine_kwargs(engine)["enforce_eager"]:
            # vLLM compiles the ranks of log-probabilities even in eager mode: seconds of C++ at the first request.
            os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")
    os.environ.update(engine.env)


def engine_kwargs(engine: EngineSettings) -> dict[str, Any]:
    """vLLM's EngineArgs of a replica."""
    defaults: dict[str, Any] = {"enable_log_requests": False, **TRUST}
    if engine.reasoning_parser is not None:
        defaults["reasoning_parser"] = engine.reasoning_parser
        if engine.reasoning_parser == OUR_PARSER:
            defaults["reasoning_parser_plugin"] = _PARSER_PLUGIN
    if engine.num_gpus == 0:
        # A seeded request whose prompt is prefilled in two chunks fails on a CPU. vLLM's statistics are two dozen of
        # Ray's metrics at every step, on the cores that the tokens need.
        defaults |= {
            "dtype": "float32",
            "enforce_eager": True,
            "enable_chunked_prefill": False,
            "disable_log_stats": True,
        }
    return defaults | engine.kwargs


def is_one_process(engine: EngineSettings) -> bool:
    """Whether the engine computes on a CPU, in one process."""
    spread = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
    return not engine.num_gpus and all(engine.kwargs.get(name, 1) == 1 for name in spread)


def engine_class(engine: EngineSettings) -> Any:
    """The class that starts vLLM's engine; None for Ray Serve LLM's own."""
    if not is_one_process(engine):
        return None
    from stillery.serving.cpu_engine import OneProcessEngine

    return OneProcessEngine


def llm_config(settings: ServeSettings, *, source: str, name: str) -> dict[str, Any]:
    """The fields of Ray Serve LLM's LLMConfig."""
    engine = settings.engine
    kwargs = engine_kwargs(engine)
    return {
        "model_loading_config": {"model_id": name, "model_source": source},
        "engine_kwargs": kwargs,
        "log_engine_metrics": not kwargs.get("disable_log_stats", False),
        "accelerator_type": engine.accelerator_type,
        "accelerator_config": {"kind": "gpu" if engine.num_gpus else "cpu"},
        "placement_group_config": {"bundles": placement_bundles(engine)},
        "callback_config": {"callback_class": "stillery.serving.engine_callback:SkipDownload"},
    }


def placement_bundles(engine: EngineSettings) -> list[dict[str, float]]:
    """The resources of one replica: its process with its CPUs, and a bundle for each GPU."""
    if not engine.num_gpus:
        return [{"CPU": engine.num_cpus}]
    whole = max(1, int(engine.num_gpus))
    share = engine.num_gpus / whole
    return [{"CPU": engine.num_cpus, "GPU": share}, *({"GPU": share} for _ in range(whole - 1))]
