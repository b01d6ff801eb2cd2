"""The kinds of teacher behind one interface: their identity, their prompt format and how their engine starts."""

import datetime
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from stillery.config import EngineConfig, TeacherConfig, settings_of
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Message
from stillery.sampling.backends.openai import EndpointEngine
from stillery.sampling.backends.openai_api import PATHS, OpenAIServer, read_key, write_messages
from stillery.sampling.chat.conversation import ChatFormat, load_tokenizer
from stillery.sampling.cost import Account, spent_before
from stillery.sampling.engine import Engine
from stillery.sampling.models import context_length, model_id
from stillery.sampling.prompting import render
from stillery.sampling.top_logprobs import TokenIds, asking_for

# Fields of a request's body that stillery sets.
TAKEN = ("model", "messages", "prompt", "n", "stream", "seed")


@dataclass(frozen=True, slots=True)
class Backend:
    """A model that can be sampled. `identity` is its part of every sample's id; `render` writes conversations in the
    engine's format; `start` makes an engine, in the actor that calls it; `prices` are per million tokens, of input and
    of output; `max_model_len` is its context, where that is known; `extra` is added to the sampling settings."""

    identity: str
    render: Callable[[Sequence[Sequence[Message]]], list[str]]
    start: Callable[[], Engine]
    prices: tuple[float, float] | None = None
    max_model_len: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])


def vllm_backend(
    model: str,
    engine: EngineConfig,
    *,
    chat: ChatFormat | None = None,
    two_step: bool = False,
    stop_token_ids: Sequence[int] = (),
    top_logprobs: int = 0,
) -> Backend:
    """A model that vLLM runs on this cluster, in the chat format `chat` (null: its own files'). Generation stops at
    `stop_token_ids` besides the model's own; this many `top_logprobs` of each token are kept."""
    from stillery.sampling.backends.vllm import VllmEngine

    identity = model_id(model, engine) + "".join(f"+stop{token}" for token in stop_token_ids)
    start: Callable[[], Engine] = functools.partial(
        VllmEngine,
        model,
        engine,
        model_id=identity,
        stop_token_ids=tuple(stop_token_ids),
        top_logprobs=top_logprobs,
    )
    return Backend(
        identity=identity,
        render=functools.partial(render, chat=chat or ChatFormat(model), two_step=two_step),
        start=functools.partial(_start_two_step, start) if two_step else start,
        # The duration of a two-request sample does not give that of each request.
        max_model_len=None if two_step else context_length(model, engine.engine),
        extra={"logprobs": top_logprobs} if top_logprobs else {},
    )


def endpoint_source(
    teacher: TeacherConfig, *, logs: Folder, now: datetime.datetime | None = None, scored: bool = False
) -> Backend:
    """A model behind an OpenAI-compatible server, with an identity independent of its address. The key is read where an
    engine starts; the cost of the samples in the run's `logs` counts towards the cap. `scored` keeps
    `teacher.top_logprobs`."""
    endpoint = endpoint_of(teacher)
    # Servers receive the chat template's arguments in the body.
    arguments = teacher.chat_template_kwargs if endpoint.api == "chat" else {}
    identity = f"endpoint:{teacher.model}"
    start: Callable[[], Engine] = functools.partial(
        _start_endpoint, endpoint, model_id=identity, logs=logs, scored_by=teacher if scored else None
    )
    prices = (teacher.endpoint.input_price, teacher.endpoint.output_price)
    return Backend(
        identity=identity,
        render=functools.partial(_render_for_endpoint, teacher=teacher, now=now),
        start=functools.partial(_start_two_step, start) if teacher.two_step else start,
        prices=None if prices == (None, None) else (prices[0] or 0.0, prices[1] or 0.0),
        extra={
            **({"chat_template_kwargs": dict(arguments)} if arguments else {}),
            **(asking_for(teacher) if scored else {}),
        },
    )


def teacher_backend(
    teacher: TeacherConfig, *, logs: Folder, now: datetime.datetime | None = None, scored: bool = False
) -> Backend:
    """The teacher of a config, of kind vllm or endpoint; `logs` holds the run's samples, and `now` is the time that a
    chat template may print (null: the current time). With `scored` its samples come with `teacher.top_logprobs`."""
    if teacher.kind == "endpoint":
        return endpoint_source(teacher, logs=logs, now=now, scored=scored)
    return vllm_backend(
        teacher.model,
        teacher,
        chat=teacher_format(teacher, now=now),
        two_step=teacher.two_step,
        top_logprobs=teacher.top_logprobs if scored else 0,
    )


def teacher_format(teacher: TeacherConfig, *, now: datetime.datetime | None = None) -> ChatFormat:
    """The chat format of a teacher whose prompts are rendered here."""
    model = teacher.model if teacher.kind == "vllm" else teacher.endpoint.tokenizer or teacher.model
    return ChatFormat(model, arguments=dict(teacher.chat_template_kwargs), now=now)


def check_teacher_endpoint(teacher: TeacherConfig) -> None:
    """Raise UserError if the endpoint's settings cannot work, or its key is not in the environment."""
    key, endpoint = "teacher.endpoint", teacher.endpoint
    parts = urlsplit(endpoint.base_url or "")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or "@" in parts.netloc:
        # Never show it: it may contain a password.
        raise UserError(f"{key}.base_url must be like https://HOST/v1, without a password or query in it")
    if endpoint.api not in PATHS:
        raise UserError(f"{key}.api is {endpoint.api!r}; it must be {' or '.join(PATHS)}")
    if endpoint.api == "completions" and endpoint.tokenizer is None:
        raise UserError(f"{key}.tokenizer is not set; name the model whose chat template renders the prompts")
    for name in ("concurrency", "timeout_s", "max_attempts", "backoff_s", "max_backoff_s", "max_wait_s"):
        if getattr(endpoint, name) <= 0:
            raise UserError(f"{key}.{name} is {getattr(endpoint, name)}; it must be above 0")
    for table, sampling in (("sampling", teacher.sampling), ("resample", teacher.resample or {})):
        taken = [name for name in TAKEN if name in sampling]
        if taken:
            raise UserError(f"teacher.{table}.{taken[0]} is not yours to set: every sample is a request of its own")
    if endpoint.max_cost is not None:
        _check_cap(teacher)
    read_key(endpoint_of(teacher))


def _check_cap(teacher: TeacherConfig) -> None:
    key, endpoint = "teacher.endpoint", teacher.endpoint
    if endpoint.input_price is None or endpoint.output_price is None:
        raise UserError(f"{key}.max_cost needs {key}.input_price and {key}.output_price, per million tokens")
    if not (teacher.sampling.get("max_tokens") or teacher.sampling.get("max_completion_tokens")):
        raise UserError(f"{key}.max_cost needs teacher.sampling.max_tokens: a sample might cost any sum without it")
    if max(teacher.replicas, teacher.max_replicas or 1) > 1:
        raise UserError(f"{key}.max_cost holds for each replica: set teacher.replicas=1 and raise {key}.concurrency")


def endpoint_of(teacher: TeacherConfig) -> OpenAIServer:
    """The server's settings for the engine."""
    settings: dict[str, Any] = {**settings_of(teacher.endpoint), "base_url": teacher.endpoint.base_url or ""}
    del settings["tokenizer"]
    return OpenAIServer(**settings, model=teacher.model)


def _render_for_endpoint(
    conversations: Sequence[Sequence[Message]], *, teacher: TeacherConfig, now: datetime.datetime | None
) -> list[str]:
    if teacher.endpoint.api == "chat":
        return [write_messages(conversation) for conversation in conversations]
    return render(conversations, chat=teacher_format(teacher, now=now), two_step=teacher.two_step)


def _start_endpoint(
    endpoint: OpenAIServer, *, model_id: str, logs: Folder, scored_by: TeacherConfig | None = None
) -> Engine:
    """An engine whose account begins with the run's spending so far; since that is read here, it is also right for an
    engine that replaces a dead one. `scored_by` is the teacher whose log-probabilities are kept."""
    is_capped = endpoint.max_cost is not None
    account = spent_before(logs, endpoint=endpoint, model_id=model_id) if is_capped else Account()
    top = None
    if scored_by is not None and scored_by.top_logprobs:
        tokenizer = load_tokenizer(scored_by.endpoint.tokenizer or scored_by.model, key="teacher.endpoint.tokenizer")
        top = (scored_by.top_logprobs, TokenIds(tokenizer))
    return EndpointEngine(endpoint, model_id=model_id, account=account, top_logprobs=top)


def _start_two_step(start: Callable[[], Engine]) -> Engine:
    from stillery.sampling.two_step import TwoStepEngine

    return TwoStepEngine(start())
