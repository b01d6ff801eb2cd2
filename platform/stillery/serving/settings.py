"""The settings of an endpoint: one dataclass per part, read with OmegaConf from a Ray Serve config file.

The file is Ray Serve's own (serving/serve.yaml): `http_options` sets the address, and the `args` of its one application
are the settings below. `serve run`, `serve deploy` and `stillery serve` read the same file. An unknown key or a value
of the wrong type is an error that names the key.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stillery.config import suggest
from stillery.errors import UserError
from stillery.sampling.models import EMBEDDED
from stillery.sampling.pretrained import PRETRAINED
from stillery.serving.gateway import GatewaySettings
from stillery.serving.gateway.settings import check_settings

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
APPLICATION = "stillery"


@dataclass
class EngineSettings:
    """The model's replicas. `kwargs` pass through to vLLM's EngineArgs; on a CPU (num_gpus 0) they override the
    defaults float32, eager, no chunked prefill, no statistics (`disable_log_stats`: vLLM's metrics among Ray's).

    A replica takes `num_cpus` and `num_gpus` of Ray's; with several GPUs, `kwargs` sets the parallelism of the model
    (tensor_parallel_size). `threads` bounds the CPU threads of an engine (null: num_cpus, at least 1). `autoscaling`
    passes through to Serve's AutoscalingConfig and replaces `replicas`.

    A replica handles at most `max_ongoing_requests` at once, and `max_queued_requests` more wait in it; any beyond that
    get a 503 with Retry-After. `stream_interval_ms` is how long tokens of a stream are gathered before they are sent on
    (the first is sent at once); up to four times as long with many active streams. 0: never.
    """

    kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    reasoning_parser: str | None = "stillery"
    replicas: int = 1
    autoscaling: dict[str, Any] | None = None
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    accelerator_type: str | None = None
    threads: int | None = None
    cpu_kv_cache_gb: int = 1
    max_ongoing_requests: int = 64
    max_queued_requests: int = 64
    retry_after_s: float = 2.0
    stream_interval_ms: float = 50.0
    env: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class ProbeSettings:
    """The probe that a new replica must pass before it takes traffic: complete `question`, once in `tries`, with a text
    that stops by itself within `max_tokens` (null: the limit from the model's own settings and context) and meets
    `require`: `answer` (a closed answer block), `thinking` (before it a non-empty think block), or `stop` (any text,
    for a model that was not trained on the template)."""

    enabled: bool = True
    question: str = "A coin is heads up. Finn turns the coin over. Is the coin still heads up?"
    max_tokens: int | None = None
    tries: int = 3
    require: str = "answer"
    timeout_s: float = 120.0


@dataclass
class FollowSettings:
    """How the registry is followed: polled every `poll_s` seconds. A version that is not up within `start_timeout_s` is
    given up. Old replicas get `drain_timeout_s` to finish their requests.

    With `surge_percent` above 0 new replicas start beside the old ones and need the resources for it; 0 stops an old
    one first, for a cluster without spare room.
    """

    poll_s: float = 5.0
    start_timeout_s: float = 900.0
    drain_timeout_s: float = 600.0
    surge_percent: int = 100


@dataclass
class IngressSettings:
    """The HTTP side: the number of replicas, each with at most `max_ongoing_requests`, and whether `/` is the web
    page."""

    replicas: int = 1
    num_cpus: float = 0.0
    max_ongoing_requests: int = 256
    page: bool = True
    # The maximum size of a trace sent to /v1/bonds, and the maximum number of samples of /v1/reasoned.
    max_trace_chars: int = 100_000
    max_best_of: int = 16


@dataclass
class ServeSettings:
    """An endpoint. `model` is `models:/NAME@ALIAS`, `models:/NAME/VERSION`, a folder, `embedded:student`,
    `embedded:teacher`, `pretrained:smollm2-135m` or a Hub name. `served_name` is the name that clients use (null: NAME,
    or the last part of the path).

    While the registry has no such version, `fallback` is served in its place (null: no model, until there is one).
    `tracking_uri` null means $MLFLOW_TRACKING_URI, else a SQLite store under HOME.
    """

    model: str = "models:/stillery-student@champion"
    served_name: str | None = None
    fallback: str | None = "embedded:student"
    tracking_uri: str | None = None
    engine: EngineSettings = field(default_factory=EngineSettings)
    probe: ProbeSettings = field(default_factory=ProbeSettings)
    follow: FollowSettings = field(default_factory=FollowSettings)
    ingress: IngressSettings = field(default_factory=IngressSettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)


@dataclass(frozen=True)
class Endpoint:
    """A Serve config file with its overrides applied: the listening address, and the application's settings."""

    host: str
    port: int
    settings: ServeSettings


def load_settings(args: Mapping[str, Any], *, origin: str = "args") -> ServeSettings:
    """Defaults, overlaid with the `args` of a Serve config file. Raises UserError that names the key."""
    merged = _merge(OmegaConf.structured(ServeSettings), dict(args), origin=origin)
    return _finish(merged, origin=origin)


def load_endpoint(path: str | Path | None, overrides: Sequence[str] = ()) -> Endpoint:
    """A Serve config file (null: the defaults) overlaid with `key=value` arguments for the settings; `host=` and
    `port=` go to its http_options."""
    document = _read(Path(path)) if path is not None else {}
    http = dict(document.get("http_options") or {})
    merged = _merge(OmegaConf.structured(ServeSettings), _args(document, str(path)), origin=str(path))
    for argument in overrides:
        key, equals, value = argument.partition("=")
        if not equals or not key:
            raise UserError(f"argument {argument!r}: expected key=value, such as engine.replicas=2")
        if key in ("host", "port"):
            http[key] = value
            continue
        merged = _merge(merged, OmegaConf.to_container(OmegaConf.from_dotlist([argument])), origin=argument)
    return Endpoint(
        str(http.get("host") or DEFAULT_HOST), _port(http.get("port")), _finish(merged, origin=str(path or "arguments"))
    )


def to_args(settings: ServeSettings) -> dict[str, Any]:
    """The settings as plain data, in the format of `args` in a Serve config file."""
    return dataclasses.asdict(settings)


def to_yaml(endpoint: Endpoint) -> str:
    """The equivalent Serve config file."""
    application = {
        "name": APPLICATION,
        "route_prefix": "/",
        "import_path": "serving.app:build",
        "args": to_args(endpoint.settings),
    }
    http = {"host": endpoint.host, "port": endpoint.port}
    return yaml.safe_dump({"http_options": http, "applications": [application]}, sort_keys=False)


def served_name(settings: ServeSettings) -> str:
    """The name that clients use for the model: the same for every version of it."""
    if settings.served_name:
        return settings.served_name
    name = settings.model.removeprefix("models:/").removeprefix(EMBEDDED).removeprefix(PRETRAINED).rstrip("/")
    if settings.model.startswith("models:/"):
        return name.partition("@")[0].partition("/")[0]
    return name.rpartition("/")[2]


def _merge(config: Any, layer: Any, *, origin: str) -> Any:
    try:
        return OmegaConf.merge(config, OmegaConf.create(layer))
    except OmegaConfBaseException as error:
        key = str(error.full_key or error.key or "")
        section, _, name = key.rpartition(".")
        known = [str(k) for k in (OmegaConf.select(config, section) if section else config)]
        if name and name not in known:
            raise UserError(f"{origin}: unknown key {key}{suggest(name, known)}") from None
        raise UserError(f"{origin}: {key}: {str(error).strip().splitlines()[0]}") from None


def _finish(merged: Any, *, origin: str) -> ServeSettings:
    try:
        settings = cast(ServeSettings, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise UserError(f"{origin}: {error.full_key}: {str(error).strip().splitlines()[0]}") from None
    _check(settings)
    check_settings(settings.gateway)
    return settings


def _check(settings: ServeSettings) -> None:
    engine, follow, ingress, probe = settings.engine, settings.follow, settings.ingress, settings.probe
    positive = {
        "engine.replicas": engine.replicas,
        "engine.max_ongoing_requests": engine.max_ongoing_requests,
        "engine.max_queued_requests": engine.max_queued_requests,
        "engine.cpu_kv_cache_gb": engine.cpu_kv_cache_gb,
        "follow.poll_s": follow.poll_s,
        "follow.start_timeout_s": follow.start_timeout_s,
        "ingress.replicas": ingress.replicas,
        "ingress.max_ongoing_requests": ingress.max_ongoing_requests,
        "ingress.max_best_of": ingress.max_best_of,
        "probe.max_tokens": 1 if probe.max_tokens is None else probe.max_tokens,
        "probe.tries": probe.tries,
    }
    for key, value in positive.items():
        if value <= 0:
            raise UserError(f"{key} is {value}; it must be above 0")
    if not settings.model.strip():
        raise UserError("model is empty; give models:/NAME@champion, a folder or a Hub name")
    if probe.require not in ("answer", "thinking", "stop"):
        raise UserError(f"probe.require is {probe.require!r}; it must be answer, thinking or stop")
    taken = {"model", "served_model_name", "distributed_executor_backend"} & set(engine.kwargs)
    if taken:
        raise UserError(f"engine.kwargs.{min(taken)} is set by stillery; give `model`, `served_name` or leave it out")
    if not 0 <= follow.surge_percent <= 100:
        raise UserError(f"follow.surge_percent is {follow.surge_percent}; it must be between 0 and 100")


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"config file {path} does not exist; the project's own is serving/serve.yaml")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"config file {path} is not valid YAML: {str(error).strip().splitlines()[0]}") from None
    if not isinstance(document, dict):
        raise UserError(f"config file {path} must be a Ray Serve config with `applications:`")
    return cast(dict[str, Any], document)


def _args(document: Mapping[str, Any], origin: str) -> dict[str, Any]:
    if not document:
        return {}
    applications = cast(list[Any], document.get("applications") or [])
    chosen = [a for a in applications if isinstance(a, dict) and cast(dict[str, Any], a).get("name") == APPLICATION]
    if len(chosen) != 1:
        raise UserError(f"{origin}: expected one application named {APPLICATION} under `applications:`")
    return dict(cast(dict[str, Any], chosen[0]).get("args") or {})


def _port(value: Any) -> int:
    try:
        port = int(DEFAULT_PORT if value is None else value)
    except (TypeError, ValueError):
        port = -1
    if not 0 < port < 65536:
        raise UserError(f"port={value}: expected a number from 1 to 65535")
    return port
