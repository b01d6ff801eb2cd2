"""Traces of a run: an OpenTelemetry span for the run and one for each stage in it.

In: the pipeline's stages. Out: spans, sent as the standard OTEL_* variables configure, by OpenTelemetry's own
exporters. If the variables configure nothing, or its SDK is not installed, none of it is imported and no span is made.
"""

import contextlib
import importlib.util
import logging
from collections.abc import Generator, Mapping, Sequence
from contextvars import ContextVar
from importlib.metadata import entry_points
from os import environ
from typing import TYPE_CHECKING, Any

from stillery.errors import UserError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

log = logging.getLogger(__name__)

# Any of these gives the address of a collector; $OTEL_TRACES_EXPORTER alone may name another exporter, such as
# `console`.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}

_tracer: ContextVar["Tracer | None"] = ContextVar("stillery_tracer", default=None)


@contextlib.contextmanager
def traced(run: str, *, git_revision: str, exporters: "Sequence[SpanExporter] | None" = None) -> Generator[None]:
    """Make spans inside, all under one with the run's name, and flush them at the end.

    `exporters` are those set in the environment, unless given. Raises UserError for one that is not installed.
    """
    chosen = exporters_of_environment() if exporters is None else exporters
    if not chosen:
        yield
        return
    provider = _provider(chosen)
    token = _tracer.set(provider.get_tracer("stillery"))
    try:
        with span(run, {"stillery.run": run, "stillery.git_revision": git_revision}):
            yield
    finally:
        _tracer.reset(token)
        provider.shutdown()


@contextlib.contextmanager
def span(name: str, attributes: Mapping[str, Any]) -> "Generator[Span | None]":
    """A span around the block, to which attributes can be added; None if no spans are made. An exception inside becomes
    the span's error and passes through."""
    tracer = _tracer.get()
    if tracer is None:
        yield None
        return
    with tracer.start_as_current_span(name, attributes=dict(attributes)) as made:
        yield made


def counts_of(summary: Mapping[str, Any]) -> dict[str, int | float]:
    """The numbers of a stage's summary, as attributes of its span."""
    return {
        f"stillery.summary.{key}": value
        for key, value in summary.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def exporters_of_environment() -> "list[SpanExporter]":
    """One exporter for each name in $OTEL_TRACES_EXPORTER; OTLP's if only an endpoint is set; else none."""
    names = [name.strip() for name in environ.get("OTEL_TRACES_EXPORTER", "").split(",") if name.strip()]
    if not names and any(environ.get(variable) for variable in ENDPOINTS):
        names = ["otlp"]
    if names in ([], ["none"]) or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    if importlib.util.find_spec("opentelemetry") is None or importlib.util.find_spec("opentelemetry.sdk") is None:
        log.warning("traces are asked for, but opentelemetry-sdk is not installed; none are sent")
        return []
    return [_exporter(name) for name in names]


def _exporter(name: str) -> "SpanExporter":
    group = entry_points(group="opentelemetry_traces_exporter")
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if name == "otlp" and protocol:
        if protocol not in PROTOCOLS:
            raise UserError(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}: set it to {' or '.join(PROTOCOLS)}")
        name = PROTOCOLS[protocol]
    if name not in group.names:
        known = ", ".join(sorted(group.names)) or "none"
        raise UserError(f"OTEL_TRACES_EXPORTER={name}: no such exporter is installed; there are: {known}")
    return next(iter(group.select(name=name))).load()()


def _provider(exporters: "Sequence[SpanExporter]") -> "TracerProvider":
    """A provider of our own, so that no other library's spans are sent with ours. The environment's resource attributes
    and service name take precedence over ours; the SDK reads samplers and limits from it."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": "stillery"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
